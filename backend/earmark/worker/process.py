"""The RQ worker process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import redis
import structlog
from rq import Worker, worker_registration
from rq.job import Job
from rq.serializers import JSONSerializer

from earmark.encoders import settled
from earmark.encoders.registry import spec_of
from earmark.errors import RedisUnavailableError
from earmark.jobs.queue import HEARTBEAT_SECONDS, job_queue
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import answers, connect, redis_url
from earmark.settings import Settings, get_settings, without_password

log = structlog.get_logger(__name__)


LABEL_STUDIO_SDK = tuple(
    f"label_studio_sdk.{name}"
    for name in ("client", "core.api_error", "ml.client", "predictions.client", "projects.client")
)
"""What a job uses of it; each part is imported on first use."""
WORKER_TTL_SECONDS = 30
"""A worker shows itself at half this interval; one that is silent for 90 s is no longer counted."""


class EnduringWorker(Worker):
    """A worker that a flushed Redis knows again, and that does not wait for a job that hangs."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Register anew with every heartbeat; RQ registers at birth alone."""
        connection = pipeline if pipeline is not None else self.connection
        connection.hset(self.key, mapping=self.serialize())
        worker_registration.register(self, pipeline)
        super().heartbeat(timeout, pipeline)

    def maintain_heartbeats(self, job: Job) -> None:
        """Show that the job is watched; end its process where the job was given to somebody else.

        The dispatcher does so when a training has not prolonged its lease: it hangs, and RQ would wait
        for it until its timeout. After a flush of Redis there is no job either, and the training goes on.
        """
        try:
            held = self.connection.hget(job.key, "worker_name")
            if held in (None, self.name.encode()):
                super().maintain_heartbeats(job)
                return
        except redis.RedisError as error:
            log.warning("Redis does not answer: the job goes on", job=job.id, error=str(error))
            return
        log.warning("job was given to another worker: its process here is ended", job=job.id)
        self.kill_horse()

    def main_work_horse(self, job: Any, queue: Any) -> None:
        """Run a job in its forked child, which stands back for predictions and webhooks (see nice(2)).

        The worker itself does not: its heartbeats must come on a busy machine, too.
        """
        os.nice(get_settings().train_niceness)
        super().main_work_horse(job, queue)


AUTOGROUP = Path("/proc/self/autogroup")


def stand_back(niceness: int) -> None:
    """Have this whole session stand back, where it is our own.

    Linux shares the processor among sessions first and looks at niceness inside each only (see
    sched(7), autogroup); worker and API run in sessions of their own. The terminal's is left alone.
    """
    if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
        AUTOGROUP.write_text(str(niceness))


def run_worker(
    settings: Settings, burst: bool = False, queues: Sequence[QueueKind] = tuple(QueueKind)
) -> None:
    """Work off the jobs of these queues, in this order, until told to stop.

    With ``burst``, until none is left.

    Each job runs in a forked child. This process imports PyTorch but computes nothing, and never
    touches CUDA or the database, so that the fork starts clean.

    Raises
    ------
    RedisUnavailableError
        Redis does not answer.
    """
    if not answers(settings):
        raise RedisUnavailableError(
            f"Redis at {without_password(redis_url(settings))} does not answer: start it with "
            "'earmark up' or set REDIS_URL."
        )
    stand_back(settings.train_niceness)
    # Decided once for all jobs: without network, each of them would look for the weights anew.
    chosen = settled(settings)
    os.environ["ENCODER"] = chosen.encoder
    if chosen.cnn14_checkpoint is not None:
        os.environ["CNN14_CHECKPOINT"] = str(chosen.cnn14_checkpoint)
    get_settings.cache_clear()
    # Imported before the fork so that each job starts warm; nothing here starts threads.
    import earmark.worker.tasks

    for module in (*spec_of(chosen.encoder).preload, *LABEL_STUDIO_SDK):
        import_module(module)  # PyTorch, librosa and the SDK take a second each for each job otherwise

    connection = connect(settings)
    worker = EnduringWorker(
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
