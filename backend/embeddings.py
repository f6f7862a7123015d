"""Hear once: the frames of a sound, stored by its content and by the encoder that made them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from backend.audio.decode import read_blocks
from backend.audio.source import LabelStudioAccess, SoundSource
from backend.encoders.base import Encoder
from backend.errors import SoundNotFetchedError, WeightsError
from backend.files import replacing
from backend.giving_way import RightOfWay

GIVE_WAY_EVERY_SECONDS = 30
"""Of sound; an encoder takes a minute or so at a time."""
_LOCKS = 64
_CHECKSUM_BYTES = 32
_HEAD_BYTES = 1024


@dataclass(frozen=True)
class Sound:
    """What was heard of one file.

    Attributes
    ----------
    digest
        sha256 of the file's content, in hexadecimal.
    duration
        Seconds, counted in decoded samples, so that a header cannot be wrong about it.
    frames
        float16 ``[T, D]``; their rate is the encoder's ``frame_rate``.
    """

    digest: str
    duration: float
    frames: NDArray[np.float16]


class FrameStore:
    """Frames on disk: ``<folder>/<identity>/<digest[:2]>/<digest>.frames``.

    A file is a BLAKE2b digest of all that follows, a header in JSON, filled up with spaces to 1,024
    bytes together, and the frames as little-endian float16. Threads and processes may share a folder:
    nothing is ever half written, and what is damaged all the same counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, digest: str, identity: str) -> Sound | None:
        """Return the stored sound, or None where there is none of this encoder, or a damaged one.

        Raises
        ------
        ValueError
            ``digest`` is no sha256, or ``identity`` is not safe as a folder name.
        """
        try:
            content = np.fromfile(self._path(digest, identity), dtype=np.uint8)
        except OSError:
            return None
        return frames_from_bytes(content, digest, identity)

    def holds(self, digest: str, identity: str) -> bool:
        """Whether there is a stored sound on this machine; whether it is sound, ``load`` tells."""
        return self._path(digest, identity).is_file()

    def save(self, sound: Sound, identity: str) -> None:
        """Store, in one step, over whatever was there.

        Raises
        ------
        ValueError
            As in ``load``, or the frames are not float16 ``[T, D]`` with T >= 1.
        OSError
            The disk is full, or the folder may not be written.
        """
        path, content = self._path(sound.digest, identity), frames_to_bytes(sound, identity)
        with replacing(path) as part:
            part.write_bytes(content)

    def _path(self, digest: str, identity: str) -> Path:
        return self._folder / frames_path(digest, identity)


def frames_path(digest: str, identity: str) -> str:
    """Where a sound's frames are in a store, relative to it.

    Raises
    ------
    ValueError
        ``digest`` is no sha256, or ``identity`` is not safe as a folder name.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"{digest!r} is no sha256 in hexadecimal")
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", identity):
        raise ValueError(f"{identity!r} is not safe as a folder name")
    return f"{identity}/{digest[:2]}/{digest}.frames"


def frames_to_bytes(sound: Sound, identity: str) -> bytes:
    """A sound as ``FrameStore`` keeps it.

    Raises
    ------
    ValueError
        The frames are not float16 ``[T, D]`` with T >= 1.
    """
    frames = sound.frames
    if frames.dtype != np.float16 or frames.ndim != 2 or not frames.size:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, not float16 [T, D]")
    header = {"digest": sound.digest, "identity": identity, "duration": sound.duration, "shape": frames.shape}
    head = json.dumps(header).encode().ljust(_HEAD_BYTES - _CHECKSUM_BYTES)
    body = head + frames.astype("<f2", copy=False).tobytes()
    return _checksum(body) + body


def frames_from_bytes(content: bytes | NDArray[np.uint8], digest: str, identity: str) -> Sound | None:
    """What ``frames_to_bytes`` made, or None where it is damaged, or of another sound or encoder."""
    content = np.frombuffer(content, dtype=np.uint8)
    if (
        content.size <= _HEAD_BYTES
        or _checksum(content[_CHECKSUM_BYTES:].data) != content[:_CHECKSUM_BYTES].tobytes()
    ):
        return None
    header = json.loads(content[_CHECKSUM_BYTES:_HEAD_BYTES].tobytes())
    if (header["digest"], header["identity"]) != (digest, identity):
        return None
    frames = content[_HEAD_BYTES:].view("<f2").reshape(header["shape"])
    return Sound(digest, header["duration"], frames.astype(np.float16, copy=False))


def _checksum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()


class Ear:
    """An address in, a ``Sound`` out; each content is decoded and encoded once. Thread-safe.

    Parameters
    ----------
    source
        Finds and fetches files.
    store
        Keeps frames.
    identity
        The encoder's identity; a stored sound is returned without the encoder being built.
    encoder
        Returns the encoder when something new must be heard.
    way
        Who hears first; None where nobody else does.
    """

    def __init__(
        self,
        source: SoundSource,
        store: FrameStore,
        identity: str,
        encoder: Callable[[], Encoder],
        way: RightOfWay | None = None,
    ) -> None:
        self._source, self._store, self._way = source, store, way
        self.identity = identity
        self._encoder = encoder
        # A bounded number of locks; two sounds that share one only wait, as they do for the encoder.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def hear(self, address: str, access: LabelStudioAccess | None) -> Sound:
        """Return the frames of the sound at an address in a task.

        Raises
        ------
        SoundNotFoundError, SoundUnreachableError, LabelStudioError
            See ``SoundSource.locate``.
        SoundUnreadableError
            See ``read_blocks``.
        WeightsError
            The encoder cannot be had, or is not the one whose identity was promised.
        """
        located = self._source.locate(address, access)
        stored = self._store.load(located.digest, self.identity)
        if stored is not None:
            return stored
        with self._locks[int(located.digest[:8], 16) % _LOCKS]:
            stored = self._store.load(located.digest, self.identity)  # another thread may have been first
            if stored is not None:
                return stored
            sound = self._encode(located.path, located.digest, _name_in(address))
            self._store.save(sound, self.identity)
            return sound

    def has(self, address: str, access: LabelStudioAccess | None) -> bool:
        """Whether ``hear`` would find the frames stored, without any network; errors are its own."""
        try:
            located = self._source.locate(address, access, fetch=False)
        except SoundNotFetchedError:
            return False
        return self._store.holds(located.digest, self.identity)

    def _encode(self, path: Path, digest: str, name: str) -> Sound:
        encoder = self._encoder()
        if encoder.identity != self.identity:
            raise WeightsError(
                f"The encoder is now {encoder.identity} and no longer {self.identity}: restart "
                "Earmark, so that everything uses the same one."
            )
        samples = 0

        def counted() -> Iterator[NDArray[np.float32]]:
            nonlocal samples
            asked_at = -encoder.sample_rate * GIVE_WAY_EVERY_SECONDS
            for block in read_blocks(path, encoder.sample_rate, name=name):
                if self._way and samples - asked_at >= encoder.sample_rate * GIVE_WAY_EVERY_SECONDS:
                    self._way.give_way()
                    asked_at = samples
                samples += block.size
                yield block

        with self._way.hearing() if self._way else nullcontext():
            frames = encoder.frames(counted())
        return Sound(digest, samples / encoder.sample_rate, frames)


def _name_in(address: str) -> str:
    """The file name that people know a sound by; the file on disk may be named by its digest."""
    parts = urlsplit(address)
    path = parts.query if parts.path.rstrip("/").endswith("/data/local-files") else parts.path
    return unquote(path).rpartition("/")[2] or address
