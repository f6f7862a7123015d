"""Task and annotation tables, updated from webhooks; idempotent, and independent of their order.

Applying an event twice, or two events in the wrong order, ends in the same state: creations and
updates are ordered by Label Studio's own ``updated_at``, and a deletion is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from earmark.store.events import ANNOTATIONS_SYNCED, DELETED, REVIEW_ACTIONS, UPDATED, pending_payloads
from earmark.store.models import Annotation, Event, Task
from earmark.store.projects import epoch_seconds
from earmark.store.upsert import ROWS_AT_ONCE, upsert

_LARGEST_ID = 2**63 - 1


def apply_event(session: Session, event: Event) -> None:
    """Apply a webhook to the task and annotation tables.

    Parts of another form are skipped: the event's row keeps the payload.
    """
    payload, key = event.payload, event.project_key
    for task in _records(payload.get("task"), payload.get("tasks")):
        if event.action == "TASKS_DELETED":
            _delete_task(session, key, task["id"], event.received_at)
        else:
            remember_task(session, key, task["id"], task.get("data"), _seen_at(event))
    for annotation in _records(payload.get("annotation"), payload.get("annotations")):
        if event.action == DELETED:
            delete_annotation(session, key, annotation["id"], event.received_at)
        else:
            remember_annotation(session, key, annotation, event)
    if event.action in REVIEW_ACTIONS:
        _store_review(session, key, payload.get("review"))


def _seen_at(event: Event) -> float:
    """When a synchronization still saw an event's objects in Label Studio; 0 for webhooks.

    A webhook may be delayed, so it does not revoke a deletion; a synchronization after the deletion does.
    """
    observed_at = event.payload.get("observed_at")
    if event.action != ANNOTATIONS_SYNCED or not isinstance(observed_at, int | float):
        return 0.0
    # Times in the future are invalid; and an integer may be too large for a float
    return float(observed_at) if 0 < observed_at <= event.received_at else 0.0


def differs(row: Annotation | None, annotation: dict[str, Any], observed_at: float) -> bool:
    """Whether Label Studio's annotation, as read at ``observed_at``, differs from the stored row."""
    if row is None:
        return True
    if row.deleted:
        return observed_at > row.deleted_at
    return epoch_seconds(annotation.get("updated_at")) >= row.updated_at and (
        row.result != _dictionaries(annotation.get("result"))
        or row.task_id != identifier(annotation.get("task"))
        or row.was_cancelled != (annotation.get("was_cancelled") is True)
        or row.ground_truth != (annotation.get("ground_truth") is True)
    )


def remember_task(session: Session, key: str, task_id: int, data: object, seen_at: float) -> None:
    """Upsert a task's data; without data a new task is not inserted."""
    if not isinstance(data, dict):
        return
    task = session.get(Task, (key, task_id))
    if task is None:
        session.add(Task(project_key=key, task_id=task_id, data=data))
        session.flush()
        return
    if task.data != data:
        task.data = data
    if seen_at > task.deleted_at:
        task.deleted = False


def remember_annotation(session: Session, key: str, annotation: dict[str, Any], event: Event) -> None:
    """Upsert an annotation, unless a later state or its deletion is stored."""
    row = session.get(Annotation, (key, annotation["id"]))
    updated_at = epoch_seconds(annotation.get("updated_at"))
    existed_before = row is not None and not row.deleted
    submitted_before = row is not None and not row.was_cancelled
    if row is None:
        row = Annotation(project_key=key, annotation_id=annotation["id"], result=[])
        session.add(row)
    elif updated_at < row.updated_at or (row.deleted and _seen_at(event) <= row.deleted_at):
        return
    row.deleted = False
    result, previous_result = _dictionaries(annotation.get("result")), row.result
    ground_truth = annotation.get("ground_truth") is True
    changed = existed_before and (result != previous_result or ground_truth != row.ground_truth)
    row.worked_on = bool(row.worked_on or changed or event.action == UPDATED)
    row.result = result
    row.task_id = identifier(annotation.get("task"))
    row.was_cancelled = annotation.get("was_cancelled") is True
    accepted = accepted_by_review(annotation)
    if accepted is None:
        # Webhooks of an edit carry no reviews; a review applies only to the result that it accepted
        accepted = row.reviewed is True and result == previous_result
    row.reviewed = accepted
    if not (submitted_before or row.was_cancelled or row.shown_at):
        row.shown_at, row.shown = shown_prediction(annotation, event)
    row.ground_truth = ground_truth
    row.completed_by = identifier(annotation.get("completed_by"))
    row.updated_at = updated_at
    session.flush()


def add_unknown_tasks(session: Session, key: str, tasks: Mapping[int, object]) -> None:
    """Insert those of the tasks with these data that are not stored; deleted ones stay deleted."""
    rows = [
        {"project_key": key, "task_id": number, "data": data, "deleted": False, "deleted_at": 0.0}
        for number, data in sorted(tasks.items())
        if isinstance(data, dict)
    ]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        statement = upsert(session, Task).values(rows[start : start + ROWS_AT_ONCE])
        session.execute(statement.on_conflict_do_nothing())


