"""CNN14 in PyTorch, with the keys of the published checkpoint. Importing this imports torch.

Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition",
2020. Every parameter, the Fourier and mel matrices included, comes from the checkpoint, so nothing
here computes initial values.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from earmark.encoders.audioset import AUDIOSET_CLASSES

WINDOW = 1024
"""Samples of one Fourier window."""
HOP = 320
"""Samples from one spectrogram column to the next, at 32 kHz."""
MEL_BANDS = 64
WIDTHS = (64, 128, 256, 512, 1024, 2048)
"""Channels after each of the six blocks."""


class _Fourier(nn.Module):
    """Short-time Fourier transform as two convolutions, the way torchlibrosa stores it."""

    def __init__(self) -> None:
        super().__init__()
        bins = WINDOW // 2 + 1
        self.conv_real = nn.Conv1d(1, bins, WINDOW, stride=HOP, bias=False)
        self.conv_imag = nn.Conv1d(1, bins, WINDOW, stride=HOP, bias=False)


class _Spectrogram(nn.Module):
    """Power spectrogram, centred, with reflect padding: ``[B, n]`` to ``[B, 513, n // 320 + 1]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = _Fourier()

    def forward(self, waveform: Tensor) -> Tensor:
        padded = F.pad(waveform[:, None], (WINDOW // 2, WINDOW // 2), mode="reflect")
        real: Tensor = self.stft.conv_real(padded)
        imaginary: Tensor = self.stft.conv_imag(padded)
        return real.square() + imaginary.square()


class _LogMel(nn.Module):
    """``[B, 513, t]`` power to ``[B, 1, t, 64]`` decibels."""

    def __init__(self) -> None:
        super().__init__()
        self.melW = nn.Parameter(torch.empty(WINDOW // 2 + 1, MEL_BANDS))

    def forward(self, power: Tensor) -> Tensor:
        mel = power.transpose(1, 2) @ self.melW
        return 10.0 * torch.log10(mel.clamp(min=1e-10))[:, None]


class _Block(nn.Module):
    """Two 3×3 convolutions, each with batch norm and ReLU."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_out)
        self.bn2 = nn.BatchNorm2d(width_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))
        return F.relu_(self.bn2(self.conv2(x)))


class Cnn14(nn.Module):
    """Waveform to frames. ``fc1`` and ``fc_audioset`` are held for pooling and tagging."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram_extractor = _Spectrogram()
        self.logmel_extractor = _LogMel()
        self.bn0 = nn.BatchNorm2d(MEL_BANDS)
        for number, (width_in, width_out) in enumerate(zip((1, *WIDTHS[:-1]), WIDTHS, strict=True), start=1):
            self.add_module(f"conv_block{number}", _Block(width_in, width_out))
        self.fc1 = nn.Linear(WIDTHS[-1], WIDTHS[-1])
        self.fc_audioset = nn.Linear(WIDTHS[-1], AUDIOSET_CLASSES)

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode float32 ``[B, n]`` at 32 kHz, n >= 9,920, to ``[B, (n // 320 + 1) // 32, 2048]``."""
        x: Tensor = self.logmel_extractor(self.spectrogram_extractor(waveform))
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        for number in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"conv_block{number}")(x)
            if number < len(WIDTHS):
                x = F.avg_pool2d(x, 2)
        return x.mean(dim=3).transpose(1, 2)


def build(weights: Mapping[str, Tensor]) -> Cnn14:
    """Build a network in eval mode around the tensors of a state dict, none missing, none left over.

    Raises
    ------
    RuntimeError
        A key is missing, unknown, or of another shape.
    """
    with torch.device("meta"):  # no memory and no time for values that the checkpoint replaces
        network = Cnn14()
    network.load_state_dict(dict(weights), strict=True, assign=True)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.float().eval()
