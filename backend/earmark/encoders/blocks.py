"""Rechunking of a sample stream: pieces of equal length, however it was cut into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

LOUDEST_SAMPLE = 1e4


def rechunk(blocks: Iterable[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Cut a stream into finite pieces of exactly ``samples`` samples, the last one shorter.

    Values that are not finite are taken as silence, others are held within `LOUDEST_SAMPLE`.
    """
    held: list[NDArray[np.float32]] = []
    count = 0
    for block in blocks:
        for start in range(0, len(block), samples):
            piece = np.nan_to_num(block[start : start + samples], nan=0.0, posinf=0.0, neginf=0.0)
            held.append(np.clip(piece, -LOUDEST_SAMPLE, LOUDEST_SAMPLE).astype(np.float32, copy=False))
            count += len(piece)
            if count >= samples:
                joined = np.concatenate(held)
                yield joined[:samples]
                held, count = [joined[samples:]], count - samples
    if count:
        yield np.concatenate(held)
