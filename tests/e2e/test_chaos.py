"""Processes are killed at random while annotators work; the head ends up trained on what they hold."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from earmark.labels.label_config import parse_label_config
from earmark.processes.stack import api_url, child_environment
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.annotations import live_annotations
from earmark.store.events import pending_events
from earmark.store.registry import active_version
from scripts.demo_clips import make_clips
from scripts.demo_project import connect, import_clips
from scripts.demo_truth import true_result
from tests.e2e.test_sync import held
from tests.waiting import until

ROOT = Path(__file__).parents[2]
ROUNDS = 6
UP_SECONDS = 60.0
SETTLED_SECONDS = 150.0

pytestmark = pytest.mark.e2e


def kill_one(chance: random.Random, backend: int) -> str:
    """``kill -9`` one process that the backend started, or a training in the middle."""
    wanted = chance.choice(("redis", "worker", "serve"))
    children = []
    for child in psutil.Process(backend).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = child.cmdline()
            if any(wanted in Path(word).name for word in words[:4]):
                children.append(child)
    if children:
        os.kill(chance.choice(children).pid, signal.SIGKILL)
    return wanted


def test_nothing_is_lost_whatever_is_killed(label_studio: Any, tmp_path: Path) -> None:
    chance = random.Random(20)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        port=port,
        encoder="logmel",
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
    )
    environment = {
        **child_environment(settings),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "TRAIN_DEBOUNCE_SECONDS": "0.5",
        "TRAIN_MAX_WAIT_SECONDS": "2",
    }
    for name in ("REDIS_URL", "DATABASE_URL"):
        environment.pop(name, None)
    clips = make_clips(tmp_path, count=18, seed=3)
    client = label_studio.client
    project = client.projects.create(
        title="Chaos", label_config=(ROOT / "label_config.xml").read_text(encoding="utf-8")
    )
    tasks = import_clips(client, label_studio.url, label_studio.token, project.id, tmp_path, clips)
    with _running(environment, tmp_path / "backend.log") as backend:
        _wait_until_up(settings)
        loop = connect(client, label_studio.url, project, api_url(settings), tasks)
        controls = parse_label_config(loop.label_config)
        numbers, made, killed = sorted(loop.clips), list[int](), list[str]()
        for turn in range(ROUNDS):
            for number in numbers[3 * turn : 3 * turn + 3]:
                result = true_result(loop.clips[number], controls)
                made.append(client.annotations.create(id=number, result=result).id)
                if chance.random() < 0.5:
                    killed.append(kill_one(chance, backend))
            again = chance.choice(made)
            if chance.random() < 0.5:
                client.annotations.update(id=again, result=true_result(loop.clips[numbers[turn]], controls))
            else:
                client.annotations.delete(id=again)
                made.remove(again)
            killed.append(kill_one(chance, backend))
        assert {"redis", "worker", "serve"} == set(killed), "the seed kills each kind at least once"
        expected = held(label_studio, project)
        assert expected.keys() == set(made)
        with Services(settings) as services:
            _wait_until_learnt(services, loop.project_key, expected, api_url(settings))


@contextlib.contextmanager
def _running(environment: dict[str, str], log: Path) -> Iterator[int]:
    """``earmark up``, as its users run it; its process id."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", "earmark", "up"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_up(settings: Settings) -> None:
    def up() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{api_url(settings)}/health", timeout=1).status_code == httpx.codes.OK
        return False

    until(up, "the backend is up", UP_SECONDS)


def _wait_until_learnt(services: Services, key: str, expected: dict[int, Any], url: str) -> None:
    """Until the version that is served was trained on exactly the expected annotations."""

    def learned() -> str:
        with services.database.read() as session:
            held_results = {row.annotation_id: row.result for row, _ in live_annotations(session, key)}
            waiting = pending_events(session, key)
            version = active_version(session, key, services.encoder_identity())
        settled = (
            held_results == expected and not waiting and version and version.annotations == len(expected)
        )
        return version.name if settled and version else ""

    until(learned, "a version that was trained on exactly what is expected", SETTLED_SECONDS)
    name = learned()
    answer = httpx.post(f"{url}/setup", json={"project": key}, timeout=10).raise_for_status()
    assert answer.json()["model_version"] == name
