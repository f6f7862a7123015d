"""Dispatcher: a thread that polls the database for waiting webhooks and enqueues jobs in Redis.

A webhook request only writes its row. This thread, in every API process, enqueues the jobs; so nothing is
lost when Redis is flushed or down, and a response to Label Studio never waits for it.
"""

from __future__ import annotations

import os
import threading
import time

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from earmark.encoders import encoder_identity
from earmark.errors import EarmarkError
from earmark.jobs.preannotation import ensure_preannotation
from earmark.jobs.queue import JobRequest, ensure_job
from earmark.jobs.redis_server import connect
from earmark.labelstudio.credentials import AccessBook
from earmark.prediction.deduplication import SETTLE_SECONDS
from earmark.prediction.write_windows import activity
from earmark.settings import Settings
from earmark.store.database import Database
from earmark.store.dispatcher_queries import (
    active_versions_by_project,
    last_activations,
    projects_without_version,
    training_seconds,
)
from earmark.store.events import PendingWork, pending_work
from earmark.store.models import Activation, Project, Version
from earmark.store.prediction_writes import projects_with_duplicates
from earmark.store.projects import known_projects

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.5
SHORTEST_TICK_SECONDS = 0.05
"""Minimum interval between two polls, however many webhooks arrive."""
SHORTEST_DEBOUNCE_SECONDS = 0.3
DEBOUNCE_SHARE = 0.25
"""Debounce time as a share of the time that the last training took."""
REFRESH_PAUSE_SECONDS = 2.0
"""Pause after a training before tasks other than the next ones are refreshed."""
WARN_EVERY_SECONDS = 60.0
REDIS_SECONDS = 5.0
REFRESH_TIMEOUT_SECONDS = 3600
SYNC_TIMEOUT_SECONDS = 6 * 3600
FETCH_TIMEOUT_SECONDS = 3600


def learn_request(key: str, settings: Settings) -> JobRequest:
    """Return the job that trains a project."""
    return JobRequest("learn", key, settings.train_timeout_seconds, settings.train_lease_seconds)


def debounce_seconds(settings: Settings, training_seconds: float | None) -> float:
    """Return the debounce time: quiet seconds after an annotation before a training starts.

    Annotations that arrive during a training wait for the next one anyway, so the debounce only groups
    annotations that arrive together, and is a share of a training's duration.

    Parameters
    ----------
    training_seconds
        Duration of the project's last training; None before the first.
    """
    longest = settings.train_debounce_seconds
    if training_seconds is None:
        return longest
    return min(longest, max(SHORTEST_DEBOUNCE_SECONDS, DEBOUNCE_SHARE * training_seconds))


def is_due(work: PendingWork, settings: Settings, now: float, training_seconds: float | None = None) -> bool:
    """Whether a training on a project's waiting webhooks is due (``now``: seconds since the epoch)."""
    return now >= due_at(work, settings, training_seconds)


def due_at(work: PendingWork, settings: Settings, training_seconds: float | None = None) -> float:
    """Return when a training on a project's waiting webhooks is due, in seconds since the epoch.

    Start Training skips the back-off after a failure: the user has presumably fixed the cause.
    """
    is_requested = work.asked_at > 0
    debounced = min(
        work.last_received_at + debounce_seconds(settings, training_seconds),
        work.first_received_at + settings.train_max_wait_seconds,
    )
    triggered_at = work.asked_at if is_requested else debounced
    return triggered_at if work.asked_at > work.failed_at else max(triggered_at, work.retry_after)


def sync_due(project: Project, settings: Settings, up_since: float, now: float) -> bool:
    """Whether a project is due for synchronization with Label Studio: when it is new, on a timer, and after
    each start, because webhooks may have been missed before it (times in seconds since the epoch).
    """
    if now < project.sync_after or project.synced_at >= max(up_since, now - settings.sync_interval_seconds):
        return False
    access = AccessBook(settings).for_project(project)
    return access is not None and access.has_token


def refresh_due(project: Project, version: Version | None, activation: Activation | None, now: float) -> bool:
    """Whether the predictions of a project's open tasks are due for a refresh by the active version.

    A training has refreshed the next tasks already; the others wait until no new version has come for a
    moment. After a promotion or a rollback they are refreshed at once.
    """
    if project.gone_at or version is None:
        return False
    if version.name == project.refreshed_version or now < project.refresh_after:
        return False
    if activation is None or activation.cause != "trained":
        return True
    return now - activation.activated_at >= REFRESH_PAUSE_SECONDS


