"""Frame probabilities: each label's probability over time, from a head on sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.model import ControlHead
from earmark.head.windows import Pool, pool_windows, window_length, window_starts

WINDOWS_AT_ONCE = 2048
"""Windows in a batch: their embeddings take 16 MB for CNN14, whatever the recording's length."""
WINDOW_HOP_SECONDS = 0.16
"""Windows are four times as long, so that starts at each frame of 80 ms tell no more."""


def frame_probabilities(
    heads: Sequence[ControlHead], pool: Pool, frame_rate: float, frames: NDArray[np.floating[Any]]
) -> list[NDArray[np.float32]]:
    """Return for each head probabilities float32 ``[T, C]`` of its labels in each of the frames ``[T, D]``.

    Each is the mean over the windows that contain the frame; windows are pooled once for all heads. In
    training, a window is positive from half an overlap on, so the mean crosses 1/2 at onset and offset.
    """
    count = len(frames)
    length = window_length(frame_rate, count)
    starts = _spread(window_starts(frame_rate, count), frame_rate)
    sums = [np.zeros((count + 1, len(head.labels))) for head in heads]
    covered = np.zeros((count + 1, 1))
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        batch = starts[first : first + WINDOWS_AT_ONCE]
        embeddings = pool_windows(pool, frames, batch, length)
        # Difference array: each window adds at its first frame and subtracts after its last
        for head, sum_of_head in zip(heads, sums, strict=True):
            output = head.probabilities(embeddings)
            sum_of_head[batch] += output
            sum_of_head[batch + length] -= output
        covered[batch] += 1
        covered[batch + length] -= 1
    windows = np.cumsum(covered, axis=0)[:-1]
    means = [np.cumsum(sum_of_head, axis=0)[:-1] / windows for sum_of_head in sums]
    return [np.clip(mean, 0.0, 1.0).astype(np.float32) for mean in means]


def _spread(starts: NDArray[np.intp], frame_rate: float) -> NDArray[np.intp]:
    """Return window starts at least about `WINDOW_HOP_SECONDS` apart, the last one included."""
    hop = max(1, int(WINDOW_HOP_SECONDS * frame_rate + 1e-6))
    return starts if hop == 1 else np.union1d(starts[::hop], starts[-1:])
