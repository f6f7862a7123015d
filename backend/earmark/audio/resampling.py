"""Resampling of a stream of samples, and samples that are safe to compute with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from earmark.audio.faults import no_samples

LOUDEST = 1e6
"""Samples are held within ±LOUDEST (full scale is 1.0), so that their power fits float32."""


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int, *, name: str
) -> Iterator[NDArray[np.float32]]:
    """Bring blocks of ``decode.native_blocks`` to a sample rate; yields what ``decode.read_blocks`` does."""
    heard = False
    for block in blocks if rate == sample_rate else _resampled(blocks, rate, sample_rate):
        if block.size:
            heard = True
            yield finite(block)
    if not heard:
        raise no_samples(name)


def finite(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples without NaN and infinity, held within ±``LOUDEST``; a copy."""
    clean: NDArray[np.float32] = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(clean, -LOUDEST, LOUDEST, out=clean)


def _resampled(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    first: NDArray[np.float32] = np.empty(0, np.float32)
    made = 0
    for block in blocks:
        first = first if first.size else block[:1]
        resampled = stream.resample_chunk(block)
        made += resampled.size
        yield resampled
    rest = stream.resample_chunk(np.empty(0, np.float32), last=True)
    yield rest if made + rest.size else first  # a sample or two at a high rate round down to none
