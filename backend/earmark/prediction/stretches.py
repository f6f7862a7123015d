"""Stretches of one label on an encoder's frames: where its probability stays high enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.head.region_scorer import DEFAULT_GAP_SECONDS
from earmark.prediction.overlap import runs

KEEP_SHARE_OF_THRESHOLD = 0.8
"""Hysteresis: a region must reach its label's threshold, and extends down to this share of it."""
MIN_REGION_SECONDS = 0.15


def find_stretches(
    curve: NDArray[np.float32], threshold: float, frame_rate: float, gap: float = DEFAULT_GAP_SECONDS
) -> list[tuple[int, int]]:
    """Return ``(first, last + 1)`` frames of each region of one label.

    Parameters
    ----------
    curve
        Probabilities ``[T]``.
    threshold
        Probability that a region must reach in some frame.
    gap
        Longest pause in seconds that is part of a region.
    """
    candidates = runs(curve >= KEEP_SHARE_OF_THRESHOLD * threshold)
    merged: list[tuple[int, int]] = []
    for first, last in candidates:
        if curve[first:last].max() < threshold:
            continue
        if merged and (first - merged[-1][1]) / frame_rate <= gap:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def span_seconds(
    first: int, last: int, count: int, frame_rate: float, duration: float
) -> tuple[float, float] | None:
    """Return onset and offset in seconds of frames of ``count``; None where too short to be shown."""
    start = first / frame_rate
    # The last frame may reach past the end, or its rounded-down count end before it
    end = duration if last == count else min(last / frame_rate, duration)
    return (start, end) if end - start >= min(MIN_REGION_SECONDS, duration) and end > start else None
