"""Our own Label Studio as a process, with a stand-in for its executable."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import psutil
import pytest

from earmark.processes.supervisor import ChildFailedError
from scripts.label_studio_server import LabelStudioServer

STAND_IN = f"""#!{sys.executable}
import http.server, os, sys
print("stand-in starts in", os.environ["LABEL_STUDIO_BASE_DATA_DIR"], flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def make_server(folder: Path, program: str) -> LabelStudioServer:
    executable = folder / "label-studio"
    executable.write_text(program)
    executable.chmod(0o700)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return LabelStudioServer(
        executable, folder / "data", port, "u@example.com", "password", "token1", folder / "root"
    )


def test_it_starts_answers_and_stops(tmp_path: Path) -> None:
    server = make_server(tmp_path, STAND_IN)
    waits: list[bool] = []
    with server:
        server.wait_until_ready(30, on_wait=lambda: waits.append(True))
        pid = int((tmp_path / "data" / "run" / "label-studio.pid").read_text().partition("@")[0])
        assert server.is_ready()
        assert psutil.pid_exists(pid)
    assert waits
    assert not server.is_ready()
    assert not psutil.pid_exists(pid)
    assert str(tmp_path / "data") in server.log_path.read_text()
    assert (tmp_path / "root").is_dir()


def test_one_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = make_server(tmp_path, f"#!{sys.executable}\nraise SystemExit('no such database')\n")
    with server, pytest.raises(ChildFailedError, match="no such database"):
        server.wait_until_ready(30)


def test_nothing_of_the_caller_leaks_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaks = (
        "REDIS_HOST",
        "HOST",
        "DEBUG",
        "DATABASE_NAME",
        "LABEL_STUDIO_POSTGRE_HOST",
        "http_proxy",
        "PYTHONPATH",
    )
    for name in leaks:
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("LABEL_STUDIO_HOST", "leaked")
    environment = make_server(tmp_path, STAND_IN).environment()
    assert "leaked" not in environment.values()
    assert not set(leaks) & set(environment)
    assert environment["PATH"]


def test_both_protections_against_private_addresses_are_off(tmp_path: Path) -> None:
    environment = make_server(tmp_path, STAND_IN).environment()
    assert environment["LABEL_STUDIO_ML_BLOCK_LOCAL_IP"] == "false"
    assert environment["LABEL_STUDIO_SSRF_PROTECTION_ENABLED"] == "false"
    assert environment["COLLECT_ANALYTICS"] == "False"
