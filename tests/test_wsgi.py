"""``_wsgi:app`` under every kind of server, and ``_wsgi.py`` as a script."""

from __future__ import annotations

import asyncio
import os
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

from backend.settings import get_settings

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


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "_wsgi.py", "--port", "{port}"],
        [str(Path(sys.executable).parent / "label-studio-ml"), "start", ".", "--port", "{port}"],
        [sys.executable, "-m", "uvicorn", "_wsgi:app", "--port", "{port}"],
    ],
    ids=["script", "label-studio-ml", "uvicorn"],
)
def test_as_a_process_of_its_own(tmp_path: Path, command: list[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path / "data"),
        "ENCODER": "logmel",
        # label-studio-ml runs whichever "python" comes first
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
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
