"""Edge refinement: moves a region's start and end to the change of band levels near them.

An encoder's frames are a tenth to a third of a second long, and so far off are the edges of what a head
detects. Band levels every 10 ms show when a sound begins and ends. Bands count by how far the region's sound
stands above the background in them, so that another sound's edges count less.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.features.band_levels import HOP_SECONDS, decibels

Span = tuple[float, float]
"""Start and end in seconds, ``start < end``."""

DETECTED_REACH_SECONDS = 0.6
"""Furthest move of an edge that a head detected: two of the longest frames."""
DRAWN_REACH_SECONDS = 0.3
"""Furthest move of an edge that an annotator drew by hand."""
LARGEST_MOVE_SHARE = 0.4
"""Largest move as a share of the region's length, so that its edges never meet."""
LIKELY_MOVE_SECONDS = 0.4
"""Standard deviation of the Gaussian by which near changes are preferred."""
SMALLEST_RISE_DB, SMALLEST_FALL_DB = 3.0, 1.5
"""Smaller changes are no edges. Sounds fade away more slowly than they begin."""
RISE_HOPS, FALL_HOPS = 8, 20
"""Hops on either side of an onset and of an offset whose mean levels are compared."""
BACKGROUND_PERCENTILE = 15.0
BLOCK_HOPS = 1500
"""The background level is taken from the 45 s around each block of 15 s, and interpolated between blocks."""
MEAN_HOPS = 5
AUDIBLE_DB, AUDIBLE_SHARE = 2.0, 0.15
"""A hop is audible if its weighted mean level over bands exceeds the background by this many dB, and by this
share of what the region's loudest tenth exceeds it by: noise is a few dB above its own percentile now and
then."""
KEPT_HOPS = 6000
"""Hops whose levels above the background are kept, as regions near each other need the same ones."""
TRIMMED_HOPS = 1000
"""Longest background that is cut off at either end of a detected region."""
MOST_HOPS = 3000
"""Of a region whose mean levels are taken; longer ones are sampled."""
MARGIN_DB = 3.0
"""Levels this little above the background count as background."""
LARGEST_WEIGHT_DB = 20.0
SMALLEST_WEIGHT_DB = 0.5
SHORTEST_SECONDS = 0.05
"""A region that refinement leaves shorter keeps its edges."""


