"""Files that other threads and processes read at the same time: replaced in one step, never half written."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earmark.errors import ConfigurationError

_CHUNK_BYTES = 1 << 20


@contextmanager
def ensure_dir(folder: Path) -> Iterator[None]:
    """Make a folder that nothing works without; what the block is refused in it becomes one sentence.

    Raises
    ------
    ConfigurationError
        The folder cannot be made, or the block raised an OSError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be used as a folder for data ({error.strerror or error}): set DATA_DIR to a "
            "folder of yours that has room, or correct DATABASE_URL where that names a file."
        ) from error


def keep_private(path: Path, mode: int) -> None:
    """Take a file or a folder away from other users; what belongs to one of them is left as it is."""
    with suppress(FileNotFoundError, PermissionError):
        if path.stat().st_mode & 0o077:
            path.chmod(mode)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of ``path`` at the end, or goes away.

    Readers see the old content or the new, nothing between. Missing folders are made.

    Raises
    ------
    OSError
        The disk is full, or the folder may not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".part-{uuid.uuid4().hex}"
    part.touch(exist_ok=False)  # with the permissions that this user's files have, unlike tempfile's
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def key_of(text: str) -> str:
    """Digest of a text, safe as a file name: 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal.

    Raises
    ------
    OSError
        The file is not there or may not be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


class JsonCache:
    """Small facts remembered by key, one file each, so that processes need no lock between them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> dict[str, str | int]:
        """Return what was remembered; empty when nothing was, or when the file is damaged."""
        try:
            known = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def put(self, key: str, **facts: str | int) -> None:
        """Remember, in one step."""
        with atomic_write(self._path(key)) as part:
            part.write_text(json.dumps(facts), encoding="utf-8")

    def digest_of(self, path: Path, anew: bool = False) -> str:
        """Return the sha256 of a file, read again when its size or modification time changed, or ``anew``.

        Raises
        ------
        OSError
            The file is not there or may not be read.
        ConfigurationError
            The digest cannot be kept: no fault of the file's.
        """
        known = None if anew else self.known_digest_of(path)
        if known is None:
            status = path.stat()
            known = sha256_of(path)
            self.put_of(path, status, digest=known)
        return known

    def known_digest_of(self, path: Path) -> str | None:
        """Return the sha256 of an unchanged file that was read before, else None; reads no content.

        Raises
        ------
        OSError
            The file is not there.
        """
        digest = self.get_of(path).get("digest")
        return digest if isinstance(digest, str) else None

    def get_of(self, path: Path) -> dict[str, str | int]:
        """Return what was remembered of a file since its size or modification time changed.

        Raises
        ------
        OSError
            The file is not there.
        """
        status, known = path.stat(), self.get(str(path))
        unchanged = (known.get("size"), known.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)
        return known if unchanged else {}

    def put_of(self, path: Path, status: os.stat_result, **facts: str | int) -> None:
        """Remember of a file as it was when it had this status.

        Raises
        ------
        ConfigurationError
            The folder of the notes cannot be written.
        """
        with ensure_dir(self._folder):
            self.put(str(path), size=status.st_size, mtime_ns=status.st_mtime_ns, **facts)

    def _path(self, key: str) -> Path:
        name = key_of(key)
        return self._folder / name[:2] / f"{name}.json"
