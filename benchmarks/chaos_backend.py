"""The backend of the chaos benchmark, run as its users run it, and killed as they would not.

Only what was started here is killed: processes that the pid files of this data folder name and that are
children of ours at that moment, or children of those.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
import redis

from benchmarks.common import environment_with, free_port
from earmark.jobs.redis_server import connect, redis_url
from earmark.processes.stack import api_url
from earmark.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "of-the-benchmark"
UP_SECONDS = 60.0
STOPPED_SECONDS = 10.0
POLL_SECONDS = 0.05
PAUSE_SECONDS = (1.0, 4.0)
"""Between two blows."""
TRAINING_SECONDS = 10.0
"""How long a training to kill is waited for."""
INTO_TRAINING_SECONDS = 4.0
"""How far into it, at most: about as long as it takes; what ends before is spared."""
REDIS_SECONDS = 2.0
NAMES = {"api": ("api",), "worker": ("worker-learn", "worker-predict"), "redis": ("redis",)}
BLOWS = ("api", "worker", "redis", "training", "flush")
HURRIED = {
    "TRAIN_DEBOUNCE_SECONDS": "0.5",
    "TRAIN_MAX_WAIT_SECONDS": "2",
    "TRAIN_LEASE_SECONDS": "5",
    "SYNC_INTERVAL_SECONDS": "5",
}
"""Trainings all the time, and soon after what was killed; comparisons as often as the backend allows."""


class Backend:
    """``earmark up`` with Redis, database and everything else in a folder of its own.

    Attributes
    ----------
    settings
        Those of its processes, to read its database with; ``more`` are further variables.
    blows
        How often each kind of blow fell; ``flush`` is the one that kills nothing.
    """

    def __init__(self, folder: Path, label_studio_url: str, token: str, **more: str) -> None:
        port = free_port()
        ours = {
            "DATA_DIR": str(folder / "data"),
            "PORT": str(port),
            "BIND": "127.0.0.1",
            "ENCODER": "logmel",
            "API_PASSWORD": PASSWORD,
            "LABEL_STUDIO_URL": label_studio_url,
            "LABEL_STUDIO_API_KEY": token,
            **HURRIED,
            **more,
        }
        # Nothing of this machine's own settings: its Redis above all is not ours to flush
        self.environment = environment_with({**ours, "PYTHONPATH": str(ROOT)})
        fields: dict[str, Any] = {name.lower(): value for name, value in ours.items()}
        self.settings = Settings(**{"_env_file": None, "redis_url": None, "database_url": None, **fields})
        self.folder, self.log = folder, folder / "backend.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._orphans: set[psutil.Process] = set()
        self.blows: Counter[str] = Counter()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "earmark", "up"]
        with self.log.open("ab") as output:
            # In its own folder, where there is no .env
            self._process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self.wait_until_up()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def wait_until_up(self) -> None:
        """Wait until its API answers; ends the benchmark where that takes too long."""
        if not _wait_for(self._is_up, UP_SECONDS):
            raise SystemExit(f"the backend does not come up:\n{self.last_lines()}")

    def torment(self, chance: random.Random, seconds: float, watch: Callable[[], None]) -> None:
        """Strike at random for a while, each kind of blow as often as every other.

        Parameters
        ----------
        watch
            Called before each blow; what it raises ends this.
        """
        ends, deck = time.monotonic() + seconds, list[str]()
        while True:
            if not deck:
                deck = list(BLOWS)
                chance.shuffle(deck)
            pause, which, later = chance.uniform(*PAUSE_SECONDS), chance.random(), chance.random()
            if time.monotonic() + pause >= ends:
                break
            time.sleep(pause)
            watch()
            self.strike(deck.pop(), which, later)
        time.sleep(max(0.0, ends - time.monotonic()))
        watch()

    def strike(self, blow: str, which: float = 0.0, later: float = 0.0) -> None:
        """Strike once, and count it if it fell on anything.

        Parameters
        ----------
        which
            Of several processes of a kind, in [0, 1).
        later
            How far into a training, in [0, 1) of what one may take.
        """
        if blow == "flush":
            fell = self._flush()
        elif blow == "training":
            fell = self._kill_training(later * INTO_TRAINING_SECONDS)
        else:
            names = NAMES[blow]
            victim = self.child(names[int(which * len(names))])
            fell = victim is not None and self._kill(victim)
        self.blows[blow] += fell

    def has_ended(self) -> bool:
        """Whether ``up`` itself has ended, so that it would have to be started again."""
        return self._process is None or self._process.poll() is not None

    def pause(self, name: str, seconds: float) -> None:
        """Stop one of its processes for a while (SIGSTOP), as if it hung."""
        victim = self.child(name)
        if victim is not None:
            with contextlib.suppress(psutil.Error):
                victim.suspend()
                time.sleep(seconds)
                victim.resume()

    def last_lines(self, count: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def _flush(self) -> bool:
        assert redis_url(self.settings).startswith("unix://"), "a private Redis"
        client = connect(self.settings, answer_seconds=REDIS_SECONDS)
        try:
            client.flushall()
        except redis.RedisError:
            return False  # it was killed a moment ago
        finally:
            client.close()
        return True

    def _kill_training(self, later_seconds: float) -> bool:
        """Kill the process of a training, so long after it was seen to run."""
        children = list[psutil.Process]()

        def looked() -> bool:
            worker = self.child("worker-learn")
            with contextlib.suppress(psutil.Error):
                children.extend(worker.children() if worker else [])
            return bool(children)

        if not _wait_for(looked, TRAINING_SECONDS):
            return False
        with contextlib.suppress(psutil.TimeoutExpired):
            children[0].wait(later_seconds)
            return False  # it ended before its time
        return self._kill(children[0])

    def child(self, name: str) -> psutil.Process | None:
        """One of the processes that it keeps running, by its pid file; None while there is none."""
        assert self._process is not None
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            text = (self.settings.data_dir / "run" / f"{name}.pid").read_text()
            child = psutil.Process(int(text.partition("@")[0]))
            if child.ppid() == self._process.pid and child.status() != psutil.STATUS_ZOMBIE:
                return child
        return None

    def _kill(self, victim: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            # Jobs go on without their worker; they are to end with the benchmark
            self._orphans.update(victim.children(recursive=True))
            victim.kill()
            return True
        return False

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the backend ended:\n{self.last_lines()}")
        try:
            with httpx.Client(trust_env=False, timeout=1.0) as client:
                return client.get(f"{api_url(self.settings)}/health").is_success
        except httpx.HTTPError:
            return False

    def _stop(self) -> None:
        """End it with every process that it started, now: nothing of it is needed any more."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)  # so that it starts nothing anew
            _wait_for(lambda: not self._kill_family(), STOPPED_SECONDS)
        self._process.kill()
        self._process.wait()
        for process in self._orphans:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil knows a reused process id by its start time

    def _kill_family(self) -> list[psutil.Process]:
        """Kill all that it started and that started of that; those that were still there."""
        assert self._process is not None
        children = []
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE:
                    children.append(child)
                    child.kill()
        return children


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
