"""Readiness checks of database, Redis, workers and encoder, in bounded time, for orchestrators."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTimeError

import redis
import structlog
from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError

from earmark.encoders import encoder_identity, registry
from earmark.encoders.background_fetch import prepare, require_prepared
from earmark.encoders.weights.custom_checkpoint import checkpoint_fault, is_validated
from earmark.errors import EarmarkError
from earmark.jobs.queue import job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import connect
from earmark.services import Services
from earmark.store.models import Event

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 2.0
"""Time for all checks together; a part that has not answered by then is not ready."""
REDIS_SECONDS = 1.0
FRESH_SECONDS = 1.0
"""Age up to which a cached result is returned, so that requests cause no load."""
LEAST_FREE_BYTES = 64 * 1024**2


class Readiness:
    """Readiness checks, each in a separate thread; while one hangs, it is not started again."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._checks: dict[str, Callable[[], str]] = {
            "database": self._database,
            "redis": self._redis,
            "encoder": self._encoder,
        }
        self._pool = ThreadPoolExecutor(len(self._checks), thread_name_prefix="ready")
        self._running: dict[str, Future[str]] = {}
        self._faults: dict[str, str] = {}
        self._logged: dict[str, str] = {}
        self._checked_at = -FRESH_SECONDS
        self._lock = threading.Lock()

    def faults(self) -> dict[str, str]:
        """Return the error of each part that is not ready, by its name; empty when all are."""
        with self._lock:
            if time.monotonic() - self._checked_at >= FRESH_SECONDS:
                self._faults = self._run_checks()
                self._checked_at = time.monotonic()
            return self._faults

    def notes(self) -> dict[str, str]:
        """Return a note for each part that is degraded but does not prevent answers."""
        fault = self._services.frames_fault()
        return {"frames": fault} if fault else {}

    def close(self) -> None:
        """Start no more checks."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run_checks(self) -> dict[str, str]:
        deadline = time.monotonic() + ANSWER_SECONDS
        for name, check in self._checks.items():
            if name not in self._running:
                self._running[name] = self._pool.submit(self._explained, name, check)
        faults = {}
        for name in self._checks:
            try:
                fault = self._running[name].result(max(0.0, deadline - time.monotonic()))
            except NotInTimeError:
                faults[name] = f"No answer within {ANSWER_SECONDS:.0f} s: see whether it hangs."
                continue
            del self._running[name]
            if fault:
                faults[name] = fault
        return faults

    def _explained(self, name: str, check: Callable[[], str]) -> str:
        """Run a check; an exception is a fault like any other. Each is logged once until it changes."""
        try:
            fault = check()
        except Exception as error:
            fault = f"The check failed ({type(error).__name__}: {error}): see the log."
            if self._is_new(name, fault):
                log.exception("readiness check failed", part=name)
        if not fault:
            self._logged.pop(name, None)
        return fault

    def _is_new(self, name: str, fault: str) -> bool:
        """Whether a part had no such fault the last time; open pages ask every second."""
        is_new = self._logged.get(name) != fault
        self._logged[name] = fault
        return is_new

    def _database(self) -> str:
        try:
            with self._services.database.write() as session:
                session.execute(delete(Event).where(Event.id == -1))  # takes the write lock without a change
        except (SQLAlchemyError, OSError) as error:
            if self._is_new("database", str(error)):
                log.warning("database not ready", error=str(error))
            return "The database cannot be written: check DATABASE_URL, or DATA_DIR and its disk."
        try:
            free = shutil.disk_usage(self._services.settings.data_dir).free
        except OSError as error:
            return f"DATA_DIR cannot be used ({error.strerror or error}): make the folder again, and restart."
        return "" if free >= LEAST_FREE_BYTES else "The disk of DATA_DIR is full: free some space."

    def _redis(self) -> str:
        connection = connect(self._services.settings, answer_seconds=REDIS_SECONDS)
        try:
            workers = {kind: live_workers(job_queue(connection, kind)) for kind in QueueKind}
        except redis.RedisError as error:
            if self._is_new("redis", str(error)):
                log.warning("redis not ready", error=str(error))
            return "Redis does not answer, so nothing is trained: start it, or check REDIS_URL."
        finally:
            connection.close()
        if not workers[QueueKind.LEARN]:
            return "No worker runs, so nothing is trained: earmark worker"
        if not workers[QueueKind.PREDICT]:
            return "No worker refreshes predictions: earmark worker --queue predict"
        return ""

    def _encoder(self) -> str:
        settings = self._services.settings
        try:
            encoder_identity(settings)
            require_prepared(settings)
        except EarmarkError as error:
            return str(error)
        if registry.takes_checkpoint(settings.encoder):
            fault = checkpoint_fault(settings)
            if fault is not None:
                return str(fault)
            if not is_validated(settings):
                prepare(settings)  # in a background thread, because importing torch takes seconds
                return (
                    f"CNN14_CHECKPOINT is {settings.cnn14_checkpoint}, which is being read: ask again soon."
                )
        if settings.encoder == registry.AUTO:
            return ""
        for weights in registry.spec_of(settings.encoder).absent(settings):
            return f"{weights.title}'s weights are not here: {registry.weights_command(weights)}"
        return ""
