"""Writing of large files: one writer at a time, and safe when the disk is full."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from earmark.encoders.weights.transfer_progress import Display
from earmark.errors import WeightsError

LOOK_SECONDS = 0.5
"""While another process writes, its progress is looked at this often."""
SPARE_BYTES = 64_000_000
"""Left free beside a large file."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def size_of(path: Path) -> int:
    """Return a file's size in bytes; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def is_disk_full(error: OSError) -> bool:
    """Whether an error means a full disk or quota."""
    return error.errno in _NO_ROOM


def require_space(folder: Path, size: int) -> None:
    """Check that a folder's disk has the free space.

    Raises
    ------
    OSError
        ENOSPC, saying what is free and what is needed.
    """
    free, needed = shutil.disk_usage(folder).free, size + SPARE_BYTES
    if free < needed:
        raise OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed")


@contextmanager
def remove_if_disk_full(part: Path) -> Iterator[None]:
    """Remove a file whose writing filled the disk: on a full disk, the database stops too."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            part.unlink(missing_ok=True)
        raise


def replace_durably(part: Path, target: Path) -> None:
    """Replace ``target`` with a complete file, atomically and durably (fsync)."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)


@contextmanager
def single_writer(
    target: Path, part: Path, size: int, shown: Display, what: str = "CNN14's weights"
) -> Iterator[None]:
    """File lock: one process writes ``target``; the others show its progress, and wait.

    Raises
    ------
    WeightsError
        As in ``explained``, for the whole block.
    """
    with explained(target.parent, what):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f"{target.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            shown.begin(f"waiting for another process to bring {target.name}", size_of(part), size)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=LOOK_SECONDS)
            except Timeout:
                shown.reach(size_of(part))
        try:
            yield
        finally:
            lock.release()


@contextmanager
def explained(folder: Path, what: str = "CNN14's weights") -> Iterator[None]:
    """Convert an OSError of the disk into one sentence about ``what``.

    Raises
    ------
    WeightsError
        The block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if is_disk_full(error):
            raise WeightsError(
                f"There is no room for {what} in {folder} ({reason}): free some space, or set "
                "DATA_DIR to another disk."
            ) from error
        raise WeightsError(
            f"{what} cannot be kept in {folder} ({reason}): make it writable, or set DATA_DIR to a folder of "
            "yours."
        ) from error
