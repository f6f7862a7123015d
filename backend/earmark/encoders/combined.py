"""Combination of two encoders: their frames side by side, and their embeddings one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from earmark.encoders.base import Encoder, Tagger
from earmark.encoders.fan_out import fan_out


class CombinedEncoder:
    """Two encoders as one; see `Encoder`. A frame holds one of the first and those of the second in its time.

    Parameters
    ----------
    first
        With class names of its own (a `Tagger`), and the lower sample rate.
    second
        With a whole number of frames in each frame of the first.
    """

    def __init__(self, first: Encoder, second: Encoder) -> None:
        self._first, self._second = first, second
        self._each = round(second.frame_rate / first.frame_rate)
        self.name = f"{first.name}+{second.name}"
        self.identity = combined_identity(self.name, first.identity, second.identity)
        self.sample_rate = second.sample_rate
        self.frame_rate = first.frame_rate
        self.frame_dim = first.frame_dim + self._each * second.frame_dim
        self.embedding_dim = first.embedding_dim + second.embedding_dim

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream of sound with both, each in a thread; see `Encoder.frames`."""
        rate = self._first.sample_rate
        coarse, fine = fan_out(
            blocks,
            [
                lambda given: self._first.frames(_resampled(given, self.sample_rate, rate)),
                self._second.frames,
            ],
        )
        count = -(-len(fine) // self._each)
        fine = np.pad(fine, ((0, count * self._each - len(fine)), (0, 0)), mode="edge")
        coarse = np.pad(coarse[:count], ((0, max(0, count - len(coarse))), (0, 0)), mode="edge")
        return np.concatenate([coarse, fine.reshape(count, -1)], axis=1)

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """The first encoder's embedding, then the second's: ``[..., n, D]`` to float32 ``[..., E]``."""
        coarse, fine = frames[..., : self._first.frame_dim], frames[..., self._first.frame_dim :]
        fine = fine.reshape(*frames.shape[:-2], frames.shape[-2] * self._each, self._second.frame_dim)
        return np.concatenate([self._first.pool(coarse), self._second.pool(fine)], axis=-1)

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The first encoder's classifier; see `Tagger.class_layer`."""
        assert isinstance(self._first, Tagger)
        weights, bias = self._first.class_layer()
        return np.pad(weights, ((0, self._second.embedding_dim), (0, 0))), bias


def combined_identity(name: str, first: str, second: str) -> str:
    """Return the identity of a combination of two encoders with these identities, safe as a folder name."""
    return f"{name.replace('+', '.')}-{hashlib.sha256(f'{first} {second}'.encode()).hexdigest()[:12]}"


def _resampled(
    blocks: Iterable[NDArray[np.float32]], rate: int, wanted: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a stream, in bounded memory."""
    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)
