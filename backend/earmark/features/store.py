"""Frame store: frames of sounds as files, by content digest and encoder identity."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from earmark.storage.atomic_files import atomic_write

log = structlog.get_logger(__name__)

_TYPES = {"<f2": np.dtype(np.float16), "|u1": np.dtype(np.uint8)}
"""Types of stored arrays, by how a file names them."""
_CHECKSUM_BYTES = 32
_HEAD_BYTES = 1024


@dataclass(frozen=True)
class EncodedSound:
    """Frames and band levels of one file.

    Attributes
    ----------
    digest
        sha256 of the file's content, in hexadecimal.
    duration
        Seconds, counted in decoded samples, so that a header cannot be wrong about it.
    frames
        float16 ``[T, D]``; their rate is the encoder's ``frame_rate``.
    channel
        Which channel of the file it is, from 0; None for the mix of all.
    levels
        uint8 ``[L, BANDS]``, see ``earmark.features.band_levels``; None where they were not measured.
    """

    digest: str
    duration: float
    frames: NDArray[Any]
    levels: NDArray[np.uint8] | None = None
    channel: int | None = None


class FrameStore:
    """Frames on disk: ``<folder>/<identity>/<digest[:2]>/<digest>.frames``.

    A file is a BLAKE2b digest of all that follows, a header in JSON, filled up with spaces to 1,024
    bytes together, and the frames as little-endian float16, or uint8 for band levels, which are stored
    like frames of an encoder of their own. Threads and processes may share a folder:
    nothing is ever half written, and what is damaged all the same counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.fault = ""
        """One sentence on why sounds are not stored at present; empty where they are."""

    def try_save(self, sound: EncodedSound, identity: str) -> None:
        """Store a sound if the folder can be written; a failure is logged once, until one is stored again.

        What is not stored is encoded again the next time, which costs time and no answer.
        """
        self._try(lambda: self.save(sound, identity))

    def _try(self, save: Callable[[], None]) -> None:
        try:
            save()
        except OSError as error:
            if not self.fault:
                log.warning("frames are not stored", folder=str(self._folder), error=str(error))
            self.fault = _not_stored(self._folder, error)
        else:
            self.fault = ""

    def probe(self) -> str:
        """Try to write; return one sentence on why sounds cannot be stored, or an empty text."""
        try:
            with atomic_write(self._folder / ".probe") as part:
                part.write_bytes(bytes(_HEAD_BYTES))
            (self._folder / ".probe").unlink(missing_ok=True)
        except OSError as error:
            return _not_stored(self._folder, error)
        return ""

    def load(self, digest: str, identity: str) -> EncodedSound | None:
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
        """Whether a sound is stored on this machine; only ``load`` checks that it is undamaged."""
        return self._path(digest, identity).is_file()

    def save(self, sound: EncodedSound, identity: str) -> None:
        """Store atomically, replacing an earlier file.

        Raises
        ------
        ValueError
            As in ``load``, or the frames are not float16 ``[T, D]`` with T >= 1.
        OSError
            The disk is full, or the folder may not be written.
        """
        path, content = self._path(sound.digest, identity), frames_to_bytes(sound, identity)
        with atomic_write(path) as part:
            part.write_bytes(content)

    def remove(self, digest: str, identity: str) -> None:
        """Delete a stored sound, and its encoder's folder where it was the last one."""
        path = self._path(digest, identity)
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            with suppress(OSError):  # others are in it
                folder.rmdir()

    def _path(self, digest: str, identity: str) -> Path:
        return self._folder / frames_path(digest, identity)


def _not_stored(folder: Path, error: OSError) -> str:
    return (
        f"Frames cannot be stored in {folder} ({error.strerror or error}), so each sound is encoded anew: "
        "free some space, or let this user write there."
    )


def frames_path(digest: str, identity: str) -> str:
    """Return the path of a sound's frames in a store, relative to it.

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


def frames_to_bytes(sound: EncodedSound, identity: str) -> bytes:
    """Serialise a sound as ``FrameStore`` stores it.

    Raises
    ------
    ValueError
        The frames are not float16 or uint8 ``[T, D]`` with T >= 1.
    """
    frames = sound.frames
    if frames.dtype not in _TYPES.values() or frames.ndim != 2 or not frames.size:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, not float16 or uint8 [T, D]")
    stored = next(name for name, kind in _TYPES.items() if kind == frames.dtype)
    header = {
        "digest": sound.digest,
        "identity": identity,
        "duration": sound.duration,
        "shape": frames.shape,
        "dtype": stored,
    }
    head = json.dumps(header).encode().ljust(_HEAD_BYTES - _CHECKSUM_BYTES)
    body = head + frames.astype(stored, copy=False).tobytes()
    return _checksum(body) + body


def frames_from_bytes(content: bytes | NDArray[np.uint8], digest: str, identity: str) -> EncodedSound | None:
    """Deserialise a stored sound; None if it is damaged, or of another sound or encoder."""
    content = np.frombuffer(content, dtype=np.uint8)
    if (
        content.size <= _HEAD_BYTES
        or _checksum(content[_CHECKSUM_BYTES:].data) != content[:_CHECKSUM_BYTES].tobytes()
    ):
        return None
    header = json.loads(content[_CHECKSUM_BYTES:_HEAD_BYTES].tobytes())
    if (header["digest"], header["identity"]) != (digest, identity):
        return None
    stored = header.get("dtype", "<f2")  # earlier releases stored nothing else, and did not say so
    frames = content[_HEAD_BYTES:].view(stored).reshape(header["shape"])
    return EncodedSound(digest, header["duration"], frames.astype(_TYPES[stored], copy=False))


def _checksum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
