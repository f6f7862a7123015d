"""Write windows: times at which a write into Label Studio is unlikely to collide with an annotator's Submit.

Label Studio on SQLite runs a request twice when another write locks the database during it, and then
refuses the second attempt of a Submit, whose annotation is saved already: the annotator sees an error. So
predictions are changed while the only annotator works on the next task, in the first half of the time that
tasks have taken lately, or when no annotation has come for a while. A task that is opened meanwhile shows
the newest version all the same, because Label Studio then calls ``/predict``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.store.annotations import identifier
from earmark.store.database import Database
from earmark.store.models import Event

SUBMITS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
PACE_SUBMITS = 20
"""Number of latest submits from which the annotators' pace is estimated."""
LOOKBACK_SECONDS = 600.0
UNKNOWN_GAP_SECONDS = 10.0
"""Assumed time between two submits after the first one."""
SHORTEST_IDLE_SECONDS = 3.0
LONGEST_IDLE_SECONDS = 120.0
IDLE_GAPS = 3.0
"""Multiple of the median gap after which annotators count as idle."""
IDLE_PAUSE_SECONDS = 0.4
"""Pause before each of many writes while annotators seem idle, but may still submit a task."""
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Activity:
    """Annotators' latest submits: times in seconds since the epoch, sorted, and the number of annotators."""

    times: Sequence[float]
    annotators: int

    def is_window(self, now: float) -> bool:
        """Whether a write at ``now`` is unlikely to collide with a Submit."""
        return not self.times or self.is_idle(now) or self.is_between(now)

    def is_idle(self, now: float) -> bool:
        """Whether no annotation has come for so long that the annotators seem idle."""
        usual = min(LONGEST_IDLE_SECONDS, max(SHORTEST_IDLE_SECONDS, IDLE_GAPS * self._gap()))
        return bool(self.times) and now - self.times[-1] >= usual

    def is_between(self, now: float) -> bool:
        """Whether the only annotator has just opened the next task."""
        return bool(self.times) and self.annotators <= 1 and now - self.times[-1] <= self._gap() / 2

    def _gap(self) -> float:
        gaps = [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        return statistics.median(gaps) if gaps else UNKNOWN_GAP_SECONDS


def activity(session: Session, key: str, now: float) -> Activity:
    """Return the latest submits from the editor in a project, from stored webhooks.

    The editor sends how long the task was open. Scripts that annotate do not, and have no task open.
    """
    # Selects the annotator alone: a payload contains the whole project, and this runs before each write
    query = (
        select(Event.received_at, Event.payload[("annotation", "completed_by")])
        .where(
            Event.project_key == key,
            Event.action.in_(SUBMITS),
            Event.received_at > now - LOOKBACK_SECONDS,
            Event.payload[("annotation", "lead_time")].as_string().is_not(None),
        )
        .order_by(Event.received_at.desc())
        .limit(PACE_SUBMITS)
    )
    rows = list(session.execute(query))
    annotators = {identifier(person.get("id") if isinstance(person, dict) else person) for _, person in rows}
    return Activity(sorted(received_at for received_at, _ in rows), len(annotators))


def is_write_window(database: Database, key: str) -> bool:
    """Whether predictions of a project may be changed in Label Studio now."""
    now = time.time()
    with database.read() as session:
        return activity(session, key, now).is_window(now)


def is_write_window_at_pace(database: Database, key: str) -> bool:
    """Whether one of many writes may follow now; while annotators seem idle, pauses before the check.

    A Submit during many writes collides with one of them in 16 of 100 cases without pauses, and in 2 with
    pauses of 0.3 s (Label Studio 1.23.2 on SQLite, Submits with a draft).
    """
    now = time.time()
    with database.read() as session:
        latest = activity(session, key, now)
    if not latest.is_idle(now):
        return latest.is_window(now)
    time.sleep(IDLE_PAUSE_SECONDS)
    return is_write_window(database, key)


def wait_for_window(database: Database, key: str, longest_seconds: float, stop: Callable[[], bool]) -> bool:
    """Wait for a write window; False at the timeout, or when ``stop()`` returns True."""
    deadline = time.monotonic() + longest_seconds
    while not is_write_window(database, key):
        if time.monotonic() >= deadline or stop():
            return False
        time.sleep(POLL_SECONDS)
    return True
