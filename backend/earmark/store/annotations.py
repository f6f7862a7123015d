"""From webhooks to the state of tasks and annotations.

Applying an event twice, or two events in the wrong order, ends in the same state: creations and
updates are ordered by Label Studio's own ``updated_at``, and a deletion is final.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from earmark.store.events import ANNOTATIONS_SYNCED, DELETED, REVIEW_ACTIONS, UPDATED, pending_payloads
from earmark.store.models import Annotation, Event, Task
from earmark.store.projects import epoch_seconds

_LARGEST_ID = 2**63 - 1


def apply_event(session: Session, event: Event) -> None:
    """Write what a webhook says into the task and annotation tables.

    Parts that do not have the recorded shape are passed over: the row keeps the payload.
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
        _remember_review(session, key, payload.get("review"))


def _seen_at(event: Event) -> float:
    """When Label Studio was looked at and still had what an event speaks of; 0 for webhooks.

    A webhook may have waited, so it says nothing against a deletion; a look after it does.
    """
    observed_at = event.payload.get("observed_at")
    if event.action != ANNOTATIONS_SYNCED or not isinstance(observed_at, int | float):
        return 0.0
    # Nobody looks in the future; and a whole number may be too large for any float
    return float(observed_at) if 0 < observed_at <= event.received_at else 0.0


def differs(row: Annotation | None, annotation: dict[str, Any], observed_at: float) -> bool:
    """Whether Label Studio held something else at a time than is known of an annotation."""
    if row is None:
        return True
    if row.deleted:
        return observed_at > row.deleted_at
    return epoch_seconds(annotation.get("updated_at")) >= row.updated_at and (
        row.result != _dictionaries(annotation.get("result"))
        or row.task_id != _identifier(annotation.get("task"))
        or row.was_cancelled != (annotation.get("was_cancelled") is True)
        or row.ground_truth != (annotation.get("ground_truth") is True)
    )


def remember_task(session: Session, key: str, task_id: int, data: object, seen_at: float) -> None:
    """Insert a task or update its data; without data an unknown task stays unknown."""
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
    """Insert an annotation, or update it unless a later state or its deletion is known."""
    row = session.get(Annotation, (key, annotation["id"]))
    updated_at = epoch_seconds(annotation.get("updated_at"))
    known_before = row is not None and not row.deleted
    submitted_before = row is not None and not row.was_cancelled
    if row is None:
        row = Annotation(project_key=key, annotation_id=annotation["id"], result=[])
        session.add(row)
    elif updated_at < row.updated_at or (row.deleted and _seen_at(event) <= row.deleted_at):
        return
    row.deleted = False
    result, known = _dictionaries(annotation.get("result")), row.result
    ground_truth = annotation.get("ground_truth") is True
    changed = known_before and (result != known or ground_truth != row.ground_truth)
    row.worked_on = bool(row.worked_on or changed or event.action == UPDATED)
    row.result = result
    row.task_id = _identifier(annotation.get("task"))
    row.was_cancelled = annotation.get("was_cancelled") is True
    accepted = accepted_by_review(annotation)
    if accepted is None:
        # The ordinary webhooks of an edit say nothing of reviews; what was accepted is another result
        accepted = row.reviewed is True and result == known
    row.reviewed = accepted
    if not (submitted_before or row.was_cancelled or row.shown_at):
        row.shown_at, row.shown = shown_prediction(annotation, event)
    row.ground_truth = ground_truth
    row.completed_by = _identifier(annotation.get("completed_by"))
    row.updated_at = updated_at
    session.flush()


def accepted_by_review(annotation: dict[str, Any]) -> bool | None:
    """Whether a reviewer accepted an annotation; None where nothing is said of it.

    Only Label Studio Enterprise has reviews. It lists them in ``reviews``, the latest last, or only
    counts the accepted ones; its releases differ in the name, and what is unknown counts as unsaid.
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
    clock: when the webhook came, less ``lead_time``, the seconds that the task was open. Copies that
    Label Studio makes of predictions by itself have a parent and no lead time: nobody looked.
    """
    lead_time, parent = annotation.get("lead_time"), annotation.get("parent_prediction")
    if lead_time is None and (parent is not None or event.action == ANNOTATIONS_SYNCED):
        return 0.0, None
    seconds = lead_time if isinstance(lead_time, int | float) and 0 <= lead_time < event.received_at else 0.0
    shown_at = event.received_at - seconds
    own = annotation.get("prediction")
    if isinstance(own, dict) and isinstance(own.get("result"), list):
        return shown_at, _shown(own, "payload")
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


def _remember_review(session: Session, key: str, review: object) -> None:
    """A review that came with no more than the number of its annotation."""
    number = _identifier(review.get("annotation")) if isinstance(review, dict) else None
    row = session.get(Annotation, (key, number)) if number is not None else None
    if row is not None and isinstance(review, dict):
        row.reviewed = review.get("accepted") is True
        session.flush()


def delete_annotation(session: Session, key: str, annotation_id: int, heard_at: float) -> None:
    """Mark an annotation as gone for good, also one that was never heard of."""
    row = session.get(Annotation, (key, annotation_id))
    if row is None:
        row = Annotation(project_key=key, annotation_id=annotation_id, result=[])
        session.add(row)
    row.deleted, row.deleted_at = True, heard_at
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


def known_annotations(session: Session, key: str) -> set[int]:
    """Numbers of the annotations that are held, skipped ones too, once the waiting events are applied."""
    held = select(Annotation.annotation_id).where(
        Annotation.project_key == key, Annotation.deleted.is_(False)
    )
    known = set(session.scalars(held))
    for action, payload in pending_payloads(session, key):
        numbers = {item["id"] for item in _records(payload.get("annotation"), payload.get("annotations"))}
        if action == DELETED:
            known -= numbers
        else:
            known |= numbers
    return known


def count_annotations(session: Session, key: str) -> int:
    """Number of annotations that are neither skipped nor deleted."""
    query = select(func.count()).where(
        Annotation.project_key == key, Annotation.deleted.is_(False), Annotation.was_cancelled.is_(False)
    )
    return session.scalar(query) or 0


def _delete_task(session: Session, key: str, task_id: int, heard_at: float) -> None:
    task = session.get(Task, (key, task_id))
    if task is None:
        task = Task(project_key=key, task_id=task_id, data={})
        session.add(task)
    task.deleted, task.deleted_at = True, heard_at
    session.flush()


def _dictionaries(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _records(*candidates: object) -> Iterable[dict[str, Any]]:
    """Objects with a usable ``id``, from values that may be one object, a list, or anything."""
    for candidate in candidates:
        for item in candidate if isinstance(candidate, list) else [candidate]:
            if isinstance(item, dict) and _identifier(item.get("id")) is not None:
                yield item


def _identifier(value: object) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_ID
    return value if usable and isinstance(value, int) else None
