"""CNN14 in PyTorch: on the GPU, and as the last fallback. Importing this imports torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earmark.encoders.cnn14_network import Cnn14
from earmark.encoders.engines.base import EngineFaultError, Plan
from earmark.encoders.engines.folding import BLOCKS, folded_block
from earmark.encoders.engines.front_end import FrontEnd

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """See ``Engine``. Half precision is kept channels-last, which is what its fast kernels want."""

    def __init__(self, plan: Plan, network: Cnn14) -> None:
        self._device = torch.device(plan.device)
        self._type = _TYPES[plan.precision]
        half = self._type is not torch.float32
        self._layout = torch.channels_last if half else torch.contiguous_format
        on_gpu = self._device.type == "cuda"
        self.shared_seconds = 320.0 if on_gpu else 0.0
        if on_gpu and not half:
            torch.backends.cudnn.allow_tf32 = False  # its ten bits of mantissa are not fp32
        try:
            self._front_end = FrontEnd(network, plan.device)
            self._blocks = [self._block(network, number) for number in range(1, BLOCKS + 1)]
        except RuntimeError as error:  # CUDA's errors, out of memory included
            raise EngineFaultError(_first_line(error)) from error

    def run(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        try:
            with torch.inference_mode():
                x = self._front_end(torch.from_numpy(waveforms).to(self._device))
                x = x.to(self._type).contiguous(memory_format=self._layout)
                for number, block in enumerate(self._blocks, start=1):
                    x = block(x)
                    if number < BLOCKS:
                        x = nn.functional.avg_pool2d(x, 2)
                frames = x.float().mean(dim=3).transpose(1, 2)
                copied: NDArray[np.float32] = frames.cpu().numpy()
        except RuntimeError as error:
            raise EngineFaultError(_first_line(error)) from error
        return copied

    def _block(self, network: Cnn14, number: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for weight, bias in folded_block(network, number):
            with torch.device("meta"):
                convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            convolution.weight = nn.Parameter(weight, requires_grad=False)
            convolution.bias = nn.Parameter(bias, requires_grad=False)
            layers += [convolution, nn.ReLU(inplace=True)]
        block = nn.Sequential(*layers).to(device=self._device, dtype=self._type)
        return block.to(memory_format=self._layout)  # type: ignore[call-overload, no-any-return]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
