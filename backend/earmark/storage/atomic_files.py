"""Atomic file writes, digests of files, and a JSON cache that threads and processes share without locks."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earmark.errors import ConfigurationError

_CHUNK_BYTES = 1 << 20


@contextmanager
def ensure_dir(folder: Path) -> Iterator[None]:
    """Create a required folder; OSErrors of the block in it become one ConfigurationError.

    Raises
    ------
    ConfigurationError
        The folder cannot be created, or the block raised an OSError.
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
    """Restrict a file or a folder to its owner; files of other users are left unchanged."""
    with suppress(FileNotFoundError, PermissionError):
        if path.stat().st_mode & 0o077:
            path.chmod(mode)


PRIVATE_UMASK = 0o077
FORMER_UMASK = "EARMARK_FORMER_UMASK"
"""Environment variable with the umask, in octal, that a process or its parent replaced by `PRIVATE_UMASK`."""


def keep_new_files_private() -> None:
    """Make all files and folders that this process creates from now on its user's alone (umask 077).

    Child processes inherit it. For the processes of a backend: commands write files that are to be shared.
    """
    former = os.umask(PRIVATE_UMASK)
    os.environ.setdefault(FORMER_UMASK, f"{former:o}")  # a parent process may have replaced it before


def share(path: Path) -> None:
    """Add the permissions that a file or a folder would have had without ``keep_new_files_private``."""
    former = os.environ.get(FORMER_UMASK)
    if former is None:
        return
    with suppress(OSError):  # another machine's user owns it
        mode = path.stat().st_mode
        wanted = (0o777 if stat.S_ISDIR(mode) else 0o666) & ~int(former, 8)
        path.chmod(stat.S_IMODE(mode) | wanted)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Atomic write: yield a temporary path, which replaces ``path`` at the end, or is deleted on errors.

    Readers see the old content or the new, never a part of it. Missing folders are created.

    Raises
    ------
    OSError
        The disk is full, or the folder may not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".part-{uuid.uuid4().hex}"
    try:
        part.touch(exist_ok=False)  # with the user's default permissions, unlike tempfile's
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
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class JsonCache:
    """Cache of small JSON objects by key, one file each, so that processes need no lock between them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> dict[str, str | int]:
        """Return the entry of a key; empty when there is none, or when its file is damaged."""
        try:
            entry = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError):
            return {}
        return entry if isinstance(entry, dict) else {}

    def put(self, key: str, **facts: str | int) -> None:
        """Store the entry of a key, atomically."""
        with atomic_write(self._path(key)) as part:
            part.write_text(json.dumps(facts), encoding="utf-8")

    def digest_of(self, path: Path, anew: bool = False) -> str:
        """Return the sha256 of a file, read again when its size or modification time changed, or ``anew``.

        Raises
        ------
        OSError
            The file is not there or may not be read.
        ConfigurationError
            The digest cannot be stored; the file itself is readable.
        """
        digest = None if anew else self.known_digest_of(path)
        if digest is None:
            status = path.stat()
            digest = sha256_of(path)
            self.put_of(path, status, digest=digest)
        return digest

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
        """Return the entry of a file; empty when its size or modification time changed since.

        Raises
        ------
        OSError
            The file is not there.
        """
        status, entry = path.stat(), self.get(str(path))
        unchanged = (entry.get("size"), entry.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)
        return entry if unchanged else {}

    def put_of(self, path: Path, status: os.stat_result, **facts: str | int) -> None:
        """Store the entry of a file, valid while its size and modification time are those of ``status``.

        Raises
        ------
        ConfigurationError
            The cache folder cannot be written.
        """
        with ensure_dir(self._folder):
            self.put(str(path), size=status.st_size, mtime_ns=status.st_mtime_ns, **facts)

    def _path(self, key: str) -> Path:
        name = key_of(key)
        return self._folder / name[:2] / f"{name}.json"
