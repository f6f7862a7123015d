"""Band levels: the level of a sound in mel bands every 10 ms, the fine time axis on which edges are found.

An encoder's frames of a tenth to a third of a second determine what sounds, and these levels when. They are
the same whatever the encoder, and stored once for each sound.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

HOP_SECONDS = 0.01
BANDS = 24
STEP_DB = 0.5
LOWEST_DB = -110.0
"""Of the value 0; 255 is 17.5 dB, which no window of samples in [-1, 1] exceeds."""

_RATE_HZ = 32_000
_HOP, _WINDOW, _FFT = 320, 640, 1024
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 14_000.0
_CHUNK_HOPS = 500
_FLOOR = 1e-12


class BandLevelMeter:
    """Meter of band levels, with the interface of an encoder.

    Parameters
    ----------
    bands
        Number of mel bands; what is stored as frames has `BANDS`.

    Attributes
    ----------
    identity
        Changes when the levels of the same sound do.
    sample_rate
        Hz, of the samples that it takes.
    frame_rate
        Rows per second.
    """

    identity = "levels-1"
    sample_rate = _RATE_HZ
    frame_rate = 1 / HOP_SECONDS

    def __init__(self, bands: int = BANDS) -> None:
        self._window = np.hanning(_WINDOW).astype(np.float32)
        edges = _hertz(np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), bands + 1))
        self._bins = np.searchsorted(np.fft.rfftfreq(_FFT, 1 / _RATE_HZ), edges)

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.uint8]:
        """Measure a sound that comes in blocks.

        Parameters
        ----------
        blocks
            Samples float32 ``[n]`` in [-1, 1] at `sample_rate`.

        Returns
        -------
        uint8 ``[T, bands]``, in steps of `STEP_DB` above `LOWEST_DB`. Row ``i`` is centred on
        ``(i + 0.5) * HOP_SECONDS``; one row at least.
        """
        margin = (_WINDOW - _HOP) // 2
        waiting: NDArray[np.float32] = np.zeros(margin, dtype=np.float32)
        parts: list[NDArray[np.uint8]] = []
        samples = 0
        for block in blocks:
            samples += len(block)
            waiting = np.concatenate([waiting, block])
            while len(waiting) >= _WINDOW + (_CHUNK_HOPS - 1) * _HOP:
                parts.append(self._measure(waiting, _CHUNK_HOPS))
                waiting = waiting[_CHUNK_HOPS * _HOP :]
        left = max(1, -(-samples // _HOP)) - _CHUNK_HOPS * len(parts)
        if left > 0:
            padded = np.zeros(_WINDOW + (left - 1) * _HOP, dtype=np.float32)
            padded[: len(waiting)] = waiting[: len(padded)]
            parts.append(self._measure(padded, left))
        return np.concatenate(parts)

    def _measure(self, samples: NDArray[np.float32], hops: int) -> NDArray[np.uint8]:
        windows = sliding_window_view(samples, _WINDOW)[::_HOP][:hops]
        spectrum = scipy.fft.rfft(windows * self._window, _FFT, axis=1)[:, : self._bins[-1]]
        power = spectrum.real**2 + spectrum.imag**2
        means = np.add.reduceat(power, self._bins[:-1], axis=1) / (np.diff(self._bins) * _WINDOW)
        steps = np.round((10 * np.log10(means + _FLOOR) - LOWEST_DB) / STEP_DB)
        return np.asarray(np.clip(steps, 0, np.iinfo(np.uint8).max), dtype=np.uint8)


def decibels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Levels in dB, of the same shape."""
    return levels.astype(np.float32) * np.float32(STEP_DB) + np.float32(LOWEST_DB)


def _mel(hertz: float) -> float:
    return 2595.0 * float(np.log10(1 + hertz / 700.0))


def _hertz(mel: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(700.0 * (10 ** (mel / 2595.0) - 1))
