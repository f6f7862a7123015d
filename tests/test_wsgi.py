"""``_wsgi:app`` under every kind of server, and ``_wsgi.py`` as a script."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from earmark.processes.discovery import command_settings
from earmark.settings import get_settings
from scripts.make_environment import install_command

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
READY_SECONDS = 60


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ENCODER", "logmel")
    monkeypatch.syspath_prepend(str(ROOT))
    get_settings.cache_clear()
    from _wsgi import Application

    yield Application()
    get_settings.cache_clear()


def test_as_asgi_3(application: Any) -> None:
    async def health() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get("/health")

    assert asyncio.run(health()).json()["status"] == "UP"


def test_as_asgi_2_with_lifespan(application: Any) -> None:
    with TestClient(application) as client:
        assert client.get("/health").json()["status"] == "UP"


def test_as_wsgi(application: Any) -> None:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ["PATH_INFO"] = "/health"
    statuses: list[str] = []
    body = b"".join(application(environ, lambda status, _headers, *_: statuses.append(status)))
    assert statuses == ["200 OK"]
    assert b'"UP"' in body


def label_studio_ml(folder: Path) -> str:
    """The command as ``make setup`` leaves it in the environment, in a folder of its own."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    command = folder / "bin" / "label-studio-ml"
    command.write_text("the package's own")
    install_command(folder, command.name, ROOT / "scripts" / "start_ml_backend.py")
    return str(command)


def test_start_of_a_folder_without_a_backend_says_so_and_fails(tmp_path: Path) -> None:
    done = subprocess.run(
        [label_studio_ml(tmp_path), "start", "nowhere"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "nowhere/_wsgi.py" in done.stderr


def test_a_failure_of_the_started_backend_is_the_exit_code(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        done = subprocess.run(
            [label_studio_ml(tmp_path), "start", ".", "--port", str(busy.getsockname()[1])],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "DATA_DIR": str(tmp_path / "data"), "ENCODER": "logmel"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "is in use" in done.stderr


@pytest.mark.parametrize("with_environment", [True, False])
def test_a_python_without_the_packages_hands_over_or_says_so(tmp_path: Path, with_environment: bool) -> None:
    shutil.copy(ROOT / "_wsgi.py", tmp_path)
    if with_environment:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        own = tmp_path / ".venv" / "bin" / "python"
        own.write_text('#!/bin/sh\necho handed over "$@"\n')
        own.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "_wsgi.py", "--port", "1"],  # without site-packages
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if with_environment:
        assert (done.returncode, done.stdout) == (0, "handed over _wsgi.py --port 1\n")
    else:
        assert done.returncode == 2
        assert "make setup" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "_wsgi.py", "--port", "{port}"],
        ["label-studio-ml", "start", ".", "--port", "{port}"],
        [sys.executable, "-m", "uvicorn", "_wsgi:app", "--port", "{port}"],
    ],
    ids=["script", "label-studio-ml", "uvicorn"],
)
def test_as_a_process_of_its_own(tmp_path: Path, command: list[str]) -> None:
    if command[0] == "label-studio-ml":
        command = [label_studio_ml(tmp_path), *command[1:]]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path / "data"),
        "ENCODER": "logmel",
        "PATH": "/usr/bin:/bin",  # no environment is activated
    }
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [part.format(port=port) for part in command],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    family = []
    try:
        _wait_until_healthy(process, port, tmp_path / "log")
        discovered = command_settings(data_dir=tmp_path / "data")
        assert discovered.port == (9090 if "uvicorn" in command else port), (
            "commands find what brings up all of it"
        )
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(READY_SECONDS)
        log.close()
    _gone, alive = psutil.wait_procs(family, timeout=READY_SECONDS)
    assert alive == []


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).json()["status"] == "UP":
                return
        except httpx.HTTPError:
            pass
    pytest.fail(f"no answer on port {port}: {log.read_text()[-2000:]}")
