"""Lock of a data folder: one backend at a time runs on it, from its start to the end of its last process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from earmark.errors import DataFolderInUseError
from earmark.processes.supervisor import living_process, process_name
from earmark.storage.atomic_files import atomic_write, ensure_dir

LOCK_NAME, OWNER_NAME = "backend.lock", "backend.owner"


@contextmanager
def sole_backend(data_dir: Path) -> Iterator[None]:
    """Hold the lock of a data folder while the block runs; the kernel releases that of a killed process.

    Two backends on one folder would share a Redis socket and pid files, and neither could stop the other's.

    Raises
    ------
    ConfigurationError
        The folder cannot be created or written.
    DataFolderInUseError
        Another backend runs on it, or is being stopped; the message has its process id.
    """
    run_dir = data_dir.resolve() / "run"
    lock = FileLock(run_dir / LOCK_NAME, timeout=0)
    with ensure_dir(run_dir):
        try:
            lock.acquire()
        except Timeout:
            raise DataFolderInUseError(
                f"Another backend{_owner(run_dir / OWNER_NAME)} runs on {data_dir}, or is being stopped: "
                "wait for its end, or set DATA_DIR to another folder."
            ) from None
    try:
        with ensure_dir(run_dir), atomic_write(run_dir / OWNER_NAME) as part:
            part.write_text(process_name(os.getpid()))
        yield
    finally:
        lock.release()


def _owner(path: Path) -> str:
    try:
        process = living_process(path.read_text())
    except (OSError, ValueError):
        return ""
    return f" (process {process.pid})" if process else ""
