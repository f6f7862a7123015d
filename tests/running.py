"""A real Label Studio and a real backend for tests, on this machine and on free ports.

``tests/conftest.py`` takes the fixtures over, so that all tests of a process share one Label Studio on SQLite
and one on PostgreSQL. Processes that run tests side by side have one each: on SQLite, Label Studio refuses
what it is sent while it writes. The migrations of a new database take it 25 s, so the migrated one is kept in
pytest's cache and copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock

from benchmarks.common import ACCOUNT
from earmark.settings import Settings
from tests.postgres import SUPERUSER, dump, make_database

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 240.0
ADDRESS = "127.0.0.1"
ALLOWED_IN_TESTS = {
    "ALLOWED_HOSTS": "testserver",
    "ALLOWED_SOUND_HOSTS": "localhost,127.0.0.1",
    "AUDIO_ROOTS": "/",
}
"""Starlette's test client, servers of sounds on this machine, and sounds in temporary folders."""


@dataclass(frozen=True)
class RunningLabelStudio:
    """Where it is and how to get in; ``token`` is a legacy token, ``client`` the SDK's."""

    url: str
    token: str
    username: str
    password: str
    client: Any
    document_root: Path
    log_path: Path

    def personal_access_token(self) -> str:
        """Return a personal access token, the other kind; a user has one at most."""
        return self._personal_access_token

    @cached_property
    def _personal_access_token(self) -> str:
        answer = httpx.post(
            f"{self.url}/api/token/", headers={"Authorization": f"Token {self.token}"}, timeout=30
        )
        answer.raise_for_status()
        return str(answer.json()["token"])


@dataclass(frozen=True)
class RunningBackend:
    """A running backend: its settings and the address of its API."""

    settings: Settings
    url: str
    logs: Path


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_label_studio(folder: Path, **variables: str) -> Iterator[RunningLabelStudio]:
    """A Label Studio with its data in a folder, until the block ends; without one installed, skip the test.

    Parameters
    ----------
    variables
        Further environment variables; without any it stores in SQLite.
    """
    from label_studio_sdk import LabelStudio  # takes long to import, and few tests need it

    from earmark.processes.supervisor import supervised
    from scripts.label_studio_server import LabelStudioServer

    named = os.environ.get("LABEL_STUDIO_EXECUTABLE")
    executable = Path(named) if named else ROOT / ".venv-label-studio" / "bin" / "label-studio"
    if not executable.is_file():
        pytest.skip("Label Studio is not installed: make .venv-label-studio")
    document_root = folder / "served"
    # Supervised, so that it ends with the tests when they are terminated, too.
    with supervised(folder / "run") as supervisor:
        server = LabelStudioServer(
            executable, folder / "data", free_port(), *ACCOUNT, document_root, supervisor, variables
        )
        server.wait_until_ready(READY_SECONDS)
        username, password, token = ACCOUNT
        client = LabelStudio(base_url=server.url, api_key=token)
        yield RunningLabelStudio(
            server.url, token, username, password, client, document_root, server.log_path
        )


@pytest.fixture(scope="session")
def label_studio(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[RunningLabelStudio]:
    """A Label Studio on SQLite."""
    folder = tmp_path_factory.mktemp("label-studio")
    database = folder / "data" / "label_studio.sqlite3"
    database.parent.mkdir()
    with ExitStack() as stack:
        with _migrated(pytestconfig, "sqlite3") as (template, is_new):
            if not is_new:
                shutil.copyfile(template, database)
            running = stack.enter_context(running_label_studio(folder))
            if is_new:
                with (
                    closing(sqlite3.connect(database)) as source,
                    closing(sqlite3.connect(template)) as target,
                ):
                    source.backup(target)
        yield running


@pytest.fixture(scope="session")
def label_studio_on_postgresql(
    postgres_cluster: int, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[RunningLabelStudio]:
    """A Label Studio on PostgreSQL."""
    with ExitStack() as stack:
        with _migrated(pytestconfig, "sql") as (template, is_new):
            name = make_database(postgres_cluster, None if is_new else template)
            variables = {
                "DJANGO_DB": "default",
                "POSTGRE_USER": SUPERUSER,
                "POSTGRE_NAME": name,
                "POSTGRE_HOST": ADDRESS,
                "POSTGRE_PORT": str(postgres_cluster),
            }
            folder = tmp_path_factory.mktemp("label-studio-on-postgresql")
            running = stack.enter_context(running_label_studio(folder, **variables))
            if is_new:
                dump(postgres_cluster, name, template)
        yield running


@contextmanager
def _migrated(config: pytest.Config, suffix: str) -> Iterator[tuple[Path, bool]]:
    """A migrated database of this release of Label Studio; with True, the block makes it.

    Another process that wants it waits, instead of migrating one as well.
    """
    release = hashlib.sha256((ROOT / "requirements-label-studio.txt").read_bytes() + ACCOUNT[0].encode())
    assert config.cache is not None
    template = config.cache.mkdir("label-studio") / f"{release.hexdigest()[:16]}.{suffix}"
    with FileLock(f"{template}.lock"):
        if template.exists():
            yield template, False
        else:
            part = template.with_name(f"{template.name}.part")
            part.unlink(missing_ok=True)
            yield part, True
            part.rename(template)


@contextmanager
def running_backend(
    label_studio: RunningLabelStudio, folder: Path, **variables: str
) -> Iterator[RunningBackend]:
    """A backend with the logmel encoder, its workers and a private Redis, until the block ends.

    Parameters
    ----------
    folder
        For its data and logs.
    variables
        Further environment variables, as ``TRAIN_DEBOUNCE_SECONDS="1"``.
    """
    from earmark.processes.stack import api_url, child_environment, start_backend
    from earmark.processes.supervisor import supervised

    settings = Settings(_env_file=None, data_dir=folder / "data", port=free_port(), encoder="logmel")
    environment = {
        **child_environment(settings),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        **variables,
    }
    for name in ("REDIS_URL", "DATABASE_URL"):
        environment.pop(name, None)
    with supervised(folder / "run") as supervisor:
        start_backend(supervisor, settings, environment, folder / "logs")
        yield RunningBackend(settings, api_url(settings), folder / "logs")
