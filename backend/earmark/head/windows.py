"""Sliding windows over frames, the same in training and in prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pool = Callable[[NDArray[np.floating[Any]]], NDArray[np.float32]]
"""`Encoder.pool`: ``[..., n, D]`` to float32 ``[..., E]``."""

WINDOW_SECONDS = 0.64
"""Two frames of CNN14. Longer windows separate labels no better and blur onsets."""
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


def pool_stretches(
    pool: Pool, sounds: Sequence[NDArray[np.floating[Any]]], stretches: Sequence[NDArray[np.intp]]
) -> NDArray[np.float32]:
    """Embeddings float32 ``[n, E]`` of spans of several sounds, of any length, in the order given.

    Spans of one length are pooled together, as far as `BATCH_VALUES` allows: one by one, most of the time
    would be call overhead.

    Parameters
    ----------
    sounds
        Frames ``[T, D]`` of one encoder, at least one sound.
    stretches
        For each sound ``[k, 2]``: first frame and the one after the last; n in all, at least 1.
    """
    bounds = np.concatenate(stretches)
    owners = np.repeat(np.arange(len(sounds)), [len(batch_rows) for batch_rows in stretches])
    lengths = bounds[:, 1] - bounds[:, 0]
    embeddings: NDArray[np.float32] | None = None
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        batch = max(1, BATCH_VALUES // (length * sounds[0].shape[1]))
        for first in range(0, len(rows), batch):
            batch_rows = rows[first : first + batch]
            parts = [sounds[owners[row]][bounds[row, 0] : bounds[row, 1]] for row in batch_rows]
            pooled = pool(np.stack(parts) if len(parts) > 1 else parts[0][None])
            if embeddings is None:
                embeddings = np.empty((len(bounds), pooled.shape[-1]), dtype=np.float32)
            embeddings[batch_rows] = pooled
    assert embeddings is not None
    return embeddings


def frames_between(start: float, end: float, frame_rate: float, frame_count: int) -> tuple[int, int]:
    """Frame span ``(first, last + 1)`` that a time span touches; at least one frame.

    ``start`` and ``end`` are seconds; what lies outside the recording is cut off.
    """
    tolerance = 1e-6  # a region that ends on a frame's edge does not touch the next frame
    first = min(max(int(np.floor(start * frame_rate + tolerance)), 0), frame_count - 1)
    last = int(np.ceil(end * frame_rate - tolerance))
    return first, max(first + 1, min(last, frame_count))
