"""The RQ worker process."""

from __future__ import annotations

import os
from typing import Any

import structlog
from rq import Worker, worker_registration
from rq.serializers import JSONSerializer

from backend.encoders import choose_encoder
from backend.errors import RedisUnavailableError
from backend.jobs.queue import job_queue
from backend.jobs.redis_server import answers, connect, redis_url
from backend.settings import Settings, get_settings

log = structlog.get_logger(__name__)


WORKER_TTL_SECONDS = 30
"""A worker shows itself at half this interval; one that is silent for 90 s is no longer counted."""


class EnduringWorker(Worker):
    """A worker that a flushed Redis knows again after its next heartbeat."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Register anew with every heartbeat; RQ registers at birth alone."""
        connection = pipeline if pipeline is not None else self.connection
        connection.hset(self.key, mapping=self.serialize())
        worker_registration.register(self, pipeline)
        super().heartbeat(timeout, pipeline)


def run_worker(settings: Settings, burst: bool = False) -> None:
    """Work off jobs until told to stop; with ``burst``, until none is left.

    Each job runs in a forked child. This process never touches torch, CUDA or the database, so
    that the fork starts clean.

    Raises
    ------
    RedisUnavailableError
        Redis does not answer.
    """
    if not answers(settings):
        raise RedisUnavailableError(
            f"Redis at {redis_url(settings)} does not answer: start it with 'python -m backend up' "
            "or set REDIS_URL."
        )
    # Decided once for all jobs: without network, each of them would look for the weights anew.
    os.environ["ENCODER"] = choose_encoder(settings)
    get_settings.cache_clear()
    # Imported before the fork so that each job starts warm; nothing here starts threads.
    import backend.jobs.tasks

    connection = connect(settings)
    worker = EnduringWorker(
        [job_queue(connection)],
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_SECONDS,
    )
    log.info("worker ready", redis=redis_url(settings), tasks=backend.jobs.tasks.__name__)
    worker.work(burst=burst, logging_level="WARNING")