def accepted_by_review(annotation: dict[str, Any]) -> bool | None:
    """Whether a reviewer accepted an annotation; None if the payload has no review.

    Only Label Studio Enterprise has reviews. It lists them in ``reviews``, the latest last, or only
    counts the accepted ones; its releases differ in the name, and other names are ignored.
    """
    reviews = annotation.get("reviews")
    if isinstance(reviews, list) and reviews:
        latest = reviews[-1]
        return isinstance(latest, dict) and latest.get("accepted") is True
    for name in ("accepted_reviews", "acceptedReviews", "reviews_accepted"):
        value = annotation.get(name)
        if isinstance(value, int | list):
            return bool(value)
    return None


def shown_prediction(annotation: dict[str, Any], event: Event) -> tuple[float, dict[str, Any] | None]:
    """When the annotator of a new annotation was shown a prediction, and that prediction if it was sent.

    Label Studio 1.23 sends an empty ``prediction`` and the bare number of ``parent_prediction``;
    other releases fill the first, or send the task's ``predictions`` along. The time is on our own
    clock: when the webhook arrived, less ``lead_time``, the seconds that the task was open. Copies that
    Label Studio itself makes of predictions have a parent and no lead time: they were shown to no annotator.
    """
    lead_time, parent = annotation.get("lead_time"), annotation.get("parent_prediction")
    if lead_time is None and (parent is not None or event.action == ANNOTATIONS_SYNCED):
        return 0.0, None
    seconds = lead_time if isinstance(lead_time, int | float) and 0 <= lead_time < event.received_at else 0.0
    shown_at = event.received_at - seconds
    sent_prediction = annotation.get("prediction")
    if isinstance(sent_prediction, dict) and isinstance(sent_prediction.get("result"), list):
        return shown_at, _shown(sent_prediction, "payload")
    for task in _records(event.payload.get("task"), event.payload.get("tasks")):
        for prediction in _records(task.get("predictions")):
            if prediction["id"] == parent and isinstance(prediction.get("result"), list):
                return shown_at, _shown(prediction, "task")
    return shown_at, None


def _shown(prediction: dict[str, Any], source: str) -> dict[str, Any]:
    version = prediction.get("model_version")
    return {
        "version": version if isinstance(version, str) else "",
        "result": _dictionaries(prediction["result"]),
        "source": source,
    }


def _store_review(session: Session, key: str, review: object) -> None:
    """Store a review that was sent with no more than the id of its annotation."""
    number = identifier(review.get("annotation")) if isinstance(review, dict) else None
    row = session.get(Annotation, (key, number)) if number is not None else None
    if row is not None and isinstance(review, dict):
        row.reviewed = review.get("accepted") is True
        session.flush()


def delete_annotation(session: Session, key: str, annotation_id: int, received_at: float) -> None:
    """Mark an annotation as deleted for good, even if it was never stored."""
    row = session.get(Annotation, (key, annotation_id))
    if row is None:
        row = Annotation(project_key=key, annotation_id=annotation_id, result=[])
        session.add(row)
    row.deleted, row.deleted_at = True, received_at
    row.result = []
    session.flush()


def live_annotations(session: Session, key: str) -> list[tuple[Annotation, Task]]:
    """Annotations for training: submitted, not skipped, not deleted, by task and id."""
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


def stored_annotation_ids(session: Session, key: str) -> set[int]:
    """Ids of stored annotations, skipped ones too, as after applying the pending events."""
    stored = select(Annotation.annotation_id).where(
        Annotation.project_key == key, Annotation.deleted.is_(False)
    )
    ids = set(session.scalars(stored))
    for action, payload in pending_payloads(session, key):
        numbers = {item["id"] for item in _records(payload.get("annotation"), payload.get("annotations"))}
        if action == DELETED:
            ids -= numbers
        else:
            ids |= numbers
    return ids


def count_annotations(session: Session, key: str) -> int:
    """Number of annotations that are neither skipped nor deleted."""
    query = select(func.count()).where(
        Annotation.project_key == key, Annotation.deleted.is_(False), Annotation.was_cancelled.is_(False)
    )
    return session.scalar(query) or 0


def _delete_task(session: Session, key: str, task_id: int, received_at: float) -> None:
    task = session.get(Task, (key, task_id))
    if task is None:
        task = Task(project_key=key, task_id=task_id, data={})
        session.add(task)
    task.deleted, task.deleted_at = True, received_at
    session.flush()


def _dictionaries(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _records(*candidates: object) -> Iterable[dict[str, Any]]:
    """Objects with a usable ``id``, from values that may be one object, a list, or anything."""
    for candidate in candidates:
        for item in candidate if isinstance(candidate, list) else [candidate]:
            if isinstance(item, dict) and identifier(item.get("id")) is not None:
                yield item


def identifier(value: object) -> int | None:
    """Return a number as Label Studio gives to tasks, annotations and people; None for anything else."""
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_ID
    return value if usable and isinstance(value, int) else None
