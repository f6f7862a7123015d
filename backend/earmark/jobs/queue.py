"""The two RQ queues, and putting a job into its queue at most once at a time.

Trainings have a queue of their own, so that fresh predictions never wait behind them, nor the other way
round. Each is worked off in the order in which jobs came, and a project has one job of a kind at most:
whoever trains again lines up behind all others who wait, so that no project's stream of annotations
keeps another one from its turn.
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
"""How long Redis keeps a failed job to look at; what is to be done stands in the database."""
HEARTBEAT_SECONDS = 5
"""A worker shows at this interval that it still watches its job."""
WORKER_SILENT_SECONDS = 30.0
"""A job whose worker has not shown itself for this long is taken for left behind."""
TAKEN_PREFIX = "earmark:taken:"
TAKEN_SECONDS = 3600
"""How long Redis remembers when a job was first seen to be taken from its queue."""


def job_queue(connection: redis.Redis, kind: QueueKind = QueueKind.LEARN) -> Queue:
    """Return a queue, with JSON for arguments: nothing on the way is pickled."""
    return Queue(f"earmark-{kind}", connection=connection, serializer=JSONSerializer)


def live_workers(queue: Queue) -> int:
    """How many workers of the queue have shown themselves lately."""
    return len(Worker.all(queue=queue))


@dataclass(frozen=True)
class JobRequest:
    """A function of ``earmark.worker.tasks`` to run for a project.

    Attributes
    ----------
    lease_seconds
        How long a job may run without the project's lease before it is taken for left behind; None
        where the function takes no lease.
    """

    function: JobFunction
    project_key: str
    timeout_seconds: int
    lease_seconds: float | None = None

    @property
    def job_id(self) -> str:
        """One id for each function and project, in the characters that RQ takes."""
        return f"{self.function}-{re.sub(r'[^0-9A-Za-z_-]', '-', self.project_key)}"

    def queue(self, connection: redis.Redis) -> Queue:
        """Where it belongs."""
        return job_queue(connection, _QUEUE_OF[self.function])


def ensure_job(connection: redis.Redis, request: JobRequest, lease_until: float) -> bool:
    """Enqueue the job unless it waits or runs already, or the project's lease says that it runs.

    A finished or failed job under the same id is removed first, or RQ would go on with its old
    timestamps; so is one in a queue of another release. A started one that its worker or the
    project's lease no longer speaks for was left behind by a process that died or hangs.

    Parameters
    ----------
    lease_until
        When the project's lease ends, in seconds since the epoch; 0 for jobs without one.

    Returns
    -------
    Whether a job was enqueued.
    """
    queue = request.queue(connection)
    job = _fetch(connection, request.job_id)
    if lease_until >= time.time():
        return False  # it runs, or was killed a moment ago; another job would find the project taken
    if job is not None and job.origin == queue.name and _under_way(job, queue, request):
        return False
    if job is not None:
        _forget(job)
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


def _fetch(connection: redis.Redis, job_id: str) -> Job | None:
    """The job, or None; what stands under its key and is no job is deleted, as RQ would take it for one.

    RQ and its workers write single fields, such as heartbeats. Where the job was deleted a moment before,
    such a field makes a key of its own, which no ``fetch`` can read and no ``unique`` job gets past.
    """
    try:
        return Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
    except NoSuchJobError:
        pass
    except (redis.ResponseError, ValueError) as error:  # no hash, or fields that are none of RQ's
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


def _forget(job: Job) -> None:
    """Delete a job with every trace.

    RQ's own way reads each execution first, and fails on one that ended, or of which a worker that woke up
    wrote its heartbeat alone. An execution that stayed would have the next job of this id fail as abandoned.
    """
    connection = job.connection
    for execution in cast(list[bytes], connection.zrange(job.started_job_registry.key, 0, -1)):
        if execution.startswith(f"{job.id}:".encode()):
            connection.zrem(job.started_job_registry.key, execution)
    connection.delete(job.execution_registry.key)
    job.delete()


def _under_way(job: Job, queue: Queue, request: JobRequest) -> bool:
    """Whether a job waits or runs, and was not left behind by a worker that died or hangs."""
    status, now = job.get_status(), time.time()
    if status == JobStatus.QUEUED:
        if queue.get_job_position(job) is not None:
            return True
        # Taken from the queue a moment ago; who dies between that and the start leaves it so for ever
        # In a key of its own: the job may be gone by now, and a field would bring back a part of it
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
