"""Where a recording's energy lies: in the band that encoders take in, above it, or below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOWEST_HZ, HIGHEST_HZ = 50.0, 16_000.0
"""Band of the encoders: CNN14 takes in 50 Hz to 14 kHz of 32,000 samples a second, YAMNet less."""
MOST = 0.5
"""Share of the energy outside the band from which on a recording is warned about."""
_WINDOW = 1 << 15
"""Samples of a window, one of each block: 12 Hz a bin at 384,000 samples a second."""


@dataclass(frozen=True)
class OutsideBand:
    """Shares of the energy above and below the band, from 0 to 1."""

    above: float = 0.0
    below: float = 0.0


class BandEnergy:
    """Accumulates the energy of blocks float32 ``[n]`` of one recording, at ``rate`` samples a second."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._below = self._inside = self._above = 0.0

    def add(self, block: NDArray[np.floating]) -> None:
        """Add the first window of a block; a constant offset is no sound, and is left out."""
        window = np.asarray(block[:_WINDOW], dtype=np.float64)
        if len(window) < 2:
            return
        power = np.abs(np.fft.rfft((window - window.mean()) * np.hanning(len(window)))) ** 2
        hertz = np.fft.rfftfreq(len(window), 1 / self._rate)
        self._below += float(power[hertz < LOWEST_HZ].sum())
        self._above += float(power[hertz > HIGHEST_HZ].sum())
        self._inside += float(power[(hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ)].sum())

    def outside(self) -> OutsideBand:
        """Return the shares outside the band; none of silence."""
        total = self._below + self._inside + self._above
        if not total > 0 or not np.isfinite(total):
            return OutsideBand()
        return OutsideBand(round(self._above / total, 4), round(self._below / total, 4))


def outside_band(blocks: Iterable[NDArray[np.floating]], rate: int) -> OutsideBand:
    """Return the shares of blocks of one recording."""
    energy = BandEnergy(rate)
    for block in blocks:
        energy.add(block)
    return energy.outside()


def outside_sentence(outside: OutsideBand) -> str:
    """Return a sentence about a recording most of whose energy encoders do not take in, or an empty text."""
    if outside.above >= MOST:
        return (
            f"{outside.above:.0%} of its energy lies above {HIGHEST_HZ / 1000:g} kHz, which encoders do not "
            "take in: for ultrasound, import it with --time-expansion 10."
        )
    if outside.below >= MOST:
        return (
            f"{outside.below:.0%} of its energy lies below {LOWEST_HZ:g} Hz, which encoders do not take in."
        )
    return ""
