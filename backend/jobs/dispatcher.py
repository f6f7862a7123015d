"""From waiting webhooks in the database to jobs in Redis.

A webhook only writes its row. This thread, in every API process, sees what waits and asks for
jobs; so a flushed or absent Redis loses nothing, and an answer to Label Studio never waits for it.
"""

from __future__ import annotations

import os
import threading
import time

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.encoders import encoder_identity
from backend.errors import EarmarkError
from backend.jobs.preannotation import ensure_preannotation
from backend.jobs.queue import JobRequest, ensure_job
from backend.jobs.redis_server import connect
from backend.labelstudio.access import AccessBook
from backend.settings import Settings
from backend.store.database import Database
from backend.store.events import PendingWork, pending_work
from backend.store.projects import known_projects
from backend.store.registry import active_version, needs_version
from backend.store.tables import Project

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.5
WARN_EVERY_SECONDS = 60.0
REDIS_SECONDS = 5.0
REFRESH_TIMEOUT_SECONDS = 3600
SYNC_TIMEOUT_SECONDS = 6 * 3600
FETCH_TIMEOUT_SECONDS = 3600


def learn_request(key: str, settings: Settings) -> JobRequest:
    """The job that trains a project."""
    return JobRequest("learn", key, settings.train_timeout_seconds, settings.train_lease_seconds)


def is_due(work: PendingWork, settings: Settings, now: float) -> bool:
    """Whether a project's waiting webhooks should be learnt from now (``now`` since the epoch).

    Who presses Start Training after a failure has mended something, and waits for no back-off.
    """
    if now < work.retry_after and work.asked_at <= work.failed_at:
        return False
    return (
        work.asked_at > 0
        or now - work.last_received_at >= settings.train_debounce_seconds
        or now - work.first_received_at >= settings.train_max_wait_seconds
    )


def sync_due(project: Project, settings: Settings, up_since: float, now: float) -> bool:
    """Whether a project should be compared with Label Studio: when it is new, on a timer, and after each
    start, as nobody knows what was missed while this was down (all in seconds since the epoch).
    """
    if now < project.sync_after or project.synced_at >= max(up_since, now - settings.sync_interval_seconds):
        return False
    access = AccessBook(settings).for_project(project)
    return access is not None and access.has_token


def due_jobs(
    database: Database, settings: Settings, now: float, up_since: float = 0.0
) -> list[tuple[JobRequest, float]]:
    """What should be in the queue at ``now``, with the end of each project's lease.

    ``up_since``: start of this process, seconds since the epoch.
    """
    with database.read() as session:
        projects = {project.key: project for project in known_projects(session)}
        jobs = []
        for work in pending_work(session):
            lease_until = projects[work.project_key].lease_until if work.project_key in projects else 0.0
            if is_due(work, settings, now):
                jobs.append((learn_request(work.project_key, settings), lease_until))
        identity = encoder_identity(settings)
        asked = {request.project_key for request, _ in jobs}
        for project in projects.values():
            switched = needs_version(session, project.key, identity)
            if switched and project.key not in asked and now >= project.retry_after:
                jobs.append((learn_request(project.key, settings), project.lease_until))
            version = active_version(session, project.key, identity)
            if version and version.name != project.refreshed_version and now >= project.refresh_after:
                jobs.append((JobRequest("refresh", project.key, REFRESH_TIMEOUT_SECONDS), 0.0))
            if project.sounds_awaited and now >= project.fetch_after:
                jobs.append((JobRequest("fetch", project.key, FETCH_TIMEOUT_SECONDS), 0.0))
            if sync_due(project, settings, up_since, now):
                jobs.append((JobRequest("sync", project.key, SYNC_TIMEOUT_SECONDS), 0.0))
    return jobs


class Dispatcher:
    """The thread that keeps the queue in step with the database."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = 0
        self._lock = threading.Lock()
        self._warned_at = -WARN_EVERY_SECONDS
        self._up_since = time.time()

    def ensure_running(self) -> None:
        """Start the thread, also anew in a forked process, where threads do not live on."""
        with self._lock:
            if self._thread is not None and self._process == os.getpid() and self._thread.is_alive():
                return
            self._process = os.getpid()
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def tick(self, connection: redis.Redis) -> int:
        """Ask for every job that is due; returns how many were enqueued."""
        jobs = due_jobs(self._database, self._settings, time.time(), self._up_since)
        asked = sum(ensure_job(connection, request, lease_until) for request, lease_until in jobs)
        return asked + ensure_preannotation(connection, self._database)

    def _run(self) -> None:
        # Limited, so that a Redis that hangs is tried again, and stopping never waits for it.
        connection = connect(self._settings, answer_seconds=REDIS_SECONDS)
        while not self._stop.wait(TICK_SECONDS):
            try:
                self.tick(connection)
            except (redis.RedisError, SQLAlchemyError, OSError) as error:
                self._warn("training waits until Redis and the database answer", error)
            except EarmarkError as error:  # the encoder's, as a rule; it is put right while this runs
                self._warn("training waits until this is put right", error)
        connection.close()

    def _warn(self, what: str, error: Exception) -> None:
        if time.monotonic() - self._warned_at >= WARN_EVERY_SECONDS:
            self._warned_at = time.monotonic()
            log.warning(what, error=str(error))
