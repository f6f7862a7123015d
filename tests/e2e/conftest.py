"""A real Label Studio for the whole test session, in a folder and on a port of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from label_studio_sdk import LabelStudio

from backend.labelstudio.server import ADDRESS, LabelStudioServer
from backend.supervisor import supervised

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 240.0


@dataclass(frozen=True)
class RunningLabelStudio:
    """Where it is and how to get in; ``token`` is a legacy token, ``client`` the SDK's."""

    url: str
    token: str
    username: str
    password: str
    client: Any
    document_root: Path

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


def _executable() -> Path:
    named = os.environ.get("LABEL_STUDIO_EXECUTABLE")
    return Path(named) if named else ROOT / ".venv-label-studio" / "bin" / "label-studio"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLabelStudio]:
    """Start Label Studio, and stop it at the end; without one installed, the tests are skipped."""
    executable = _executable()
    if not executable.is_file():
        pytest.skip("make .venv-label-studio")
    folder = tmp_path_factory.mktemp("label-studio")
    account = ("test@example.com", "a-test-password", "0123456789abcdef0123456789abcdef01234567")
    document_root = folder / "served"
    # Supervised, so that it ends with the tests when they are terminated, too.
    with supervised(folder / "run") as supervisor:
        server = LabelStudioServer(
            executable, folder / "data", _free_port(), *account, document_root, supervisor
        )
        server.wait_until_ready(READY_SECONDS)
        username, password, token = account
        client = LabelStudio(base_url=server.url, api_key=token)
        yield RunningLabelStudio(server.url, token, username, password, client, document_root)
