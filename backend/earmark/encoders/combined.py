"""Combined encoder: the frames of several encoders on one time grid, and their embeddings side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.audio.resampling import resample
from earmark.encoders import registry
from earmark.encoders.base import EmbeddingPart, Encoder, PartedEncoder, Tagger
from earmark.encoders.combination import combined_identity, distinct_classes
from earmark.encoders.fan_out import fan_out

COARSEST_FRAME_RATE = 3.125
"""A frame is 0.32 s at most, however slow a member is: its frames are repeated."""
_ROUNDING = 1e-6
_Encoding = Callable[[Iterable[NDArray[np.float32]]], NDArray[np.float16]]


class CombinedEncoder:
    """Several encoders as one; see `Encoder`.

    The frame rate is that of the slowest member, or `COARSEST_FRAME_RATE` where that is higher and
    another member reaches it. A frame holds, member after member, all of the member's frames in its time:
    as many as its frame rate is higher, rounded up, evenly spaced; one where it is not higher.

    Parameters
    ----------
    members
        At least two, in the order of their registry entries.
    """

    def __init__(self, *members: Encoder) -> None:
        self.members = members
        rates = [member.frame_rate for member in members]
        self.name = "+".join(member.name for member in members)
        self.identity = combined_identity(self.name, [member.identity for member in members])
        self.sample_rate = max(member.sample_rate for member in members)
        self.frame_rate = min(max(rates), max(min(rates), COARSEST_FRAME_RATE))
        self._each = [max(1, math.ceil(rate / self.frame_rate - _ROUNDING)) for rate in rates]
        widths = [each * member.frame_dim for each, member in zip(self._each, members, strict=True)]
        self._ends = np.cumsum(widths).tolist()
        self.frame_dim = sum(widths)
        self.embedding_dim = sum(member.embedding_dim for member in members)

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream of sound with all members, each in a thread; see `Encoder.frames`.

        `FrameExtractor` assembles frames of the members instead, each from the file at its own rate.
        """
        return self.assemble(fan_out(blocks, [self._encoding(member) for member in self.members]))

    def assemble(self, parts: Sequence[NDArray[np.float16]]) -> NDArray[np.float16]:
        """Lay frames of the members, ``[T, D]`` each, of one recording, side by side: ``[T, frame_dim]``.

        The recording ends where the last frame of the fastest member does; the last frames of others
        are repeated up to there.
        """
        fastest = max(member.frame_rate for member in self.members)
        longest = max(
            len(part)
            for member, part in zip(self.members, parts, strict=True)
            if member.frame_rate == fastest
        )
        count = max(1, math.ceil(longest * self.frame_rate / fastest - _ROUNDING))
        frames = np.empty((count, self.frame_dim), dtype=np.float16)
        start = 0
        for member, part, each, end in zip(self.members, parts, self._each, self._ends, strict=True):
            middles = (np.arange(count * each) + 0.5) / (each * self.frame_rate)  # seconds
            rows = np.minimum((middles * member.frame_rate).astype(np.intp), len(part) - 1)
            frames[:, start:end] = part[rows].reshape(count, -1)
            start = end
        return frames

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """The members' embeddings one after the other: ``[..., n, D]`` to float32 ``[..., E]``."""
        embeddings = []
        start = 0
        for member, each, end in zip(self.members, self._each, self._ends, strict=True):
            own = frames[..., start:end]
            runs = own.reshape(*frames.shape[:-2], frames.shape[-2] * each, member.frame_dim)
            embeddings.append(member.pool(runs))
            start = end
        return np.concatenate(embeddings, axis=-1)

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The classifiers of all members, a class of one name once; see `Tagger.class_layer`."""
        lists = [registry.class_names(member.identity) for member in self.members]
        classes = distinct_classes(lists)
        weights = np.zeros((self.embedding_dim, len(classes)), dtype=np.float32)
        bias = np.zeros(len(classes), dtype=np.float32)
        start = 0
        for number, member in enumerate(self.members):
            columns = [column for column, (owner, _) in enumerate(classes) if owner == number]
            if columns and isinstance(member, Tagger):
                own_weights, own_bias = member.class_layer()
                picked = [index for owner, index in classes if owner == number]
                weights[start : start + member.embedding_dim, columns] = own_weights[:, picked]
                bias[columns] = own_bias[picked]
            start += member.embedding_dim
        return weights, bias

    def _encoding(self, member: Encoder) -> _Encoding:
        return lambda blocks: member.frames(resample(blocks, self.sample_rate, member.sample_rate))


def embedding_parts(encoder: Encoder) -> tuple[EmbeddingPart, ...]:
    """Parts of an embedding, in their order; empty if it is of one piece.

    Each member of a combination counts the same, and each part of a member.
    """
    members = encoder.members if isinstance(encoder, CombinedEncoder) else (encoder,)
    widths = [
        member.part_widths if isinstance(member, PartedEncoder) else (member.embedding_dim,)
        for member in members
    ]
    parts = [EmbeddingPart(width, 1 / (len(members) * len(own))) for own in widths for width in own]
    return tuple(parts) if len(parts) > 1 else ()
