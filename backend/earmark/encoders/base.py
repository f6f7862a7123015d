"""Encoder protocol: sound to frames, and any run of frames to one embedding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class EmbeddingPart(NamedTuple):
    """Consecutive numbers of an embedding: how many, and the weight of a fit on them in an average."""

    width: int
    weight: float


class Encoder(Protocol):
    """A frozen function from sound to vectors.

    Frame ``i`` stands for the time from ``i / frame_rate`` to ``(i + 1) / frame_rate`` seconds.
    """

    @property
    def name(self) -> str:
        """Short name that version names carry; see `registry`."""
        ...

    @property
    def identity(self) -> str:
        """Name and digest of the weights or parameters, safe as a folder name.

        Stored frames and heads belong to one identity and never mix with another.
        """
        ...

    @property
    def sample_rate(self) -> int:
        """Samples per second that ``frames`` expects."""
        ...

    @property
    def frame_rate(self) -> float:
        """Frames per second that ``frames`` returns."""
        ...

    @property
    def frame_dim(self) -> int:
        """D, the width of one frame."""
        ...

    @property
    def embedding_dim(self) -> int:
        """E, the width of one pooled embedding."""
        ...

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream of sound.

        Parameters
        ----------
        blocks
            Consecutive stretches of one recording: float32 ``[n]``, mono, at ``sample_rate``,
            full scale is 1.0; of any length each, at least one sample in all.

        Returns
        -------
        float16 ``[T, D]`` with T >= 1, all finite, ``frame_rate`` per second. The result does not
        depend on how the recording was cut into blocks.
        """
        ...

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Summarise runs of frames: ``[..., n, D]`` with n >= 1 to float32 ``[..., E]``."""
        ...


@runtime_checkable
class Tagger(Protocol):
    """Encoder with a classifier of its own, trained on C classes."""

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights float32 ``[E, C]`` and bias float32 ``[C]`` of its own classifier.

        ``sigmoid(embedding @ weights + bias)`` are the probabilities of ``registry.class_names(identity)``.
        """
        ...


@runtime_checkable
class PartedEncoder(Protocol):
    """Encoder whose embedding has parts of different kinds; fits on each may be averaged."""

    @property
    def part_widths(self) -> tuple[int, ...]:
        """Widths of the parts, in their order; their sum is E."""
        ...
