"""Cross-process priority lock: interactive predictions encode before background jobs.

Niceness settles that on a processor; a GPU has none, and shares its time evenly among processes. So
predictions hold a shared lock on a file of the data folder while they encode, and background jobs look
at it before each piece of sound, and wait while it is held. The kernel drops the lock of a process
that dies. It is a lock of one machine, as a GPU is.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_WAIT_SECONDS = 1.0
"""For each piece of sound: predictions without end slow a training down, and never stop it."""
LOOK_SECONDS = 0.01


class PriorityLock:
    """Lock file of a data folder by which predictions delay encoding in the background.

    Parameters
    ----------
    path
        The file that is locked; it is made when it is missing.
    background
        Whether this process gives way, instead of going first.
    """

    def __init__(self, path: Path, background: bool) -> None:
        self._path, self._background = path, background

    @contextmanager
    def priority(self) -> Iterator[None]:
        """Go first while the block runs; in the background this does nothing."""
        if self._background:
            yield
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab")  # one open file for each thread: a lock belongs to it
        except OSError:  # a read-only disk: without the lock, trainings encode at the same time
            yield
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def yield_priority(self) -> float:
        """Wait while predictions encode; returns the seconds. In the foreground this does nothing."""
        if not self._background or not self._path.exists():
            return 0.0
        started = time.monotonic()
        with self._path.open("ab") as file:
            while not _free(file.fileno()):
                if time.monotonic() - started >= LONGEST_WAIT_SECONDS:
                    break
                time.sleep(LOOK_SECONDS)
        return time.monotonic() - started


def _free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
