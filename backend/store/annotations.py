"""From webhooks to the state of tasks and annotations.

Applying an event twice, or two events in the wrong order, ends in the same state: creations and
updates are ordered by Label Studio's own ``updated_at``, and a deletion is final.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.store.projects import epoch_seconds
from backend.store.tables import Annotation, Event, Task

_LARGEST_ID = 2**63 - 1


def apply_event(session: Session, event: Event) -> None:
    """Write what a webhook says into the task and annotation tables.

    Parts that do not have the recorded shape are passed over: the row keeps the payload.
    """
    payload, key = event.payload, event.project_key
    for task in _records(payload.get("task"), payload.get("tasks")):
        if event.action == "TASKS_DELETED":
            _delete_task(session, key, task["id"])
        else:
            remember_task(session, key, task["id"], task.get("data"))
    for annotation in _records(payload.get("annotation"), payload.get("annotations")):
        if event.action == "ANNOTATIONS_DELETED":
            delete_annotation(session, key, annotation["id"])
        else:
            remember_annotation(session, key, annotation)


def remember_task(session: Session, key: str, task_id: int, data: object) -> None:
    """Insert a task or update its data; without data an unknown task stays unknown."""
    if not isinstance(data, dict):
        return
    task = session.get(Task, (key, task_id))
    if task is None:
        session.add(Task(project_key=key, task_id=task_id, data=data))
        session.flush()
    elif task.data != data:
        task.data = data


def remember_annotation(session: Session, key: str, annotation: dict[str, Any]) -> None:
    """Insert an annotation, or update it unless a later state or its deletion is known."""
    row = session.get(Annotation, (key, annotation["id"]))
    updated_at = epoch_seconds(annotation.get("updated_at"))
    if row is None:
        row = Annotation(project_key=key, annotation_id=annotation["id"], result=[])
        session.add(row)
    elif row.deleted or updated_at < row.updated_at:
        return
    result = annotation.get("result")
    row.result = [item for item in result if isinstance(item, dict)] if isinstance(result, list) else []
    row.task_id = _identifier(annotation.get("task"))
    row.was_cancelled = annotation.get("was_cancelled") is True
    row.ground_truth = annotation.get("ground_truth") is True
    row.completed_by = _identifier(annotation.get("completed_by"))
    row.updated_at = updated_at
    session.flush()


def delete_annotation(session: Session, key: str, annotation_id: int) -> None:
    """Mark an annotation as gone for good, also one that was never heard of."""
    row = session.get(Annotation, (key, annotation_id))
    if row is None:
        row = Annotation(project_key=key, annotation_id=annotation_id, result=[])
        session.add(row)
    row.deleted = True
    row.result = []
    session.flush()


def live_annotations(session: Session, key: str) -> list[tuple[Annotation, Task]]:
    """What the next head may learn from: submitted, not skipped, not deleted, by task and id."""
    query = (
        select(Annotation, Task)
        .join(Task, (Task.project_key == Annotation.project_key) & (Task.task_id == Annotation.task_id))
        .where(
            Annotation.project_key == key,
            Annotation.deleted.is_(False),
            Annotation.was_cancelled.is_(False),
            Task.deleted.is_(False),
        )
        .order_by(Annotation.task_id, Annotation.annotation_id)
    )
    return [(annotation, task) for annotation, task in session.execute(query)]


def count_annotations(session: Session, key: str) -> int:
    """Number of annotations that are neither skipped nor deleted."""
    query = select(func.count()).where(
        Annotation.project_key == key, Annotation.deleted.is_(False), Annotation.was_cancelled.is_(False)
    )
    return session.scalar(query) or 0


def _delete_task(session: Session, key: str, task_id: int) -> None:
    task = session.get(Task, (key, task_id))
    if task is None:
        task = Task(project_key=key, task_id=task_id, data={})
        session.add(task)
    task.deleted = True
    session.flush()


def _records(*candidates: object) -> Iterable[dict[str, Any]]:
    """Objects with a usable ``id``, from values that may be one object, a list, or anything."""
    for candidate in candidates:
        for item in candidate if isinstance(candidate, list) else [candidate]:
            if isinstance(item, dict) and _identifier(item.get("id")) is not None:
                yield item


def _identifier(value: object) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_ID
    return value if usable and isinstance(value, int) else None
