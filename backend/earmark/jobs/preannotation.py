"""Enqueues jobs of bulk prediction runs: one for each worker, which processes chunk after chunk."""

from __future__ import annotations

import redis

from earmark.jobs.queue import JobRequest, ensure_job, job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.store.database import Database
from earmark.store.preannotations import free_chunks, unfinished_runs

TIMEOUT_SECONDS = 3600
"""Timeout of a job, which ends by itself after a minute unless a single recording takes longer."""


def ensure_preannotation(connection: redis.Redis, database: Database) -> int:
    """Enqueue jobs for all unfinished runs; returns how many were enqueued."""
    with database.read() as session:
        free = {run.id: free_chunks(session, run.id) for run in unfinished_runs(session)}
    if not any(free.values()):
        return 0
    workers = live_workers(job_queue(connection, QueueKind.PREDICT))
    requests = [
        JobRequest("preannotate", f"{run}-{place}", TIMEOUT_SECONDS)
        for run, chunks in free.items()
        for place in range(min(chunks, workers))
    ]
    return sum(ensure_job(connection, request, 0.0) for request in requests)
