"""Write windows: moments at which a write into Label Studio meets no annotator's Submit.

Label Studio on SQLite carries a request out twice where another write locks the database in the middle of
it, and then refuses the second attempt of a Submit, whose annotation it has saved: the annotator reads that
nothing was saved. So predictions are changed while the only annotator works on the next task, in the first
half of the time that a task has taken lately, or when no annotation has come for a while. A task that is
opened meanwhile shows the newest version all the same, as Label Studio then asks ``/predict`` by itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.store.database import Database
from earmark.store.models import Event

SUBMITS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
LOOKED_AT = 20
"""Latest submits that the annotators' pace is taken from."""
LOOKED_BACK_SECONDS = 600.0
UNKNOWN_GAP_SECONDS = 10.0
"""Time between two submits where there was only one yet."""
SHORTEST_IDLE_SECONDS = 3.0
LONGEST_IDLE_SECONDS = 120.0
IDLE_GAPS = 3.0
"""After so many times the usual gap, the annotators have stopped."""
IDLE_PAUSE_SECONDS = 0.4
"""Before each of many writes while annotators seem to have stopped, and may yet submit a task."""
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Activity:
    """Annotators' latest submits: times in seconds since the epoch, in order, and how many annotators."""

    times: Sequence[float]
    annotators: int

    def is_window(self, now: float) -> bool:
        """Whether a write at ``now`` is unlikely to meet a Submit."""
        return not self.times or self.is_idle(now) or self.is_between(now)

    def is_idle(self, now: float) -> bool:
        """Whether no annotation has come for so long that the annotators seem to have stopped."""
        usual = min(LONGEST_IDLE_SECONDS, max(SHORTEST_IDLE_SECONDS, IDLE_GAPS * self._gap()))
        return bool(self.times) and now - self.times[-1] >= usual

    def is_between(self, now: float) -> bool:
        """Whether the only annotator has just opened the next task."""
        return bool(self.times) and self.annotators <= 1 and now - self.times[-1] <= self._gap() / 2

    def _gap(self) -> float:
        gaps = [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        return statistics.median(gaps) if gaps else UNKNOWN_GAP_SECONDS


def activity(session: Session, key: str, now: float) -> Activity:
    """The latest submits from the editor in a project, by their webhooks.

    The editor sends how long the task was open. Scripts that annotate do not, and have no task open.
    """
    # The annotator alone: a payload holds the whole project, and is asked for before each write
    query = (
        select(Event.received_at, Event.payload[("annotation", "completed_by")])
        .where(
            Event.project_key == key,
            Event.action.in_(SUBMITS),
            Event.received_at > now - LOOKED_BACK_SECONDS,
            Event.payload[("annotation", "lead_time")].as_float().is_not(None),
        )
        .order_by(Event.received_at.desc())
        .limit(LOOKED_AT)
    )
    rows = list(session.execute(query))
    people = {person.get("id") if isinstance(person, dict) else person for _, person in rows}
    return Activity(sorted(received_at for received_at, _ in rows), len(people))


def is_write_window(database: Database, key: str) -> bool:
    """Whether predictions of a project may be changed in Label Studio at this moment."""
    now = time.time()
    with database.read() as session:
        return activity(session, key, now).is_window(now)


def is_write_window_at_pace(database: Database, key: str) -> bool:
    """The same for one of many writes: while the annotators only seem to have stopped, wait a moment first.

    A Submit that comes in the middle of many writes meets one of them in 16 of 100 cases where they follow
    each other at once, and in 2 where each waits 0.3 s (Label Studio 1.23.2 on SQLite, Submits with a draft).
    """
    now = time.time()
    with database.read() as session:
        latest = activity(session, key, now)
    if latest.is_idle(now):
        time.sleep(IDLE_PAUSE_SECONDS)
    return is_write_window(database, key)


def wait_for_window(database: Database, key: str, longest_seconds: float, stop: Callable[[], bool]) -> bool:
    """Wait for a write window; False where none came in time, or ``stop`` said so."""
    deadline = time.monotonic() + longest_seconds
    while not is_write_window(database, key):
        if time.monotonic() >= deadline or stop():
            return False
        time.sleep(POLL_SECONDS)
    return True
