"""Sliding windows over frames: the same ones when a head learns and when it predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pool = Callable[[NDArray[np.floating[Any]]], NDArray[np.float32]]
"""`Encoder.pool`: ``[..., n, D]`` to float32 ``[..., E]``."""

WINDOW_SECONDS = 0.64
"""Two frames of CNN14. Longer windows tell labels apart no better and blur onsets."""
BATCH_VALUES = 4_000_000
"""Frame values that are pooled at once: 16 MB in float32, whatever the recording's length."""


def window_length(frame_rate: float, frame_count: int) -> int:
    """Frames in one window: about `WINDOW_SECONDS`, at least 1, never more than there are."""
    return max(1, min(round(WINDOW_SECONDS * frame_rate), frame_count))


def window_starts(frame_rate: float, frame_count: int) -> NDArray[np.intp]:
    """First frame of every window: one window for each frame that a whole window can start at."""
    return np.arange(frame_count - window_length(frame_rate, frame_count) + 1, dtype=np.intp)


def pool_windows(
    pool: Pool, frames: NDArray[np.floating[Any]], starts: NDArray[np.intp], length: int
) -> NDArray[np.float32]:
    """Embeddings float32 ``[len(starts), E]`` of windows over frames ``[T, D]``, pooled in batches."""
    offsets = np.arange(length)
    batch = max(1, BATCH_VALUES // (length * frames.shape[1]))
    return np.concatenate(
        [
            pool(frames[starts[first : first + batch, None] + offsets])
            for first in range(0, len(starts), batch)
        ]
    )


def frames_between(start: float, end: float, frame_rate: float, frame_count: int) -> tuple[int, int]:
    """First frame and the one after the last that a stretch of time touches; always one at least.

    ``start`` and ``end`` are seconds; what lies outside the recording is cut off.
    """
    tolerance = 1e-6  # a region that ends on a frame's edge does not touch the next frame
    first = min(max(int(np.floor(start * frame_rate + tolerance)), 0), frame_count - 1)
    last = int(np.ceil(end * frame_rate - tolerance))
    return first, max(first + 1, min(last, frame_count))
