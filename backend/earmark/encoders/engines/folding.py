"""CNN14's twelve convolutions with their batch norms folded in. Importing this imports torch.

In eval mode a batch norm is a factor and a summand for each channel, so it disappears into the weights
and the bias of the convolution before it. (The first batch norm of the network, ``bn0``, comes before a
convolution that pads with zeros and cannot be folded; the front end applies it.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earmark.encoders.cnn14_network import WIDTHS, Cnn14

BLOCKS = len(WIDTHS)


def folded_block(network: Cnn14, block: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield weights ``[out, in, 3, 3]`` and bias ``[out]`` of both convolutions of a block, 1 to 6."""
    module = network.get_submodule(f"conv_block{block}")
    for number in (1, 2):
        convolution = module.get_submodule(f"conv{number}")
        norm = module.get_submodule(f"bn{number}")
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            raise TypeError("a block of CNN14 is made of convolutions and batch norms")
        if norm.running_mean is None or norm.running_var is None:
            raise TypeError("a batch norm of CNN14 has running statistics")
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        bias = norm.bias.double() - norm.running_mean.double() * scale
        yield convolution.weight * scale.float()[:, None, None, None], bias.float()


def transposed_block(network: Cnn14, block: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield the same transposed, for images ``[channels, 64 bands, t]``.

    Engines multiply row by row, and the last blocks have 4 and 2 bands. With the bands along the rows,
    OpenVINO took 1.33 times as long in bf16 and 1.15 times in fp32, ONNX Runtime 1.09 times.
    """
    for weight, bias in folded_block(network, block):
        yield np.ascontiguousarray(weight.numpy().swapaxes(2, 3)), bias.numpy()
