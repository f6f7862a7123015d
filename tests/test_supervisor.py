"""Children start, are watched, and stop; nothing else is touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from backend.errors import PortInUseError
from backend.supervisor import Child, ChildFailedError, Supervisor, check_ports_free, supervised

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def sleeper(tmp_path: Path, name: str = "sleeper") -> Child:
    return Child(name, SLEEPER, dict(os.environ), tmp_path / f"{name}.log", restart=False)


def pid_of(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


def test_children_end_with_the_block_and_strangers_live_on(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL)
    try:
        with supervised(tmp_path / "run") as supervisor:
            child = sleeper(tmp_path)
            supervisor.start(child)
            supervisor.wait_until(child, lambda: (tmp_path / "sleeper.log").read_text() == "up\n", 20)
            pid = pid_of(child)
        assert not psutil.pid_exists(pid)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_ctrl_c_ends_the_block_quietly(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    with supervised(tmp_path / "run") as supervisor:
        supervisor.start(child)
        os.kill(os.getpid(), signal.SIGINT)
        supervisor.watch()
    assert child.process is not None
    assert child.process.poll() is not None


def test_a_child_that_a_killed_parent_left_behind_is_replaced(tmp_path: Path) -> None:
    first, second = sleeper(tmp_path), sleeper(tmp_path)
    Supervisor(tmp_path / "run").start(first)  # its supervisor is gone without stopping it
    with supervised(tmp_path / "run") as supervisor:
        supervisor.start(second)
        assert first.process is not None
        assert first.process.wait(20) is not None
        assert second.process is not None
        assert second.process.poll() is None


def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    stranger = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL)
    try:
        (tmp_path / "run" / "sleeper.pid").write_text(f"{stranger.pid} 1.0\n")
        with supervised(tmp_path / "run") as supervisor:
            supervisor.start(sleeper(tmp_path))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_child_that_ends_early_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no luck today')"]
    child = Child("unlucky", command, dict(os.environ), tmp_path / "unlucky.log", restart=False)
    with supervised(tmp_path / "run") as supervisor:
        supervisor.start(child)
        with pytest.raises(ChildFailedError, match=r"(?s)unlucky ended.*no luck today"):
            supervisor.wait_until(child, lambda: False, 20)


def test_a_busy_port_is_reported_with_the_way_out() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"Port {port} is in use.*PORT={port + 1}"):
            check_ports_free({"PORT": ("127.0.0.1", port)})
    check_ports_free({"PORT": ("127.0.0.1", port)})
