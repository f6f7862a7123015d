"""The two RQ queues, and enqueueing a job at most once (deduplication by job id).

Trainings have a queue of their own, so that predictions never wait behind them, nor the other way round.
Both are first in, first out, and a project has at most one job of a kind: a project that trains again queues
behind all that wait, so that no project's stream of annotations starves another one.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Literal, cast

import redis
import structlog
from rq import Queue, Worker
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from earmark.jobs.queues import QueueKind

log = structlog.get_logger(__name__)

JobFunction = Literal["learn", "refresh", "deduplicate", "sync", "preannotate", "fetch"]
_QUEUE_OF: dict[JobFunction, QueueKind] = {
    "learn": QueueKind.LEARN,
    "refresh": QueueKind.PREDICT,
    "deduplicate": QueueKind.PREDICT,
    "sync": QueueKind.PREDICT,
    "preannotate": QueueKind.PREDICT,
    "fetch": QueueKind.PREDICT,
}

FAILED_JOB_SECONDS = 24 * 3600
"""How long Redis keeps a failed job for inspection; the work itself is recorded in the database."""
HEARTBEAT_SECONDS = 5
"""Interval of the heartbeats by which a worker shows that it monitors its job."""
WORKER_SILENT_SECONDS = 30.0
"""A job whose worker has sent no heartbeat for this long counts as abandoned."""
TAKEN_PREFIX = "earmark:taken:"
TAKEN_SECONDS = 3600
"""Expiry of the key that records when a job was first seen to be taken from its queue."""


def job_queue(connection: redis.Redis, kind: QueueKind = QueueKind.LEARN) -> Queue:
    """Return a queue that serializes arguments as JSON, without pickle."""
    return Queue(f"earmark-{kind}", connection=connection, serializer=JSONSerializer)


def live_workers(queue: Queue) -> int:
    """Return the number of workers of the queue with a recent heartbeat."""
    return len(Worker.all(queue=queue))


@dataclass(frozen=True)
class JobRequest:
    """A job to enqueue: a function of ``earmark.worker.tasks`` for a project.

    Attributes
    ----------
    lease_seconds
        How long a job may run without the project's lease before it counts as abandoned; None where the
        function takes no lease.
    """

    function: JobFunction
    project_key: str
    timeout_seconds: int
    lease_seconds: float | None = None

    @property
    def job_id(self) -> str:
        """Unique id of the function and project, in characters that RQ allows."""
        return f"{self.function}-{re.sub(r'[^0-9A-Za-z_-]', '-', self.project_key)}"

    def queue(self, connection: redis.Redis) -> Queue:
        """Return the queue for this job."""
        return job_queue(connection, _QUEUE_OF[self.function])


def ensure_job(connection: redis.Redis, request: JobRequest, lease_until: float) -> bool:
    """Enqueue the job unless it waits or runs already, or the project's lease shows that it runs.

    A finished or failed job with the same id is removed first, or RQ would reuse its old timestamps; so is
    one in a queue of another release. A started job without a worker's heartbeat or the project's lease was
    abandoned by a process that died or hangs.

    Parameters
    ----------
    lease_until
        When the project's lease ends, in seconds since the epoch; 0 for jobs without one.

    Returns
    -------
    Whether a job was enqueued.
    """
    queue = request.queue(connection)
    job = _fetch_job(connection, request.job_id)
    if lease_until >= time.time():
        return False  # it runs, or was just killed; another job would find the project leased
    if job is not None and job.origin == queue.name and _is_pending(job, queue, request):
        return False
    if job is not None:
        _delete_job(job)
    try:
        queue.enqueue_call(
            f"earmark.worker.tasks.{request.function}",
            args=(request.project_key,),
            job_id=request.job_id,
            timeout=request.timeout_seconds,
            result_ttl=0,
            failure_ttl=FAILED_JOB_SECONDS,
            unique=True,
        )
    except DuplicateJobError:
        return False  # another API process was first
    return True


def _fetch_job(connection: redis.Redis, job_id: str) -> Job | None:
    """Return the job, or None; a value under its key that is not a job is deleted, as it would block the id.

    RQ and its workers write single fields, such as heartbeats. When the job was deleted just before, such
    a write creates a key with this field alone, which ``fetch`` cannot read and which blocks ``unique`` jobs.
    """
    try:
        return Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
    except NoSuchJobError:
        pass
    except (redis.ResponseError, ValueError) as error:  # not a hash, or not RQ's fields
        log.warning("job in Redis cannot be read", job=job_id, error=str(error))
        connection.delete(Job.key_for(job_id))
        return None
    with connection.pipeline() as pipeline:
        key = Job.key_for(job_id)
        try:
            pipeline.watch(key)  # another API process may enqueue the job just now
            if pipeline.exists(key) and not pipeline.hexists(key, "data"):
                pipeline.multi()
                pipeline.delete(key)
                pipeline.execute()
                log.warning("remains of a job deleted from Redis", job=job_id)
        except redis.WatchError:
            log.info("job was enqueued by another process", job=job_id)
    return None


def _delete_job(job: Job) -> None:
    """Delete a job and its executions.

    RQ's own ``delete`` reads each execution first, and fails where one has ended, or consists only of the
    heartbeat of a worker that resumed. A remaining execution would fail the next job of this id as abandoned.
    """
    connection = job.connection
    for execution in cast(list[bytes], connection.zrange(job.started_job_registry.key, 0, -1)):
        if execution.startswith(f"{job.id}:".encode()):
            connection.zrem(job.started_job_registry.key, execution)
    connection.delete(job.execution_registry.key)
    job.delete()


def _is_pending(job: Job, queue: Queue, request: JobRequest) -> bool:
    """Whether a job waits or runs, and was not abandoned by a worker that died or hangs."""
    # As it was read with its heartbeat: a later one may say that the job has started since, without one
    status, now = job.get_status(refresh=False), time.time()
    if status == JobStatus.QUEUED:
        if queue.get_job_position(job) is not None:
            return True
        # A worker has just taken it from the queue; if that dies before the start, the status never changes.
        # Recorded in a separate key: the job may be deleted by now, and writing a field would recreate it.
        key = f"{TAKEN_PREFIX}{job.id}:{job.created_at.timestamp()}"
        queue.connection.set(key, now, nx=True, ex=TAKEN_SECONDS)
        taken_at = float(cast(bytes | None, queue.connection.get(key)) or now)
        return now - taken_at <= WORKER_SILENT_SECONDS
    if status != JobStatus.STARTED:
        return False
    if job.last_heartbeat is None or now - job.last_heartbeat.timestamp() > WORKER_SILENT_SECONDS:
        return False
    if request.lease_seconds is None or job.started_at is None:
        return True
    return bool(now - job.started_at.timestamp() <= request.lease_seconds)
