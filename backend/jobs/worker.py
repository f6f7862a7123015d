"""The RQ worker process."""

from __future__ import annotations

import structlog
from rq import Worker
from rq.serializers import JSONSerializer

from backend.errors import RedisUnavailableError
from backend.jobs.queue import job_queue
from backend.jobs.redis_server import answers, connect, redis_url
from backend.settings import Settings

log = structlog.get_logger(__name__)


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
    # Imported before the fork so that each job starts warm; nothing here starts threads.
    import backend.jobs.tasks

    connection = connect(settings)
    worker = Worker([job_queue(connection)], connection=connection, serializer=JSONSerializer)
    log.info("worker ready", redis=redis_url(settings), tasks=backend.jobs.tasks.__name__)
    worker.work(burst=burst, logging_level="WARNING")
