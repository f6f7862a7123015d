"""RQ worker process: heartbeats, niceness and preloaded imports."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import redis
import structlog
from rq import Worker, worker_registration
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from earmark.encoders import with_resolved_encoder
from earmark.encoders.registry import spec_of
from earmark.errors import RedisUnavailableError
from earmark.jobs.queue import HEARTBEAT_SECONDS, job_queue
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import connect, redis_fault, redis_url
from earmark.settings import Settings, get_settings, without_password

log = structlog.get_logger(__name__)


LABEL_STUDIO_SDK = tuple(
    f"label_studio_sdk.{name}"
    for name in ("client", "core.api_error", "ml.client", "predictions.client", "projects.client")
)
"""Modules of the SDK that jobs use; the SDK imports each on first use."""
PR_SET_PDEATHSIG = 1
WORKER_TTL_SECONDS = 30
"""A worker sends a heartbeat at half this interval; without one for 90 s, its registration expires."""


class ResilientWorker(Worker):
    """RQ worker that registers again after a flush of Redis, and kills a job that another worker took."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Register with every heartbeat; RQ's own worker registers only at its start."""
        connection = pipeline if pipeline is not None else self.connection
        connection.hset(self.key, mapping=self.serialize())
        worker_registration.register(self, pipeline)
        super().heartbeat(timeout, pipeline)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Send the job's heartbeat; kill its process where the job was given to another worker.

        The dispatcher reassigns a job when a training has not renewed its lease: it hangs, and RQ would wait
        until the timeout. After a flush of Redis the job is missing, too, and the training goes on.
        """
        try:
            worker_name = self.connection.hget(job.key, "worker_name")
            if worker_name in (None, self.name.encode()):
                super().maintain_heartbeats(job, execution)
                return
        except redis.RedisError as error:
            log.warning("Redis does not answer: the job goes on", job=job.id, error=str(error))
            return
        log.warning("job was given to another worker: its process here is ended", job=job.id)
        self.kill_horse()

    def main_work_horse(self, job: Any, queue: Any) -> None:
        """Run a job in its forked child, at a lower CPU priority than predictions and webhooks (nice(2)).

        The worker itself keeps its priority: its heartbeats must be in time on a busy machine, too.
        """
        _end_with_parent(self.pid)
        os.nice(get_settings().train_niceness)
        super().main_work_horse(job, queue)


def _end_with_parent(parent_id: int | None) -> None:
    """Have the kernel kill this process when its worker ends (Linux, prctl(2)).

    A job whose worker was killed would go on unwatched, and would survive the backend; it is done anew.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "prctl"):
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_id:  # it ended before
        os._exit(1)


AUTOGROUP = Path("/proc/self/autogroup")


def lower_session_priority(niceness: int) -> None:
    """Lower the CPU priority of this session's autogroup, if this process leads the session.

    Linux shares the processor among sessions first, and applies niceness only within each (see sched(7),
    autogroup); worker and API run in sessions of their own. A terminal's session is left unchanged.
    """
    if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
        AUTOGROUP.write_text(str(niceness))


def run_worker(
    settings: Settings, burst: bool = False, queues: Sequence[QueueKind] = tuple(QueueKind)
) -> None:
    """Run the jobs of these queues, in this order, until the process is stopped.

    With ``burst``, until the queues are empty.

    Each job runs in a forked child. This process imports PyTorch but computes nothing, and never
    uses CUDA or the database, so that the child inherits no state of them.

    Raises
    ------
    RedisUnavailableError
        Redis does not answer.
    """
    if fault := redis_fault(settings):
        raise RedisUnavailableError(fault)
    lower_session_priority(settings.train_niceness)
    # Resolved once for all jobs: without network, each of them would search for the weights again.
    chosen = with_resolved_encoder(settings)
    os.environ["ENCODER"] = chosen.encoder
    if chosen.cnn14_checkpoint is not None:
        os.environ["CNN14_CHECKPOINT"] = str(chosen.cnn14_checkpoint)
    get_settings.cache_clear()
    # Imported before the fork, so that jobs need not import it; no import here starts threads.
    import earmark.worker.tasks

    for module in (*spec_of(chosen.encoder).preload, *LABEL_STUDIO_SDK):
        import_module(module)  # PyTorch, librosa and the SDK take a second each for each job otherwise

    connection = connect(settings)
    worker = ResilientWorker(
        [job_queue(connection, kind) for kind in queues],
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_SECONDS,
        job_monitoring_interval=HEARTBEAT_SECONDS,
    )
    log.info(
        "worker ready",
        redis=without_password(redis_url(settings)),
        queues=[kind.value for kind in queues],
        tasks=earmark.worker.tasks.__name__,
    )
    worker.work(burst=burst, logging_level="WARNING")
