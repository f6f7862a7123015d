"""Queries of the pages: each returns a bounded number of rows, by an index of the project."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, cast, exists, func, or_, select
from sqlalchemy.orm import Session

from earmark.storage.finite_json import dumps
from earmark.store.models import (
    Activation,
    Annotation,
    Preannotation,
    PreannotationChunk,
    PredictionScore,
    PredictionWrite,
    Task,
    Training,
    Version,
)

_ROWS_AT_ONCE = 40
_TIMES = 250
"""Durations that a median is taken of."""


@dataclass(frozen=True)
class CorrectionRow:
    """An annotation that differs from the prediction that was shown."""

    score: PredictionScore
    annotation: Annotation
    data: dict[str, Any]


def latest_corrections(session: Session, key: str, limit: int) -> list[CorrectionRow]:
    """Return the annotations that corrected a prediction, the newest first."""
    query = (
        select(PredictionScore, Annotation, Task.data)
        .join(
            Annotation,
            (Annotation.project_key == PredictionScore.project_key)
            & (Annotation.annotation_id == PredictionScore.annotation_id),
        )
        .join(
            Task,
            (Task.project_key == PredictionScore.project_key) & (Task.task_id == PredictionScore.task_id),
        )
        .where(
            PredictionScore.project_key == key,
            PredictionScore.changed.is_(True),
            Annotation.deleted.is_(False),
        )
        .order_by(PredictionScore.shown_at.desc())
        .limit(limit)
    )
    return [CorrectionRow(score, annotation, data) for score, annotation, data in session.execute(query)]


def seconds_open(session: Session, key: str, changed: bool) -> list[float]:
    """Return how long the last tasks were open whose predictions were changed, or not, where it is known."""
    query = (
        select(PredictionScore.seconds_open)
        .where(PredictionScore.project_key == key, PredictionScore.changed.is_(changed))
        .order_by(PredictionScore.shown_at.desc())
        .limit(_TIMES)
    )
    return [seconds for seconds in session.scalars(query) if seconds > 0]


def count_unchanged(session: Session, key: str) -> int:
    """Return the number of annotations that are what was shown."""
    query = select(func.count()).where(PredictionScore.project_key == key, PredictionScore.changed.is_(False))
    return session.scalar(query) or 0


def least_certain(session: Session, key: str, limit: int) -> list[tuple[int, float, str]]:
    """Return tasks without an annotation whose predictions have the lowest score: number, score, version."""
    annotated = exists().where(
        Annotation.project_key == PredictionWrite.project_key,
        Annotation.task_id == PredictionWrite.task_id,
        Annotation.deleted.is_(False),
        Annotation.was_cancelled.is_(False),
    )
    query = (
        select(PredictionWrite.task_id, PredictionWrite.score, PredictionWrite.version)
        .where(PredictionWrite.project_key == key, PredictionWrite.score.is_not(None), ~annotated)
        .order_by(PredictionWrite.score)
        .limit(limit)
    )
    return [(task, score or 0.0, version) for task, score, version in session.execute(query)]


def task_data(session: Session, key: str, tasks: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return the data of these tasks, as far as they are stored and not deleted."""
    query = select(Task.task_id, Task.data).where(
        Task.project_key == key, Task.task_id.in_(tasks), Task.deleted.is_(False)
    )
    return {task: data for task, data in session.execute(query)}


def annotations_of(session: Session, key: str, task: int) -> list[Annotation]:
    """Return the annotations of a task that are neither deleted nor skipped."""
    query = select(Annotation).where(
        Annotation.project_key == key,
        Annotation.task_id == task,
        Annotation.deleted.is_(False),
        Annotation.was_cancelled.is_(False),
    )
    return list(session.scalars(query.order_by(Annotation.annotation_id)))


def scores_of(session: Session, key: str, task: int) -> list[PredictionScore]:
    """Return the scores of a task's annotations, the newest first."""
    query = select(PredictionScore).where(PredictionScore.project_key == key, PredictionScore.task_id == task)
    return list(session.scalars(query.order_by(PredictionScore.shown_at.desc())))


def annotations_with_items(
    session: Session, key: str, from_name: str, texts: Collection[str]
) -> Iterator[Annotation]:
    """Yield the annotations with an item that holds a tag's name and one of these texts, the newest first.

    ``texts``: as in stored JSON, strings with their quotes.
    """
    mentioned = cast(Annotation.result, Text)
    split = func.json_array_elements if session.get_bind().dialect.name == "postgresql" else func.json_each
    item = split(Annotation.result).table_valued("value")
    content = cast(item.c.value, Text)
    query = (
        select(Annotation)
        .where(
            Annotation.project_key == key,
            Annotation.deleted.is_(False),
            Annotation.was_cancelled.is_(False),
            # Most annotations are ruled out without parsing their JSON
            or_(*(mentioned.contains(each, autoescape=True) for each in texts)),
            exists().where(
                content.contains(dumps(from_name), autoescape=True),
                or_(*(content.contains(each, autoescape=True) for each in texts)),
            ),
        )
        .order_by(Annotation.annotation_id.desc())
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    yield from session.scalars(query)


def failed_trainings(session: Session, key: str, limit: int) -> list[Training]:
    """Return the trainings that failed last, the newest first."""
    query = select(Training).where(Training.project_key == key, Training.outcome == "failed")
    return list(session.scalars(query.order_by(Training.id.desc()).limit(limit)))


def failed_bulk_tasks(session: Session, key: str, limit: int) -> list[tuple[int, int, str]]:
    """Return tasks that the newest run of bulk predictions failed on: run, task, sentence."""
    run = session.scalar(select(func.max(Preannotation.id)).where(Preannotation.project_key == key))
    failed: list[tuple[int, int, str]] = []
    if run is None:
        return failed
    query = select(PreannotationChunk.failed).where(
        PreannotationChunk.run_id == run, cast(PreannotationChunk.failed, Text) != "{}"
    )
    for tasks in session.scalars(query.limit(limit)):
        failed += [(run, int(task), sentence) for task, sentence in tasks.items()]
    return failed[:limit]


def latest_activations(session: Session, key: str, limit: int) -> list[tuple[str, str, float]]:
    """Return which versions were put to use last: name, cause, time (seconds since the epoch)."""
    query = (
        select(Version.name, Activation.cause, Activation.activated_at)
        .join(Version, Version.id == Activation.version_id)
        .where(Activation.project_key == key)
        .order_by(Activation.id.desc())
        .limit(limit)
    )
    return [(name, cause, activated_at) for name, cause, activated_at in session.execute(query)]
