"""Child processes are started, restarted and stopped; other processes are not affected."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from earmark.processes import supervisor as supervisor_module
from earmark.processes.supervisor import (
    Child,
    ChildFailedError,
    stop_orphans,
    supervised,
)
from tests.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize("waiting", ["for a child", "for all"])
def test_ctrl_c_that_library_code_loses_ends_the_block_too(tmp_path: Path, waiting: str) -> None:
    """As where the signal comes during a callback whose exceptions are ignored."""
    child = sleeper(tmp_path)
    with supervised(tmp_path / "run") as supervisor:
        supervisor.start(child)
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        if waiting == "for a child":
            supervisor.wait_until(child, lambda: False, 600)
        supervisor.watch()
    assert child.process is not None
    assert child.process.poll() is not None


def test_what_a_killed_supervisor_left_behind_is_stopped(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    code = (
        "import os, sys; from pathlib import Path; "
        "from earmark.processes.supervisor import Child, Supervisor; "
        f"child = Child('orphan', {SLEEPER!r}, dict(os.environ), Path({str(tmp_path / 'log')!r})); "
        f"Supervisor(Path({str(run_dir)!r})).start(child); print(child.process.pid); sys.stdout.flush(); "
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    orphan = psutil.Process(int(killed.stdout))
    assert orphan.is_running()
    with supervised(run_dir):
        psutil.wait_procs([orphan], timeout=20)
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_children_of_a_living_supervisor_are_left_alone(tmp_path: Path) -> None:
    with supervised(tmp_path / "run") as supervisor:
        child = sleeper(tmp_path)
        supervisor.start(child)
        stop_orphans(tmp_path / "run")
        assert child.process is not None
        assert child.process.poll() is None


def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    stranger = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL)
    try:
        (tmp_path / "run" / "sleeper.pid").write_text(f"{stranger.pid}@1.0 1@1.0\n")
        (tmp_path / "run" / "damaged.pid").write_text("12 apples\n")
        with supervised(tmp_path / "run"):
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


def test_what_a_child_started_in_a_session_of_its_own_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the process of a job does, whose worker waits for its end."""
    monkeypatch.setattr(supervisor_module, "STOP_SECONDS", 0.5)
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"started = subprocess.Popen({SLEEPER!r}, start_new_session=True); print(started.pid, flush=True); "
        "started.wait()"
    )
    child = Child("worker", [sys.executable, "-c", code], dict(os.environ), tmp_path / "log", restart=False)
    with supervised(tmp_path / "run") as supervisor:
        supervisor.start(child)
        supervisor.wait_until(child, lambda: (tmp_path / "log").read_text().endswith("up\n"), 20)
        grandchild = psutil.Process(int((tmp_path / "log").read_text().split()[0]))
    psutil.wait_procs([grandchild], timeout=20)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_children_that_others_need_are_stopped_last(tmp_path: Path) -> None:
    order = tmp_path / "order"

    def noting(name: str, needed: bool) -> Child:
        code = (
            "import signal, sys, time; "
            f"note = lambda *_: (open({str(order)!r}, 'a').write({name!r}), sys.exit()); "
            "signal.signal(signal.SIGTERM, note); "
            "print('up', flush=True); time.sleep(600)"
        )
        command = [sys.executable, "-c", code]
        return Child(name, command, dict(os.environ), tmp_path / name, False, needed_by_others=needed)

    with supervised(tmp_path / "run") as supervisor:
        for child in (noting("a", True), noting("b", False)):
            supervisor.start(child)
            until((tmp_path / child.name).read_text, f"{child.name} runs")
    assert order.read_text() == "ba"
