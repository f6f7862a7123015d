"""Supervisor: starts, restarts and stops the child processes of one backend, by process id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from earmark.errors import EarmarkError

log = structlog.get_logger(__name__)

STOP_SECONDS = 10.0
"""How long a child may take to end after SIGTERM."""
POLL_SECONDS = 0.1
RESTART_SECONDS = 1.0


class ChildFailedError(EarmarkError):
    """A child process ended, or timed out, before it was ready."""

    reason = "child"


@dataclass
class Child:
    """A process to keep running.

    ``log``: file for its output, or None for the terminal. ``needed_by_others``: it is stopped last.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None = None
    restart: bool = True
    needed_by_others: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)


class Supervisor:
    """A group of children, stopped together.

    ``is_interrupted``: whether a signal asks for the end. An exception that a signal handler raises is lost
    where library code was just in a callback, so waiting looks at this as well.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._children: list[Child] = []
        self.is_interrupted = False

    def interrupt(self, _number: int, _frame: object) -> None:
        """Handle a signal: end what the main thread is doing."""
        self.is_interrupted = True
        raise KeyboardInterrupt

    def start(self, child: Child) -> None:
        """Start a child in a session of its own, so that Ctrl-C reaches the parent alone."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._launch(child)
        self._children.append(child)

    def wait_until(self, child: Child, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until ``ready()``.

        Raises
        ------
        ChildFailedError
            The child ended first, or timed out; the message quotes the end of its log.
        KeyboardInterrupt
            A signal asks for the end.
        """
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            ended = child.process is None or child.process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else f"was not ready after {timeout_seconds:.0f} s"
                raise ChildFailedError(f"{child.name} {what}{_log_tail(child.log)}")
            self._pause()

    def watch(self) -> None:
        """Restart children that end, until an exception (Ctrl-C) ends this call."""
        while True:
            for child in self._children:
                if child.restart and child.process is not None and child.process.poll() is not None:
                    log.warning("restarting", child=child.name, exit_code=child.process.returncode)
                    time.sleep(RESTART_SECONDS)
                    self._launch(child)
            self._pause()

    def stop(self) -> None:
        """Stop all children at once, and then those that the others need."""
        for needed in (False, True):
            group = [child for child in self._children if child.needed_by_others is needed]
            running = [child.process for child in group if child.process and child.process.poll() is None]
            end_processes([psutil.Process(process.pid) for process in running])
            for process in running:
                process.wait()
            for child in group:
                self._pid_file(child).unlink(missing_ok=True)
        self._children.clear()

    def _pause(self) -> None:
        if self.is_interrupted:
            raise KeyboardInterrupt
        time.sleep(POLL_SECONDS)

    def _launch(self, child: Child) -> None:
        output = None
        if child.log is not None:
            child.log.parent.mkdir(parents=True, exist_ok=True)
            output = child.log.open("ab")
        child.process = subprocess.Popen(
            list(child.command),
            env=dict(child.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        if output is not None:
            output.close()
        self._pid_file(child).write_text(f"{process_name(child.process.pid)} {process_name(os.getpid())}\n")

    def _pid_file(self, child: Child) -> Path:
        return self._run_dir / f"{child.name}.pid"


def stop_orphans(run_dir: Path) -> None:
    """Stop orphans: children of supervisors that were killed before they could stop them.

    A pid file names child and supervisor with their start times, so a reused process id is left
    alone, and so are the children of a supervisor that still runs.
    """
    orphans: dict[Path, psutil.Process] = {}
    for path in sorted(run_dir.glob("*.pid")):
        try:
            child, supervisor = (living_process(part) for part in path.read_text().split())
        except (OSError, ValueError):
            continue
        if child is not None and supervisor is None:
            log.warning("stopping what an earlier run left behind", child=path.stem, pid=child.pid)
            orphans[path] = child
    end_processes(list(orphans.values()))
    for path in orphans:
        path.unlink(missing_ok=True)


def process_name(pid: int) -> str:
    """Return ``<pid>@<start time>``, which identifies a process even after its id is reused."""
    return f"{pid}@{psutil.Process(pid).create_time()}"


def living_process(name: str) -> psutil.Process | None:
    """Return the process of that name, or None when it has ended; ValueError for an invalid name."""
    pid, _, started = name.partition("@")
    try:
        process = psutil.Process(int(pid))
        return process if process.create_time() == float(started) else None
    except psutil.Error:
        return None


@contextmanager
def supervised(run_dir: Path) -> Iterator[Supervisor]:
    """Yield a supervisor whose children are stopped at the end of the block, whatever ends it.

    Ctrl-C, SIGTERM and a closed terminal end the block without an error; while the children are being
    stopped these signals are ignored, so that a second Ctrl-C leaves no orphans.
    """
    stop_orphans(run_dir)
    supervisor = Supervisor(run_dir)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, supervisor.interrupt) for number in numbers}
    try:
        yield supervisor
    except KeyboardInterrupt:
        log.info("stopping")
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        supervisor.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_processes(processes: Sequence[psutil.Process]) -> None:
    """End processes and all that they started: SIGTERM, and after ``STOP_SECONDS`` for all together SIGKILL.

    A worker ends after its job. The process of a job is in a session of its own, which no signal to the
    worker's reaches.
    """
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, remaining = psutil.wait_procs(processes, timeout=STOP_SECONDS)
    started = [child for process in remaining for child in _descendants(process)]
    for process in (*remaining, *started):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs((*remaining, *started), timeout=STOP_SECONDS)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _log_tail(path: Path | None, count: int = 5) -> str:
    if path is None or not path.is_file():
        return "."
    lines = path.read_text(errors="replace").splitlines()[-count:]
    return f". The end of {path}:\n  " + "\n  ".join(lines)
