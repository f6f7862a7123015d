"""Event table: each webhook becomes one row before it is answered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from earmark.store.models import Event, Project
from earmark.store.projects import UNKNOWN_PROJECT, project_key

START_TRAINING = "START_TRAINING"
REVIEW_ACTIONS = frozenset({"REVIEW_CREATED", "REVIEW_UPDATED"})
"""Actions of reviewers in Label Studio Enterprise."""
ANNOTATIONS_SYNCED = "ANNOTATIONS_SYNCED"
"""Own event: a difference that ``learning.synchronization`` found in Label Studio at ``observed_at``."""
SOUNDS_FETCHED = "SOUNDS_FETCHED"
"""Own event: sounds that a training had left out have arrived since; ``tasks`` are their ids."""
DELETED = "ANNOTATIONS_DELETED"
UPDATED = "ANNOTATION_UPDATED"
ANNOTATION_ACTIONS = REVIEW_ACTIONS | {
    ANNOTATIONS_SYNCED,
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    UPDATED,
    DELETED,
}
KNOWN_ACTIONS = ANNOTATION_ACTIONS | {
    START_TRAINING,
    SOUNDS_FETCHED,
    "PROJECT_CREATED",
    "PROJECT_UPDATED",
    "PROJECT_DELETED",
    "TASKS_CREATED",
    "TASKS_DELETED",
}
_ACTION_CHARACTERS = 64
_IDS_AT_ONCE = 1000
_PAYLOADS_AT_ONCE = 50


@dataclass(frozen=True)
class PendingWork:
    """Webhooks of one project that no training has handled yet. Times in seconds since the epoch."""

    project_key: str
    events: int
    first_received_at: float
    last_received_at: float
    asked_at: float
    """When Start Training was last pressed; 0 if never."""
    failed_at: float
    """When a training failed last, if none succeeded since; then none is tried before ``retry_after``."""
    retry_after: float


def record_event(session: Session, payload: dict[str, Any]) -> Event:
    """Store a webhook. One without a usable project is stored as handled."""
    now = time.time()
    key = project_key(payload.get("project"))
    event = Event(
        project_key=key,
        action=str(payload.get("action", ""))[:_ACTION_CHARACTERS],
        payload=payload,
        received_at=now,
        handled_at=now if key == UNKNOWN_PROJECT else None,
    )
    session.add(event)
    session.flush()
    return event


def record_own_event(session: Session, key: str, action: str, **payload: Any) -> None:
    """Store an event of our own, which is handled like a webhook."""
    fields = {"project_key": key, "action": action, "payload": {"action": action, **payload}}
    session.add(Event(**fields, received_at=time.time(), handled_at=None))
    session.flush()


def pending_work(session: Session) -> list[PendingWork]:
    """Projects with pending webhooks, the longest pending first."""
    first = func.min(Event.received_at)
    rows = session.execute(
        select(
            Event.project_key,
            func.count(),
            first,
            func.max(Event.received_at),
            func.max(case((Event.action == START_TRAINING, Event.received_at), else_=0.0)),
            func.max(func.coalesce(Project.failed_at, 0.0)),
            func.max(func.coalesce(Project.retry_after, 0.0)),
        )
        .outerjoin(Project, Project.key == Event.project_key)
        .where(Event.handled_at.is_(None))
        .group_by(Event.project_key)
        .order_by(first)
    )
    return [PendingWork(*row) for row in rows]


def pending_events(session: Session, key: str) -> list[Event]:
    """The pending webhooks of a project, in the order in which they arrived."""
    query = select(Event).where(Event.project_key == key, Event.handled_at.is_(None)).order_by(Event.id)
    return list(session.scalars(query))


def pending_payloads(session: Session, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Action and payload of each pending webhook of a project, streamed a few at a time."""
    query = select(Event.action, Event.payload).where(Event.project_key == key, Event.handled_at.is_(None))
    streamed = query.order_by(Event.id).execution_options(yield_per=_PAYLOADS_AT_ONCE)
    yield from session.execute(streamed)


def last_event_id(session: Session, key: str) -> int:
    """Id of a project's latest webhook, 0 if there is none."""
    return session.scalar(select(func.max(Event.id)).where(Event.project_key == key)) or 0


def is_training_requested(session: Session, key: str) -> bool:
    """Whether a press of Start Training is pending."""
    pending_start = (Event.project_key == key, Event.handled_at.is_(None), Event.action == START_TRAINING)
    return session.scalar(select(Event.id).where(*pending_start).limit(1)) is not None


def mark_handled(session: Session, events: Sequence[Event]) -> None:
    """Mark events as handled.

    By id, never "all ids up to N": where several processes write, a lower id may be committed later.
    """
    now = time.time()
    ids = [event.id for event in events]
    for first in range(0, len(ids), _IDS_AT_ONCE):
        batch = ids[first : first + _IDS_AT_ONCE]
        session.execute(update(Event).where(Event.id.in_(batch)).values(handled_at=now))
