"""Bulk predictions as rows: a run, cut into chunks, which any number of workers take one after another.

The rows are the queue. RQ only says that there is work, so nothing is lost with Redis, and a chunk whose
worker died is taken by another one when its lease has ended.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from earmark.store.models import Preannotation, PreannotationChunk


@dataclass(frozen=True)
class ChunkDone:
    """What came of a chunk. ``labels``: how many tasks carry each; ``failed``: task to sentence."""

    predicted: int
    labels: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class Progress:
    """How far runs are, in tasks; ``chunks_left``: those that somebody will still work on."""

    tasks: int = 0
    predicted: int = 0
    chunks_left: int = 0
    cancelled: int = 0
    """Tasks that nobody will predict any more, because their run was cancelled."""
    labels: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    tasks_done: int = 0
    """In finished chunks, whether they needed a prediction by then or not."""


def create_run(
    session: Session, key: str, selection: str, version: str, chunks: Iterable[Sequence[int]]
) -> Preannotation:
    """Store a run of a project and its chunks of task ids."""
    run = Preannotation(project_key=key, selection=selection, version=version, created_at=time.time())
    session.add(run)
    session.flush()
    for number, tasks in enumerate(chunks):
        session.add(PreannotationChunk(run_id=run.id, number=number, tasks=list(tasks)))
    session.flush()
    return run


def claim_chunk(session: Session, run_id: int, owner: str, seconds: float) -> PreannotationChunk | None:
    """Take the first chunk that nobody works on, for ``seconds``; None when there is none, or no run."""
    now = time.time()
    run = session.get(Preannotation, run_id)
    if run is None or run.cancelled_at is not None:
        return None
    free = (
        PreannotationChunk.run_id == run_id,
        PreannotationChunk.done_at.is_(None),
        PreannotationChunk.lease_until < now,
    )
    while True:
        number = session.scalar(select(func.min(PreannotationChunk.number)).where(*free))
        if number is None:
            return None
        taken = session.scalar(
            update(PreannotationChunk)
            .where(*free, PreannotationChunk.number == number)
            .values(lease_owner=owner, lease_until=now + seconds, attempts=PreannotationChunk.attempts + 1)
            .returning(PreannotationChunk)
            .execution_options(populate_existing=True)
        )
        if taken is not None:
            return taken


def keep_chunk(session: Session, chunk: PreannotationChunk, owner: str, seconds: float) -> bool:
    """Prolong a lease; False when it ended and another worker has the chunk, or the run was cancelled."""
    kept = session.execute(
        update(PreannotationChunk)
        .where(*_mine(chunk, owner))
        .values(lease_until=time.time() + seconds)
        .returning(PreannotationChunk.number)
    )
    run = session.get(Preannotation, chunk.run_id)
    return kept.first() is not None and run is not None and run.cancelled_at is None


def finish_chunk(session: Session, chunk: PreannotationChunk, owner: str, done: ChunkDone) -> None:
    """Store what came of a chunk, unless another worker has it by now."""
    session.execute(
        update(PreannotationChunk)
        .where(*_mine(chunk, owner))
        .values(done_at=time.time(), predicted=done.predicted, labels=done.labels, failed=done.failed)
    )


def give_back_chunk(session: Session, chunk: PreannotationChunk, owner: str, wait_seconds: float) -> None:
    """Leave a chunk to whoever comes, after a pause, since now it could not be worked on; that is no try."""
    session.execute(
        update(PreannotationChunk)
        .where(*_mine(chunk, owner))
        .values(
            lease_owner=None,
            lease_until=time.time() + wait_seconds,
            attempts=PreannotationChunk.attempts - 1,
        )
    )


def cancel_run(session: Session, run_id: int) -> None:
    """Nobody takes a chunk of it any more; those in work are left when their worker looks next."""
    session.execute(
        update(Preannotation)
        .where(Preannotation.id == run_id, Preannotation.cancelled_at.is_(None))
        .values(cancelled_at=time.time())
    )


def unfinished_runs(session: Session, key: str | None = None) -> list[Preannotation]:
    """Runs with chunks left that were not cancelled, of one project or of all, oldest first."""
    left = select(PreannotationChunk.run_id).where(PreannotationChunk.done_at.is_(None))
    query = select(Preannotation).where(Preannotation.cancelled_at.is_(None), Preannotation.id.in_(left))
    if key is not None:
        query = query.where(Preannotation.project_key == key)
    return list(session.scalars(query.order_by(Preannotation.id)))


def planned_tasks(session: Session, key: str) -> dict[int, int]:
    """Tasks of a project that unfinished runs will still predict, each with the number of such a run."""
    runs = [run.id for run in unfinished_runs(session, key)]
    chunks = select(PreannotationChunk.tasks, PreannotationChunk.run_id).where(
        PreannotationChunk.run_id.in_(runs), PreannotationChunk.done_at.is_(None)
    )
    return {number: run for tasks, run in session.execute(chunks) for number in tasks}


def tasks_of(session: Session, runs: Collection[int]) -> set[int]:
    """All tasks of some runs, done or not."""
    chunks = select(PreannotationChunk.tasks).where(PreannotationChunk.run_id.in_(runs))
    return {number for tasks in session.scalars(chunks) for number in tasks}


def free_chunks(session: Session, run_id: int) -> int:
    """How many chunks of a run could be taken now."""
    query = select(func.count()).where(
        PreannotationChunk.run_id == run_id,
        PreannotationChunk.done_at.is_(None),
        PreannotationChunk.lease_until < time.time(),
    )
    return session.scalar(query) or 0


def run_progress(session: Session, *runs: int) -> Progress:
    """How far a run is, or several together."""
    progress = Progress()
    chunks = (
        select(PreannotationChunk, Preannotation.cancelled_at)
        .join(Preannotation, Preannotation.id == PreannotationChunk.run_id)
        .where(PreannotationChunk.run_id.in_(runs))
    )
    for chunk, cancelled_at in session.execute(chunks):
        progress.tasks += len(chunk.tasks)
        progress.predicted += chunk.predicted
        if chunk.done_at is not None:
            progress.tasks_done += len(chunk.tasks)
        elif cancelled_at is not None:
            progress.cancelled += len(chunk.tasks)
        else:
            progress.chunks_left += 1
        progress.failed.update(chunk.failed)
        for label, count in chunk.labels.items():
            progress.labels[label] = progress.labels.get(label, 0) + count
    return progress


def _mine(chunk: PreannotationChunk, owner: str) -> tuple[ColumnElement[bool], ...]:
    return (
        PreannotationChunk.run_id == chunk.run_id,
        PreannotationChunk.number == chunk.number,
        PreannotationChunk.lease_owner == owner,
        PreannotationChunk.done_at.is_(None),
    )
