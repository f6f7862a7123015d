"""A real Label Studio and a real backend for tests, on this machine and on free ports.

``tests/conftest.py`` takes the fixture ``label_studio`` over, so that all tests of a session share one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from earmark.settings import Settings

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
    account = ("test@example.com", "a-test-password", "0123456789abcdef0123456789abcdef01234567")
    document_root = folder / "served"
    # Supervised, so that it ends with the tests when they are terminated, too.
    with supervised(folder / "run") as supervisor:
        server = LabelStudioServer(
            executable, folder / "data", free_port(), *account, document_root, supervisor, variables
        )
        server.wait_until_ready(READY_SECONDS)
        username, password, token = account
        client = LabelStudio(base_url=server.url, api_key=token)
        yield RunningLabelStudio(
            server.url, token, username, password, client, document_root, server.log_path
        )


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLabelStudio]:
    """Start Label Studio on SQLite, and stop it at the end."""
    with running_label_studio(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


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
