"""Lock of a project for imports on this machine, with a write-ahead journal of unanswered requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from earmark.storage.atomic_files import atomic_write, key_of

SETTLE_SECONDS = 20.0
"""Wait for the tasks of a request whose sender has died; Label Studio takes 1 s for 1,000 tasks."""
LATEST_SECONDS = 3600.0
"""Label Studio may execute a request this late: its pauses for a locked database add up to 51 minutes."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Unanswered:
    """Journal entry of a request that creates tasks and has no answer yet.

    ``identity``: of one of its sounds. ``at``: seconds since 1970. ``after``: the highest task id
    before it. ``waited``: the tasks exist, or the wait for them has timed out.
    """

    identity: str
    at: float
    after: int | None = None
    waited: bool = False


class ImportLock:
    """Cross-process file lock of a project, with a journal of the requests sent to it.

    A request that creates tasks is written to the journal before it is sent, and removed with its answer.
    An entry found by the next holder means that its sender was killed or received no answer. Label Studio
    may still be at work, so the holder waits until the tasks exist or are long overdue. They may be
    created again even later: so the entry stays for `LATEST_SECONDS`, and each holder removes duplicates.

    Parameters
    ----------
    folder
        Shared by all imports of this machine; the data folder's ``imports``.
    project
        The address of Label Studio and the project's id, as one text.
    """

    def __init__(self, folder: Path, project: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = key_of(project)[:16]
        self._lock = FileLock(folder / f"{name}.lock")
        self._journal = folder / f"{name}.sent"

    @contextmanager
    def acquire(
        self, arrived: Callable[[str], bool], remove_duplicates: Callable[[int], object] = lambda after: None
    ) -> Iterator[None]:
        """Hold the lock, after the requests of earlier holders are settled.

        Parameters
        ----------
        arrived
            Reads the project, and returns whether it holds a sound of that identity.
        remove_duplicates
            Deletes duplicate tasks of one sound among those with an id above its argument.
        """
        with self._lock:
            requests = [sent for sent in self._read() if 0 <= time.time() - sent.at < LATEST_SECONDS]
            for sent in requests:
                while (
                    not sent.waited and not arrived(sent.identity) and time.time() - sent.at < SETTLE_SECONDS
                ):
                    time.sleep(POLL_SECONDS)
            self._write([replace(sent, waited=True) for sent in requests])
            afters = [sent.after for sent in requests if sent.after is not None]
            if afters:
                remove_duplicates(min(afters))
            yield

    @contextmanager
    def sending(self, identity: str, after: int | None = None) -> Iterator[Callable[[], None]]:
        """Record a request in the journal until it is answered; yields a function to call if it was refused.

        Parameters
        ----------
        identity
            Of one of its sounds: the tasks of a request are created together, so one stands for all.
        after
            The highest task id before it.
        """
        earlier = self._read()
        self._write([*earlier, Unanswered(identity, time.time(), after)])

        def answered() -> None:
            self._write(earlier)

        yield answered
        answered()

    def _write(self, entries: list[Unanswered]) -> None:
        if not entries:
            self._journal.unlink(missing_ok=True)
            return
        with atomic_write(self._journal) as part:
            part.write_text(json.dumps([asdict(entry) for entry in entries]), encoding="utf-8")

    def _read(self) -> list[Unanswered]:
        try:
            return [Unanswered(**entry) for entry in json.loads(self._journal.read_bytes())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError):  # written atomically: edited by hand, or from an older release
            return []
