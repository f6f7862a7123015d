"""Level changes: how much a sound rises and falls at each boundary between hops of its band levels.

Sounds begin and end where their level changes, whatever they are. These curves give the candidates for
onsets and offsets that `prediction.region_candidates` combines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from earmark.prediction.edge_refinement import FALL_HOPS, RISE_HOPS, EdgeRefiner

SMALLEST_RISE_DB, SMALLEST_FALL_DB = 2.5, 2.0
"""Smaller changes are no candidates."""
RISE_RADIUS_HOPS, FALL_RADIUS_HOPS = 12, 20
"""A candidate is the largest change this far on either side."""
BLOCK_HOPS = 3000
"""Hops that are measured at once, so that memory does not grow with the recording's length."""


@dataclass(frozen=True)
class LevelChanges:
    """Curves of a sound of T hops, in dB.

    ``rises``, ``falls`` ``[T + 1]``: change of the mean level at the boundary before each hop and after the
    last, the root mean square over bands. ``loudness`` ``[T]``: level above the background, likewise.
    ``onsets``, ``offsets``: boundaries with the largest changes around.
    """

    rises: NDArray[np.float32]
    falls: NDArray[np.float32]
    loudness: NDArray[np.float32]
    onsets: NDArray[np.intp]
    offsets: NDArray[np.intp]


def level_changes(refiner: EdgeRefiner) -> LevelChanges:
    """Return rises, falls and loudness of the sound that a refiner holds."""
    count = refiner.hops
    rises, falls = np.empty(count + 1, dtype=np.float32), np.empty(count + 1, dtype=np.float32)
    loudness = np.empty(count, dtype=np.float32)
    margin = max(RISE_HOPS, FALL_HOPS)
    for first in range(0, count, BLOCK_HOPS):
        last = min(first + BLOCK_HOPS, count)
        start, stop = max(0, first - margin), min(count, last + margin)
        excess = refiner.excess(np.arange(start, stop))
        loudness[first:last] = _root_mean_square(excess[first - start : last - start])
        sums = np.zeros((len(excess) + 1, excess.shape[1]), dtype=np.float32)
        np.cumsum(excess, axis=0, out=sums[1:])
        boundaries = np.arange(first, last + 1) - start
        for curve, compared, sign in ((rises, RISE_HOPS, 1.0), (falls, FALL_HOPS, -1.0)):
            after = sums[np.minimum(boundaries + compared, len(excess))] - sums[boundaries]
            before = sums[boundaries] - sums[np.maximum(boundaries - compared, 0)]
            change = np.maximum(sign * (after - before), 0.0) / compared
            curve[first : last + 1] = _root_mean_square(change)
    return LevelChanges(
        rises,
        falls,
        loudness,
        _peaks(rises, SMALLEST_RISE_DB, RISE_RADIUS_HOPS),
        _peaks(falls, SMALLEST_FALL_DB, FALL_RADIUS_HOPS),
    )


def _root_mean_square(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.einsum("tb,tb->t", values, values) / values.shape[1]), dtype=np.float32)


def _peaks(curve: NDArray[np.float32], smallest: float, radius: int) -> NDArray[np.intp]:
    highest = maximum_filter1d(curve, 2 * radius + 1)
    return np.flatnonzero((curve == highest) & (curve >= smallest))
