"""Downmix of decoded channels to mono: their mean, one of them, or what sounds where the mean cancels out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.resampling import LOUDEST, finite

_STRETCH_SECONDS = 1.0
"""Whether the channels cancel each other out is decided for each stretch of this length."""
_FADE_SECONDS = 0.01
_DECIDED_SECONDS = 0.05
"""A shorter rest of a sound is mixed as what is before it."""
_CANCELLED = 0.02
"""Of the power that the mean of unrelated channels has: a mean below it (17 dB) lacks the sound."""
_LOUDER = 2.0
"""Ratio of powers (3 dB) by which a later channel must exceed an earlier one to be taken instead."""


class Downmix:
    """Downmix of one sound, block by block; the result does not depend on the lengths of the blocks.

    Parameters
    ----------
    rate
        Samples per second of the sound.
    channel
        Which channel to take, from 0 (the last one if there are fewer); None for the mix of all.
    """

    def __init__(self, rate: int, channel: int | None = None) -> None:
        self._channel = channel
        self._stretch = max(1, round(rate * _STRETCH_SECONDS))
        self._least = round(rate * _DECIDED_SECONDS)
        self._fade = np.linspace(0, 1, max(1, round(rate * _FADE_SECONDS)), dtype=np.float32)[:, None]
        self._waiting: NDArray[np.float32] | None = None
        self._weights: NDArray[np.float32] | None = None

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return mono samples ``[m]`` for a block ``[n, channels]``; some may come with the next block."""
        channels = block.shape[1]
        if channels == 1:
            return _joined([self.rest(), finite(block[:, 0])])
        if self._channel is not None:
            return finite(np.ascontiguousarray(block[:, min(self._channel, channels - 1)]))
        done: list[NDArray[np.float32]] = []
        waiting = self._waiting
        if waiting is not None and waiting.shape[1] != channels:
            done.append(self.rest())
        elif waiting is not None:
            needed = self._stretch - len(waiting)
            self._waiting = np.concatenate([waiting, block[:needed]])
            block = block[needed:]
            if len(self._waiting) == self._stretch:
                done.append(self.rest())
        whole = len(block) - len(block) % self._stretch
        if whole:
            done.append(self._mixed(block[:whole]))
        if whole < len(block):
            self._waiting = block[whole:].copy()
        return _joined(done)

    def rest(self) -> NDArray[np.float32]:
        """Return what is left at the end of the sound, ``[m]``."""
        waiting, self._waiting = self._waiting, None
        return np.empty(0, np.float32) if waiting is None else self._mixed(waiting)

    def _mixed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix whole stretches, the last of which may be shorter."""
        mean = np.full(block.shape[1], 1 / block.shape[1], np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is replaced
            mono = _weighted(block, mean)
            if not (mono.max() <= LOUDEST and mono.min() >= -LOUDEST):  # also for NaN
                block = finite(block)
                mono = _weighted(block, mean)
            for start in range(0, len(block), self._stretch):
                part = slice(start, start + self._stretch)
                weights = self._weights
                if len(mono[part]) >= self._least:
                    unrelated = _power(block[part]) / block.shape[1] ** 2
                    cancelled = _power(mono[part]) < _CANCELLED * unrelated
                    if cancelled or weights is not None:
                        weights = _choice(block[part]) if cancelled else mean
                if weights is not None and weights.shape == mean.shape:
                    self._mix_stretch(block[part], weights, mono[part])
        return mono

    def _mix_stretch(
        self, block: NDArray[np.float32], weights: NDArray[np.float32], mono: NDArray[np.float32]
    ) -> None:
        """Write to ``mono`` the mix of a stretch by these weights, faded in from those before."""
        mono[:] = _weighted(block, weights)
        if self._weights is not None and self._weights.shape == weights.shape:
            fade = self._fade[: len(mono)]
            faded = self._weights + fade * (weights - self._weights)
            mono[: len(fade)] = (block[: len(fade)] * faded).sum(axis=1)
        self._weights = weights


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    parts = [part for part in parts if part.size]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])


def _weighted(block: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``block @ weights``, column by column: BLAS would start threads that wait for each other."""
    mono: NDArray[np.float32] = block[:, 0] * weights[0]
    for column, weight in zip(block.T[1:], weights[1:], strict=True):
        mono += column * weight
    return mono


def _power(samples: NDArray[np.float32]) -> float:
    """Return the sum of squares of ``[n]`` or ``[n, channels]``."""
    flat = samples.reshape(-1) if samples.flags.c_contiguous else samples.T.reshape(-1)
    return float(np.einsum("i,i", flat, flat))


def _choice(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights that take the loudest channel, ``[channels]``, an earlier one where they are alike."""
    powers = [_power(np.ascontiguousarray(column)) for column in block.T]
    best = 0
    for channel, power in enumerate(powers):
        if power > _LOUDER * powers[best]:
            best = channel
    weights = np.zeros(len(powers), np.float32)
    weights[best] = 1
    return weights
