"""Starts the processes of a backend: private Redis, workers and API."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

from earmark.errors import RedisUnavailableError
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import answers, redis_fault, server_command
from earmark.processes.ports import url_of
from earmark.processes.supervisor import Child, Supervisor
from earmark.settings import Settings, environment_of
from earmark.storage.token_cipher import TokenCipher
from earmark.store.database import Database
from earmark.tls import tls_context

REDIS_READY_SECONDS = 20.0
API_READY_SECONDS = 60.0
PROBE_SECONDS = 1.0


def api_url(settings: Settings) -> str:
    """Return the URL of the API as seen from this machine."""
    return url_of(settings.bind, settings.port)


def start_backend(
    supervisor: Supervisor, settings: Settings, environment: dict[str, str], log_dir: Path | None
) -> None:
    """Start Redis (unless ``REDIS_URL`` names one), a worker for each queue and the API.

    Returns when they answer.

    Parameters
    ----------
    environment
        Environment variables of the children, from which they must read the same settings.
    log_dir
        Folder for their logs, or None for the terminal.

    Raises
    ------
    ChildFailedError
        One of them does not become ready.
    """
    Database(settings.sqlalchemy_url, encrypt=TokenCipher(settings).encrypt).upgrade()

    def child(name: str, *arguments: str) -> Child:
        command = [sys.executable, "-m", "earmark", *arguments]
        return Child(name, command, environment, log_dir / f"{name}.log" if log_dir else None)

    if settings.redis_url is not None and (fault := redis_fault(settings)):
        raise RedisUnavailableError(fault)
    if settings.redis_url is None:
        log = (log_dir or settings.data_dir / "logs") / "redis.log"
        redis = Child("redis", server_command(settings), environment, log, needed_by_others=True)
        supervisor.start(redis)
        supervisor.wait_until(redis, lambda: answers(settings), REDIS_READY_SECONDS)
    for kind in QueueKind:
        supervisor.start(child(f"worker-{kind}", "worker", "--queue", kind))
    api = child("api", "serve")
    supervisor.start(api)
    supervisor.wait_until(api, lambda: _healthy(api_url(settings)), API_READY_SECONDS)


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the environment for child processes: this process's own, with exactly these settings."""
    others = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return {**others, **environment_of(settings)}


def _healthy(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health", timeout=PROBE_SECONDS, verify=tls_context())
        return answer.status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
