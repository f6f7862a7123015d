"""Edge refinement: moves a region's start and end to the largest change of level near them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import read_blocks

LARGEST_MOVE_SECONDS = 0.3
LARGEST_MOVE_SHARE = 1 / 3
"""Of the region's length, so that its edges cannot cross."""
SMALLEST_CHANGE_DB = 6.0
"""A smaller change of level does not count as an edge, and the drawn edge stays."""
HOP_SECONDS = 0.01
COMPARED_HOPS = 5
"""Hops on either side of an edge whose mean levels are compared."""
SAMPLE_RATE = 16_000
_HOP = round(HOP_SECONDS * SAMPLE_RATE)
_MARGIN = COMPARED_HOPS * HOP_SECONDS
_FLOOR = 1e-10


def refine_edges(path: Path, start: float, end: float, duration: float) -> tuple[float, float]:
    """Return start and end in seconds, each moved to the largest change of level near it, or unchanged.

    Parameters
    ----------
    path
        The recording, ``duration`` seconds long.
    start, end
        ``0 <= start < end <= duration``.

    Raises
    ------
    SoundNotFoundError, SoundUnreadableError
        See ``read_blocks``.
    """
    reach = min(LARGEST_MOVE_SECONDS, LARGEST_MOVE_SHARE * (end - start))
    stretches = [_around(at, reach) for at in (start, end)]
    onset, offset = _levels(read_blocks(path, SAMPLE_RATE), stretches)
    start = snap_edge(onset, stretches[0][0], start, reach, rising=True)
    end = snap_edge(offset, stretches[1][0], end, reach, rising=False)
    return max(0.0, start), min(end, duration)


def snap_edge(levels: NDArray[np.float64], first_hop: int, at: float, reach: float, rising: bool) -> float:
    """Return the time of the largest rise, or fall, of level within ``reach`` seconds of ``at``.

    Parameters
    ----------
    levels
        dB ``[H]`` of consecutive hops, the first of which is hop ``first_hop`` of the recording.
    at
        Drawn edge in seconds, returned where no change is large enough.
    """
    sums = np.concatenate([[0.0], np.cumsum(levels)])
    edges = np.arange(COMPARED_HOPS, len(levels) - COMPARED_HOPS + 1)
    times = (first_hop + edges) * HOP_SECONDS
    near = np.flatnonzero(abs(times - at) <= reach)
    if not near.size:
        return at
    times = times[near]
    at_edge = sums[edges[near]]
    after = sums[edges[near] + COMPARED_HOPS] - at_edge
    before = at_edge - sums[edges[near] - COMPARED_HOPS]
    change = (after - before) / COMPARED_HOPS * (1 if rising else -1)
    largest = int(change.argmax())
    return float(times[largest]) if change[largest] >= SMALLEST_CHANGE_DB else at


def _around(at: float, reach: float) -> tuple[int, int]:
    """Return ``(first, last + 1)`` hops that are needed to find an edge near ``at``."""
    first = max(0, int(np.floor((at - reach - _MARGIN) / HOP_SECONDS)))
    return first, int(np.ceil((at + reach + _MARGIN) / HOP_SECONDS))


def _levels(
    blocks: Iterable[NDArray[np.float32]], stretches: list[tuple[int, int]]
) -> list[NDArray[np.float64]]:
    """Return levels in dB of each stretch's hops; stops reading after the last stretch."""
    parts: list[list[NDArray[np.float32]]] = [[] for _ in stretches]
    position = 0
    for block in blocks:
        for part, (first, last) in zip(parts, stretches, strict=True):
            part.append(block[max(0, first * _HOP - position) : max(0, last * _HOP - position)])
        position += block.size
        if position >= max(last for _, last in stretches) * _HOP:
            break
    levels = []
    for part in parts:
        samples = np.concatenate(part).astype(np.float64)
        hops = samples[: len(samples) // _HOP * _HOP].reshape(-1, _HOP)
        levels.append(10 * np.log10((hops**2).mean(axis=1) + _FLOOR))
    return levels
