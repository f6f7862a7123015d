"""Streaming resampler (soxr), and clipping of samples to finite values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from earmark.audio.faults import no_samples

LOUDEST = 1e6
"""Samples are clipped to ±LOUDEST (full scale is 1.0), so that their power fits float32."""


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int, *, name: str
) -> Iterator[NDArray[np.float32]]:
    """Resample blocks of ``decode.native_blocks`` to a sample rate; yields as ``decode.read_blocks`` does."""
    any_samples = False
    for block in resample(blocks, rate, sample_rate):
        if block.size:
            any_samples = True
            yield finite(block)
    if not any_samples:
        raise no_samples(name)


def finite(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the samples with NaN and infinity replaced by 0, clipped to ±``LOUDEST``; a copy if needed."""
    if samples.size and samples.max() <= LOUDEST and samples.min() >= -LOUDEST:  # neither for NaN
        return samples
    clean: NDArray[np.float32] = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(clean, -LOUDEST, LOUDEST, out=clean)


def resample(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a stream in bounded memory; blocks may come out empty.

    Parameters
    ----------
    blocks
        Samples float32 ``[n]`` at ``rate`` per second.
    sample_rate
        Samples per second of what is yielded, float32 ``[m]``.
    """
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    first: NDArray[np.float32] = np.empty(0, np.float32)
    resampled_size = 0
    for block in blocks:
        first = first if first.size else block[:1]
        resampled = stream.resample_chunk(block)
        resampled_size += resampled.size
        yield resampled
    rest = stream.resample_chunk(np.empty(0, np.float32), last=True)
    yield rest if resampled_size + rest.size else first  # a sample or two may resample to none
