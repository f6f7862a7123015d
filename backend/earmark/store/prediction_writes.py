"""Deduplication of predictions: claims of workers on tasks, and answers of ``/predict``, by version and time.

A task gets its prediction from a worker, which writes it to Label Studio, or from Label Studio, which calls
``/predict`` and stores the answer. Workers claim tasks before they write, so that no two of them write the
same. Calls of ``/predict`` cannot be prevented, so its answers are recorded, and tasks for which an answer
coincided with a write, or with another answer, are marked as duplicated.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, case, delete, or_, select, update
from sqlalchemy.orm import Session

from earmark.store.models import PredictionWrite
from earmark.store.upsert import ROWS_AT_ONCE, upsert

CLAIM_SECONDS = 30.0
"""Longer than a worker takes to write a batch, and than Label Studio takes to store an answer."""


def claim_writes(
    session: Session,
    key: str,
    version: str,
    tasks: Collection[int],
    scores: Mapping[int, float | None] | None = None,
) -> set[int]:
    """Claim tasks, to write a version's predictions for them; ``scores``: the certainty of each.

    Returns
    -------
    The tasks that are now the caller's. Left out are those that another worker claimed, or that
    ``/predict`` returned to Label Studio, for the same version within ``CLAIM_SECONDS``.
    """
    now = time.time()
    expired = and_(
        PredictionWrite.written_at < now - CLAIM_SECONDS, PredictionWrite.answered_at < now - CLAIM_SECONDS
    )
    claimed: set[int] = set()
    for batch in _batches(sorted(tasks)):
        rows = [_row(key, number, version, (scores or {}).get(number), written_at=now) for number in batch]
        inserted = upsert(session, PredictionWrite).values(rows)
        statement = inserted.on_conflict_do_update(
            index_elements=["project_key", "task_id"],
            set_={
                "version": version,
                "written_at": now,
                "answered_at": 0.0,
                "score": inserted.excluded.score,
            },
            where=or_(PredictionWrite.version != version, expired),
        ).returning(PredictionWrite.task_id)
        claimed.update(session.scalars(statement))
    return claimed


def release_writes(session: Session, key: str, tasks: Collection[int]) -> None:
    """Release claims whose predictions could not be written."""
    for batch in _batches(sorted(tasks)):
        session.execute(
            delete(PredictionWrite).where(
                PredictionWrite.project_key == key,
                PredictionWrite.task_id.in_(batch),
                PredictionWrite.answered_at == 0.0,
            )
        )


def record_answers(
    session: Session,
    key: str,
    version: str,
    tasks: Collection[int],
    superseding: Collection[int] = (),
    scores: Mapping[int, float | None] | None = None,
) -> None:
    """Record that ``/predict`` returned predictions of a version, which Label Studio will store.

    ``scores``: the certainty of each. ``superseding``: the tasks that hold an earlier prediction of ours.
    """
    now = time.time()
    recent = or_(
        PredictionWrite.written_at >= now - CLAIM_SECONDS, PredictionWrite.answered_at >= now - CLAIM_SECONDS
    )
    duplicated = or_(PredictionWrite.duplicated, and_(PredictionWrite.version == version, recent))
    for batch in _batches(sorted(tasks)):
        rows = [
            _row(
                key,
                number,
                version,
                (scores or {}).get(number),
                answered_at=now,
                duplicated=number in superseding,
            )
            for number in batch
        ]
        statement = upsert(session, PredictionWrite).values(rows)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["project_key", "task_id"],
                set_={
                    "version": version,
                    "answered_at": now,
                    "written_at": case(
                        (PredictionWrite.version == version, PredictionWrite.written_at), else_=0.0
                    ),
                    "duplicated": or_(duplicated, statement.excluded.duplicated),
                    "score": statement.excluded.score,
                },
            )
        )


def duplicated_tasks(session: Session, key: str, answered_before: float) -> list[tuple[int, float]]:
    """Tasks that may hold several predictions of ours, each with the time of its last answer."""
    query = (
        select(PredictionWrite.task_id, PredictionWrite.answered_at)
        .where(
            PredictionWrite.duplicated.is_(True),
            PredictionWrite.project_key == key,
            PredictionWrite.answered_at < answered_before,
        )
        .order_by(PredictionWrite.task_id)
    )
    return [(number, answered_at) for number, answered_at in session.execute(query)]


def projects_with_duplicates(session: Session, answered_before: float) -> set[str]:
    """Keys of the projects with tasks in ``duplicated_tasks``."""
    query = select(PredictionWrite.project_key).where(
        PredictionWrite.duplicated.is_(True), PredictionWrite.answered_at < answered_before
    )
    return set(session.scalars(query.distinct()))


def mark_deduplicated(session: Session, key: str, tasks: Sequence[tuple[int, float]]) -> None:
    """Clear the mark of tasks, unless ``/predict`` returned another answer since."""
    for number, answered_at in tasks:
        session.execute(
            update(PredictionWrite)
            .where(
                PredictionWrite.project_key == key,
                PredictionWrite.task_id == number,
                PredictionWrite.answered_at <= answered_at,
            )
            .values(duplicated=False)
        )


def _row(
    key: str,
    number: int,
    version: str,
    score: float | None,
    written_at: float = 0.0,
    answered_at: float = 0.0,
    duplicated: bool = False,
) -> dict[str, Any]:
    return {
        "project_key": key,
        "task_id": number,
        "version": version,
        "written_at": written_at,
        "answered_at": answered_at,
        "duplicated": duplicated,
        "score": score,
    }


def _batches(tasks: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(tasks), ROWS_AT_ONCE):
        yield tasks[first : first + ROWS_AT_ONCE]
