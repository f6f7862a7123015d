"""The one RQ queue, and putting a job there at most once at a time."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import redis
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

QUEUE_NAME = "earmark"
FAILED_JOB_SECONDS = 24 * 3600
"""How long Redis keeps a failed job to look at; what is to be done stands in the database."""
LEASE_SECONDS = 30.0
"""A training that has not prolonged its lease for this long is taken for dead."""
WAITING = frozenset({JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.SCHEDULED})


def job_queue(connection: redis.Redis) -> Queue:
    """Return the queue, with JSON for arguments: nothing on the way is pickled."""
    return Queue(QUEUE_NAME, connection=connection, serializer=JSONSerializer)


def live_workers(queue: Queue) -> int:
    """How many workers of the queue have shown themselves lately."""
    return len(Worker.all(queue=queue))


@dataclass(frozen=True)
class JobRequest:
    """A function of ``backend.jobs.tasks`` to run for a project."""

    function: str
    project_key: str
    timeout_seconds: int

    @property
    def job_id(self) -> str:
        """One id for each function and project, in the characters that RQ takes."""
        return f"{self.function}-{re.sub(r'[^0-9A-Za-z_-]', '-', self.project_key)}"


def ensure_job(queue: Queue, request: JobRequest, lease_until: float) -> bool:
    """Enqueue the job unless it waits or runs already.

    A finished or failed job under the same id is removed first, or RQ would go on with its old
    timestamps. A started one whose project lease ended was left behind by a dead worker.

    Parameters
    ----------
    lease_until
        When the project's lease ends, in seconds since the epoch.

    Returns
    -------
    Whether a job was enqueued.
    """
    try:
        job = Job.fetch(request.job_id, connection=queue.connection, serializer=JSONSerializer)
    except NoSuchJobError:
        job = None
    if job is not None:
        if job.get_status() in WAITING and not _left_behind(job, lease_until):
            return False
        job.delete()
    queue.enqueue_call(
        f"backend.jobs.tasks.{request.function}",
        args=(request.project_key,),
        job_id=request.job_id,
        timeout=request.timeout_seconds,
        result_ttl=0,
        failure_ttl=FAILED_JOB_SECONDS,
    )
    return True


def _left_behind(job: Job, lease_until: float) -> bool:
    now = time.time()
    if job.get_status() != JobStatus.STARTED or lease_until >= now:
        return False
    return job.started_at is not None and now - job.started_at.timestamp() > LEASE_SECONDS
