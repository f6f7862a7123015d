"""Mean pooling of frames, as the simplest ``Pool`` that tests of heads and predictions can use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_pool(frames: NDArray[Any]) -> NDArray[np.float32]:
    """Mean over runs of frames: ``[..., n, D]`` to float32 ``[..., D]``."""
    pooled: NDArray[np.float32] = frames.mean(axis=-2).astype(np.float32)
    return pooled
