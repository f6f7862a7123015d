"""Sound cache: content-addressed files in a folder, an index by address, LRU eviction by size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

from earmark.audio.addresses import shown
from earmark.errors import SoundUnreachableError
from earmark.storage.atomic_files import JsonCache, key_of

GRACE_SECONDS = 60.0
"""A sound that was used this recently is not evicted: another thread may be about to open it."""

_ABANDONED_SECONDS = 3600.0
_MEGABYTE = 1_000_000


class SoundCache:
    """Sounds that came from elsewhere, in a folder that threads and processes may share.

    Parameters
    ----------
    folder
        Folder of the cache.
    max_megabytes
        Largest sound that is accepted.
    cache_megabytes
        When the folder holds more, the least recently used sounds are deleted.
    """

    def __init__(self, folder: Path, *, max_megabytes: int, cache_megabytes: int) -> None:
        self._folder = folder
        self._most_bytes = max_megabytes * _MEGABYTE
        self._cache_bytes = cache_megabytes * _MEGABYTE
        self._addresses = JsonCache(folder / "addresses")
        self._measured = False  # whether there was an eviction
        self._added_bytes = 0  # own additions since the last one

    def get(self, address: str) -> tuple[Path, str] | None:
        """Return the cached file of an address and its sha256, or None."""
        entry = self._addresses.get(address)
        digest, name = entry.get("digest"), entry.get("name")
        if not isinstance(digest, str) or not isinstance(name, str):
            return None
        path = self._files / digest[:2] / name
        with contextlib.suppress(OSError):  # on a read-only disk nothing is evicted
            os.utime(path)  # last use, for eviction
        return (path, digest) if path.is_file() else None

    def get_or_add(self, address: str, store: Callable[[], tuple[Path, str]]) -> tuple[Path, str]:
        """Return the file of an address and its sha256; where it is not cached, ``store`` calls `store`.

        Raises
        ------
        SoundUnreachableError
            It could not be stored.
        """
        cached = self.get(address)
        if cached:
            return cached
        try:
            locks = self._folder / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            # A bounded number of lock files: where two addresses share one, one of them only waits.
            with FileLock(locks / f"{key_of(address)[:3]}.lock"):
                cached = self.get(address)  # another thread or process may have stored it
                if cached:
                    return cached
                path, digest = store()
                self._addresses.put(address, digest=digest, name=path.name)
                self._make_room(path.stat().st_size)
        except OSError as error:
            raise SoundUnreachableError(
                f"{shown(address)} could not be stored ({error.strerror or error}): "
                "check the disk of DATA_DIR."
            ) from error
        return path, digest

    def too_large(self, address: str) -> SoundUnreachableError:
        """Return the error for a sound over the limit."""
        return SoundUnreachableError(
            f"{shown(address)} is larger than {self._most_bytes // _MEGABYTE} MB: "
            "raise MAX_SOUND_MEGABYTES or split it."
        )

    def accepts(self, size: int) -> bool:
        """Whether a sound of so many bytes is within the limit."""
        return size <= self._most_bytes

    def store(
        self, pieces: Iterable[bytes], address: str, suffix: str, check: Callable[[], None] = lambda: None
    ) -> tuple[Path, str]:
        """Write pieces to a temporary file and move it into place; return it and its sha256.

        Parameters
        ----------
        suffix
            File name extension of the stored file, with its dot, or empty.
        check
            Called at the end of the pieces; raises where they are not all.

        Raises
        ------
        SoundUnreachableError
            It is over the limit.
        OSError
            It could not be written.
        """
        incoming = self._folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=incoming)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    size += len(piece)
                    if not self.accepts(size):
                        raise self.too_large(address)
                    digest.update(piece)
                    file.write(piece)
            check()
            path = self._files / digest.hexdigest()[:2] / f"{digest.hexdigest()}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path, digest.hexdigest()

    @property
    def _files(self) -> Path:
        return self._folder / "files"

    def _make_room(self, added_bytes: int) -> None:
        """Evict before anything is added, then once for each percent of the cache that is added."""
        self._added_bytes += added_bytes
        if not self._measured or self._added_bytes > self._cache_bytes // 100:
            self._measured, self._added_bytes = True, 0
            self._evict()

    def _evict(self) -> None:
        """Delete the least recently used sounds until the rest fits, with room until the next eviction."""
        now = time.time()
        for part in (self._folder / "incoming").glob("*"):  # temporary files of killed processes
            with contextlib.suppress(FileNotFoundError):
                if now - part.stat().st_mtime > _ABANDONED_SECONDS:
                    part.unlink()
        sounds: list[tuple[float, int, Path]] = []
        for path in self._files.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                sounds.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in sounds)
        for used, size, path in sorted(sounds):
            if total <= self._cache_bytes - self._cache_bytes // 50 or now - used < GRACE_SECONDS:
                break
            path.unlink(missing_ok=True)
            total -= size
