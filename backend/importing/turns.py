"""One writer at a time to a project, and certainty about a request that was cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from backend.files import key_of, replacing

SETTLE_SECONDS = 20.0
"""How long Label Studio may go on with a request whose sender is gone; it takes 1 s for 1,000 tasks."""
LOOK_SECONDS = 0.5


class Turns:
    """Takes turns with the other imports of this machine, and remembers what was sent.

    A request that makes tasks is noted before it is sent, and the note goes away with its answer. A
    note found by the next turn means that its sender was killed, or never heard the answer: then Label
    Studio may still be at work, so the turn waits until the tasks are there or too late to come.

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
    def turn(self, arrived: Callable[[str], bool]) -> Iterator[None]:
        """Hold the project; at the end others may write.

        Parameters
        ----------
        arrived
            Looks at the project, and says whether it holds a sound of that identity.
        """
        with self._lock:
            for identity, sent_at in self._unheard():
                while not arrived(identity) and 0 <= time.time() - sent_at < SETTLE_SECONDS:
                    time.sleep(LOOK_SECONDS)
            self._note.unlink(missing_ok=True)
            yield

    @contextmanager
    def sending(self, identity: str) -> Iterator[Callable[[], None]]:
        """Note a request while it is under way; yields what to call when it was refused for sure.

        Parameters
        ----------
        identity
            Of one of its sounds; tasks of one request come together, so one tells of all.
        """
        with replacing(self._note) as part:
            part.write_text(json.dumps({"identity": identity, "at": time.time()}), encoding="utf-8")

        def answered() -> None:
            self._note.unlink(missing_ok=True)

        yield answered
        answered()

    def _unheard(self) -> list[tuple[str, float]]:
        try:
            note = json.loads(self._note.read_bytes())
            return [(str(note["identity"]), float(note["at"]))]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):  # replaced in one step, so somebody else's doing
            return []
