"""Work queue of bulk predictions: a run is cut into chunks, which any number of workers lease.

The rows are the queue. RQ only signals that there is work, so nothing is lost with Redis, and a chunk whose
worker died is taken by another one when its lease has expired.
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
    """Result of a chunk. ``labels``: how many tasks carry each; ``failed``: task to sentence."""

    predicted: int
    labels: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class Progress:
    """Progress of runs, in tasks; ``chunks_left``: chunks that a worker will still take."""

    tasks: int = 0
    predicted: int = 0
    chunks_left: int = 0
    cancelled: int = 0
    """Tasks that will not be predicted, because their run was cancelled."""
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
    """Lease the first free chunk for ``seconds``; None when there is none, or no run."""
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
        chunk = session.scalar(
            update(PreannotationChunk)
            .where(*free, PreannotationChunk.number == number)
            .values(lease_owner=owner, lease_until=now + seconds, attempts=PreannotationChunk.attempts + 1)
            .returning(PreannotationChunk)
            .execution_options(populate_existing=True)
        )
        if chunk is not None:
            return chunk


def renew_chunk(session: Session, chunk: PreannotationChunk, owner: str, seconds: float) -> bool:
    """Renew a chunk's lease; False when another worker has the chunk by now, or the run was cancelled."""
    renewed = session.execute(
        update(PreannotationChunk)
        .where(*_leased_by(chunk, owner))
        .values(lease_until=time.time() + seconds)
        .returning(PreannotationChunk.number)
    )
    run = session.get(Preannotation, chunk.run_id)
    return renewed.first() is not None and run is not None and run.cancelled_at is None


def finish_chunk(session: Session, chunk: PreannotationChunk, owner: str, done: ChunkDone) -> None:
    """Store the result of a chunk, unless another worker has it by now."""
    session.execute(
        update(PreannotationChunk)
        .where(*_leased_by(chunk, owner))
        .values(done_at=time.time(), predicted=done.predicted, labels=done.labels, failed=done.failed)
    )


def release_chunk(session: Session, chunk: PreannotationChunk, owner: str, wait_seconds: float) -> None:
    """Release a chunk that cannot be predicted now, to be leased after a pause; this counts as no attempt."""
    session.execute(
        update(PreannotationChunk)
        .where(*_leased_by(chunk, owner))
        .values(
            lease_owner=None,
            lease_until=time.time() + wait_seconds,
            attempts=PreannotationChunk.attempts - 1,
        )
    )


def cancel_run(session: Session, run_id: int) -> None:
    """Cancel a run: no chunk is leased any more, and workers drop theirs when they next renew its lease."""
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
    """Tasks of a project that unfinished runs will still predict, each with the id of such a run."""
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
    """Number of chunks of a run that could be leased now."""
    query = select(func.count()).where(
        PreannotationChunk.run_id == run_id,
        PreannotationChunk.done_at.is_(None),
        PreannotationChunk.lease_until < time.time(),
    )
    return session.scalar(query) or 0


def run_progress(session: Session, *runs: int) -> Progress:
    """Progress of a run, or of several together."""
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


def _leased_by(chunk: PreannotationChunk, owner: str) -> tuple[ColumnElement[bool], ...]:
    return (
        PreannotationChunk.run_id == chunk.run_id,
        PreannotationChunk.number == chunk.number,
        PreannotationChunk.lease_owner == owner,
        PreannotationChunk.done_at.is_(None),
    )