def due_jobs(
    database: Database, settings: Settings, now: float, up_since: float = 0.0
) -> list[tuple[JobRequest, float]]:
    """Return the jobs that are due at ``now``, each with the end of its project's lease (0.0 for none).

    ``up_since``: start of this process. All times in seconds since the epoch.
    """
    return due_jobs_and_next_poll(database, settings, now, up_since)[0]


def due_jobs_and_next_poll(
    database: Database, settings: Settings, now: float, up_since: float
) -> tuple[list[tuple[JobRequest, float]], float]:
    """Return ``due_jobs`` and the time of the next poll, in seconds since the epoch."""
    next_poll = now + TICK_SECONDS
    with database.read() as session:
        projects = {project.key: project for project in known_projects(session)}
        jobs = []
        waiting = pending_work(session)
        durations = training_seconds(session, [work.project_key for work in waiting])
        for work in waiting:
            lease_until = projects[work.project_key].lease_until if work.project_key in projects else 0.0
            due = due_at(work, settings, durations.get(work.project_key))
            if now >= due:
                jobs.append((learn_request(work.project_key, settings), lease_until))
            else:
                next_poll = min(next_poll, due)
        identity = encoder_identity(settings)
        active = active_versions_by_project(session, identity)
        activations = last_activations(session, identity)
        without_version = projects_without_version(session, identity)
        requested_keys = {request.project_key for request, _ in jobs}
        for project in projects.values():
            if (
                project.key in without_version
                and project.key not in requested_keys
                and now >= project.retry_after
            ):
                jobs.append((learn_request(project.key, settings), project.lease_until))
            refresh = refresh_due(project, active.get(project.key), activations.get(project.key), now)
            if refresh and activity(session, project.key, now).is_window(now):
                jobs.append((JobRequest("refresh", project.key, REFRESH_TIMEOUT_SECONDS), 0.0))
            if project.sounds_awaited and not project.gone_at and now >= project.fetch_after:
                jobs.append((JobRequest("fetch", project.key, FETCH_TIMEOUT_SECONDS), 0.0))
            if sync_due(project, settings, up_since, now):
                jobs.append((JobRequest("sync", project.key, SYNC_TIMEOUT_SECONDS), 0.0))
        for key in projects_with_duplicates(session, answered_before=now - SETTLE_SECONDS):
            if key in projects and activity(session, key, now).is_window(now):
                jobs.append((JobRequest("deduplicate", key, REFRESH_TIMEOUT_SECONDS), 0.0))
    return jobs, next_poll


class Dispatcher:
    """Thread that enqueues jobs for the work that waits in the database."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._stop, self._woken = threading.Event(), threading.Event()
        self._next_poll = 0.0
        self._thread: threading.Thread | None = None
        self._process = 0
        self._lock = threading.Lock()
        self._warned_at = -WARN_EVERY_SECONDS
        self._up_since = time.time()

    def ensure_running(self) -> None:
        """Start the thread unless it runs; a forked process, which inherits no threads, starts its own."""
        with self._lock:
            if self._thread is not None and self._process == os.getpid() and self._thread.is_alive():
                return
            self._process = os.getpid()
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Poll immediately, because a webhook has arrived; waiting for the next tick would delay training."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()

    def tick(self, connection: redis.Redis) -> int:
        """Enqueue all jobs that are due; returns how many were enqueued."""
        jobs, self._next_poll = due_jobs_and_next_poll(
            self._database, self._settings, time.time(), self._up_since
        )
        enqueued = sum(ensure_job(connection, request, lease_until) for request, lease_until in jobs)
        return enqueued + ensure_preannotation(connection, self._database)

    def _run(self) -> None:
        # With a timeout, so that a Redis that hangs is retried, and stop() never waits for it.
        connection = connect(self._settings, answer_seconds=REDIS_SECONDS)
        while not self._stop.wait(SHORTEST_TICK_SECONDS):
            self._woken.wait(max(0.0, min(TICK_SECONDS, self._next_poll - time.time())))
            self._woken.clear()
            if self._stop.is_set():
                break
            try:
                self.tick(connection)
            except (redis.RedisError, SQLAlchemyError, OSError) as error:
                self._warn("training waits until Redis and the database answer", error)
            except EarmarkError as error:  # usually the encoder's; the operator can fix it while this runs
                self._warn("training waits until this is put right", error)
            except Exception as error:  # noqa: BLE001 a fault of ours must not end the thread
                self._warn("training waits: a fault of Earmark, please report it", error, traceback=True)
        connection.close()

    def _warn(self, what: str, error: Exception, traceback: bool = False) -> None:
        if time.monotonic() - self._warned_at >= WARN_EVERY_SECONDS:
            self._warned_at = time.monotonic()
            log.warning(what, error=str(error), exc_info=error if traceback else None)
