"""CNN14's front end, in float32: waveform to normalised log-mel. Importing this imports torch.

The checkpoint holds the Fourier transform as two matrices of 513 × 1,024. Where they are what every
published checkpoint holds, cosine and sine under a window, an FFT gives the same spectrum in a tenth
of the time, and closer to the truth; any other matrices are multiplied as they stand.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from earmark.encoders.cnn14_network import HOP, MEL_BANDS, WINDOW, Cnn14

_COLUMNS = 2048
"""Spectrogram columns computed at once, some 20 s: what lies between stays small, whatever the length."""
_TOLERANCE = 1e-5
"""Rounding of the stored matrices, whose largest entry is 1."""


class FrontEnd:
    """Spectrogram, mel bands, decibels and the first batch norm of a network, on one device."""

    def __init__(self, network: Cnn14, device: str = "cpu") -> None:
        stft = network.spectrogram_extractor.stft
        real, imaginary = stft.conv_real.weight[:, 0], stft.conv_imag.weight[:, 0]  # [513, 1024]
        mel = network.logmel_extractor.melW
        window = real[0]  # cos(0) = 1
        self._window = window.to(device)
        self._matrix = None
        # Real and imaginary parts are squared where they stand, and added by the mel matrix.
        if _is_fourier(real, imaginary, window):
            self._mel = mel.repeat_interleave(2, dim=0).to(device)  # [1026, 64], parts side by side
        else:
            self._matrix = torch.cat([real, imaginary]).T.contiguous().to(device)  # [1024, 1026]
            self._mel = torch.cat([mel, mel]).to(device)  # [1026, 64], real parts first
        norm = network.bn0
        scale = norm.weight / torch.sqrt(_statistic(norm.running_var) + norm.eps)
        self._scale = (scale * (10.0 / math.log(10.0))).to(device)  # natural logarithm to decibels
        self._shift = (norm.bias - _statistic(norm.running_mean) * scale).to(device)

    def __call__(self, waveforms: Tensor) -> Tensor:
        """Float32 ``[B, n]`` at 32 kHz to float32 ``[B, 1, n // 320 + 1, 64]``."""
        padded = F.pad(waveforms[:, None], (WINDOW // 2, WINDOW // 2), mode="reflect")[:, 0]
        windows = padded.unfold(1, WINDOW, HOP)  # a view: [B, n // 320 + 1, 1024]
        out = waveforms.new_empty(windows.shape[0], 1, windows.shape[1], MEL_BANDS)
        for first in range(0, windows.shape[1], _COLUMNS):
            part = windows[:, first : first + _COLUMNS]
            mel = (self._parts(part).square_() @ self._mel).clamp_(min=1e-10).log_()
            torch.addcmul(self._shift, mel, self._scale, out=out[:, 0, first : first + _COLUMNS])
        return out

    def _parts(self, windows: Tensor) -> Tensor:
        """``[B, t, 1024]`` samples to ``[B, t, 1026]``: 513 real and as many imaginary parts."""
        if self._matrix is not None:
            return windows @ self._matrix
        spectrum = torch.fft.rfft(windows * self._window)
        return torch.view_as_real(spectrum).flatten(2)


def _is_fourier(real: Tensor, imaginary: Tensor, window: Tensor) -> bool:
    # Bin times sample modulo the period, so that the angle is exact however far along it is.
    turns = torch.outer(torch.arange(real.shape[0]), torch.arange(WINDOW)) % WINDOW
    angle = turns.double() * (2.0 * math.pi / WINDOW)
    error = (real - window * angle.cos()).abs().max(), (imaginary + window * angle.sin()).abs().max()
    return max(float(part) for part in error) < _TOLERANCE


def _statistic(value: Tensor | None) -> Tensor:
    if value is None:
        raise TypeError("a batch norm of CNN14 has running statistics")
    return value