class EdgeRefiner:
    """Refiner of the edges of regions of one sound.

    Parameters
    ----------
    levels
        Band levels uint8 ``[T, B]`` of the whole sound; see ``earmark.features.band_levels``.
    duration
        Seconds; regions end there at the latest.
    """

    def __init__(self, levels: NDArray[np.uint8], duration: float) -> None:
        self._levels, self._duration = levels, duration
        self._background = _background_blocks(levels)
        self._kept: tuple[int, NDArray[np.float32]] = 0, np.zeros((0, levels.shape[1]), dtype=np.float32)

    def refine(self, span: Span, reach_seconds: float = DETECTED_REACH_SECONDS) -> Span:
        """Return the span with each edge moved to the clearest change near it, if there is one."""
        start, end = span
        first, last = self.hops_of(span)
        if first >= last:
            return span
        weights = self._weights(first, last)
        reach = min(reach_seconds, LARGEST_MOVE_SHARE * (end - start))
        onset = self._edge(start, reach, weights, RISE_HOPS, SMALLEST_RISE_DB, 1.0)
        offset = self._edge(end, reach, weights, FALL_HOPS, SMALLEST_FALL_DB, -1.0)
        onset, offset = max(0.0, onset), min(offset, self._duration)
        return (onset, offset) if offset - onset >= min(SHORTEST_SECONDS, end - start) else span

    def refine_detected(self, span: Span) -> Span:
        """Return the span without the background at its ends, and with refined edges."""
        return self.refine(self._trimmed(span))

    def audible(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return in which hops from ``first`` to before ``last`` the sound of that stretch is audible.

        Of means over `MEAN_HOPS`, which reach half of them over either edge of the sound.
        """
        loudness = self._loudness(np.arange(first, last), self._weights(first, last))
        return np.asarray(loudness >= _least_audible(loudness))

    @property
    def hops(self) -> int:
        """Hops of the sound."""
        return len(self._levels)

    def excess(self, hops: NDArray[np.intp]) -> NDArray[np.float32]:
        """Levels above the background in dB, ``[len(hops), B]``; ``hops`` ascend."""
        first, last = int(hops[0]), int(hops[-1])
        start, window = self._kept
        if not start <= first <= last < start + len(window):
            if last - first >= KEPT_HOPS // 2:
                return self._measured_excess(hops)
            start = max(0, min(first - KEPT_HOPS // 4, len(self._levels) - KEPT_HOPS))
            window = self._measured_excess(np.arange(start, min(start + KEPT_HOPS, len(self._levels))))
            self._kept = start, window
        return window[hops - start]

    def _measured_excess(self, hops: NDArray[np.intp]) -> NDArray[np.float32]:
        place = np.clip(hops / BLOCK_HOPS - 0.5, 0.0, len(self._background) - 1.0)
        before = place.astype(np.intp)
        after = np.minimum(before + 1, len(self._background) - 1)
        share = (place - before).astype(np.float32)[:, None]
        background = self._background[before] * (1 - share) + self._background[after] * share
        above = decibels(self._levels[hops]) - background - MARGIN_DB
        return np.asarray(np.maximum(above, 0.0), dtype=np.float32)

    def hops_of(self, span: Span) -> tuple[int, int]:
        """Return the first hop of a span, and the one after its last."""
        first = round(span[0] / HOP_SECONDS)
        return first, min(max(round(span[1] / HOP_SECONDS), first + 1), len(self._levels))

    def _loudness(self, hops: NDArray[np.intp], weights: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the weighted mean level above the background in dB, smoothed, ``[len(hops)]``."""
        kernel = np.full(MEAN_HOPS, 1 / MEAN_HOPS)
        return np.asarray(np.convolve(self.excess(hops) @ weights, kernel, "same"))

    def _weights(self, first: int, last: int) -> NDArray[np.floating[Any]]:
        """Return weights of the bands ``[B]``, sum 1, by how far the sound stands above the background."""
        hops = np.arange(first, last, 1 + (last - first) // MOST_HOPS)
        weights = np.minimum(self.excess(hops).mean(axis=0), LARGEST_WEIGHT_DB) + SMALLEST_WEIGHT_DB
        return np.asarray(weights / weights.sum())

    def _trimmed(self, span: Span) -> Span:
        """Return the span without the background at its ends, if anything in it stands above that."""
        first, last = self.hops_of(span)
        if last - first <= 4 * MEAN_HOPS:
            return span
        weights, count = self._weights(first, last), min(last - first, TRIMMED_HOPS)
        loudness = [
            self._loudness(hops, weights)
            for hops in (np.arange(first, first + count), np.arange(last - count, last))
        ]
        audible = _least_audible(np.concatenate(loudness))
        head, tail = (np.flatnonzero(part >= audible) for part in loudness)
        if not head.size or not tail.size:
            return span
        start = span[0] if head[0] <= MEAN_HOPS else (first + int(head[0])) * HOP_SECONDS
        rest = count - 1 - int(tail[-1])
        end = span[1] if rest <= MEAN_HOPS else (last - rest) * HOP_SECONDS
        return (start, end) if end - start >= SHORTEST_SECONDS else span

    def _edge(
        self,
        at: float,
        reach: float,
        weights: NDArray[np.floating[Any]],
        compared: int,
        smallest_db: float,
        sign: float,
    ) -> float:
        """The time in seconds of the largest rise (``sign`` 1) or fall (-1) within reach."""
        first = max(compared, int(np.ceil((at - reach) / HOP_SECONDS)))
        last = min(len(self._levels) - compared, int((at + reach) / HOP_SECONDS))
        if first > last:
            return at
        excess = self.excess(np.arange(first - compared, last + compared))
        sums = np.concatenate([np.zeros((1, excess.shape[1])), np.cumsum(excess, axis=0, dtype=np.float64)])
        hops = np.arange(first, last + 1)
        here = hops - first + compared
        after, before = sums[here + compared] - sums[here], sums[here] - sums[here - compared]
        changes = np.maximum(sign * (after - before) / compared, 0.0) @ weights
        times = hops * HOP_SECONDS
        nearness = np.exp(-0.5 * ((times - at) / LIKELY_MOVE_SECONDS) ** 2)
        clearest = int((changes * nearness).argmax())
        return float(times[clearest]) if changes[clearest] >= smallest_db else at


def _least_audible(loudness: NDArray[np.float64]) -> float:
    """Return the loudness in dB from which on a region's sound is audible."""
    place = int(0.9 * (len(loudness) - 1))  # the 90th percentile, ten times as fast as numpy's
    return max(AUDIBLE_DB, AUDIBLE_SHARE * float(np.partition(loudness, place)[place]))


def _background_blocks(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the background level in dB of each block, ``[blocks, B]``: a low percentile of 45 s around it.

    Of means of 50 ms, as single hops of noise lie far below its level.
    """
    count = max(1, len(levels) // BLOCK_HOPS)
    percentiles = []
    for number in range(count):
        last = (number + 2) * BLOCK_HOPS if number < count - 1 else len(levels)
        loudness = decibels(levels[max(0, number - 1) * BLOCK_HOPS : last])
        whole = len(loudness) // MEAN_HOPS * MEAN_HOPS
        if whole:
            loudness = loudness[:whole].reshape(-1, MEAN_HOPS, loudness.shape[1]).mean(axis=1)
        percentiles.append(np.percentile(loudness, BACKGROUND_PERCENTILE, axis=0))
    return np.stack(percentiles).astype(np.float32)
