"""One writer at a time to a project, and a journal of requests whose answer was never received."""

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
"""How long to wait for the tasks of a request whose sender is gone; it takes 1 s for 1,000 tasks."""
LATEST_SECONDS = 3600.0
"""So late Label Studio may still carry it out: its pauses for a locked database add up to 51 minutes."""
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Unanswered:
    """A request that makes tasks, and got no answer yet.

    ``identity``: of one of its sounds. ``at``: seconds since 1970. ``after``: the highest number of a task
    before it. ``waited``: the tasks are there, or nobody waits for them any more.
    """

    identity: str
    at: float
    after: int | None = None
    waited: bool = False


class Turns:
    """Takes turns with the other imports of this machine, and remembers what was sent.

    A request that makes tasks is noted before it is sent, and the note goes away with its answer. A
    note found by the next turn means that its sender was killed, or never received the answer: then Label
    Studio may still be at work, so the turn waits until the tasks are there or long overdue. They may
    come even later, a second time: so the note stays, and each turn removes twins, for `LATEST_SECONDS`.

    Parameters
    ----------
    folder
        Shared by all imports of this machine; the data folder's ``imports``.
    of
        What is written to: the address of Label Studio and the project.
    """

    def __init__(self, folder: Path, of: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = key_of(of)[:16]
        self._lock = FileLock(folder / f"{name}.lock")
        self._note = folder / f"{name}.sent"

    @contextmanager
    def turn(
        self, arrived: Callable[[str], bool], remove_twins: Callable[[int], object] = lambda after: None
    ) -> Iterator[None]:
        """Hold the project; at the end others may write.

        Parameters
        ----------
        arrived
            Looks at the project, and returns whether it holds a sound of that identity.
        remove_twins
            Removes the second tasks of one sound among those that came after a task.
        """
        with self._lock:
            notes = [note for note in self._unanswered() if 0 <= time.time() - note.at < LATEST_SECONDS]
            for note in notes:
                while (
                    not note.waited and not arrived(note.identity) and time.time() - note.at < SETTLE_SECONDS
                ):
                    time.sleep(LOOK_SECONDS)
            self._write([replace(note, waited=True) for note in notes])
            afters = [note.after for note in notes if note.after is not None]
            if afters:
                remove_twins(min(afters))
            yield

    @contextmanager
    def sending(self, identity: str, after: int | None = None) -> Iterator[Callable[[], None]]:
        """Note a request while it is under way; yields what to call when it was refused for sure.

        Parameters
        ----------
        identity
            Of one of its sounds; tasks of one request come together, so one tells of all.
        after
            The highest number of a task before it.
        """
        others = self._unanswered()
        self._write([*others, Unanswered(identity, time.time(), after)])

        def answered() -> None:
            self._write(others)

        yield answered
        answered()

    def _write(self, notes: list[Unanswered]) -> None:
        if not notes:
            self._note.unlink(missing_ok=True)
            return
        with atomic_write(self._note) as part:
            part.write_text(json.dumps([asdict(note) for note in notes]), encoding="utf-8")

    def _unanswered(self) -> list[Unanswered]:
        try:
            return [Unanswered(**note) for note in json.loads(self._note.read_bytes())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError):  # replaced in one step, so an older release's, or edited
            return []
