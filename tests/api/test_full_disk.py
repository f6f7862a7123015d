"""On a full disk, answers go on; once there is room again, everything is stored as before."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from earmark.features.priority_lock import PriorityLock
from earmark.learning.training import learn
from earmark.services import Services
from tests.lessons import KEY, config, make_tones, receive, webhook
from tests.running import free_port
from tests.waiting import LONGEST_SECONDS, until

CONFIG = config("Low", "High")


@pytest.fixture
def tasks(services: Services, tmp_path: Path) -> list[dict[str, Any]]:
    """Six tones; the first four are learned."""
    tones = make_tones(tmp_path, ["Low", "High"] * 3)
    receive(services, *(webhook(task, CONFIG) for task in tones[:4]))
    training = learn(services, KEY)
    assert training is not None
    assert training.version
    return tones


@pytest.fixture
def server(services: Services, tmp_path: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """An API in a process of its own, which writes its log to the same disk."""
    environment = {
        **os.environ,
        "DATA_DIR": str(services.settings.data_dir),
        "PORT": str(free_port()),
        "ENCODER": "logmel",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "earmark", "serve"], env=environment, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{environment['PORT']}"
    with httpx.Client(base_url=address, timeout=LONGEST_SECONDS) as client:

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                return client.get("/health").is_success
            except httpx.HTTPError:
                return False

        try:
            until(answers, "the API answers")
            yield client, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def set_room(process: psutil.Process, room: int) -> None:
    """Limit the size of files, after which writing fails as on a full disk."""
    process.rlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def versions(client: httpx.Client, *tasks: dict[str, Any]) -> list[str]:
    body = {"tasks": list(tasks), "project": KEY, "label_config": CONFIG}
    items = client.post("/predict", json=body).raise_for_status().json()["results"]
    return [item["model_version"] for item in items if item["result"]]


@pytest.mark.slow
def test_answers_go_on_and_storing_comes_back(
    tasks: list[dict[str, Any]], server: tuple[httpx.Client, psutil.Process]
) -> None:
    client, process = server
    setup = {"project": KEY, "schema": CONFIG, "hostname": "http://127.0.0.1:9", "access_token": "token"}
    assert versions(client, tasks[0]) == ["logmel-v1"]
    set_room(process, 0)
    assert versions(client, tasks[1], tasks[4]) == ["logmel-v1"] * 2, "stored ones and new ones"
    answered = client.post("/setup", json=setup)
    assert answered.json().get("model_version") == "logmel-v1", answered.text
    refused = client.post("/webhook", json=webhook(tasks[0], CONFIG))
    assert (refused.status_code, refused.json()["reason"]) == (503, "database")
    assert "frames" in client.get("/ready").json()["notes"]
    for path in ("/", "/versions", "/metrics", "/health"):
        assert client.get(path).status_code == 200
    set_room(process, resource.RLIM_INFINITY)
    assert versions(client, tasks[5]) == ["logmel-v1"]
    assert client.post("/setup", json=setup).status_code == 200
    assert client.post("/webhook", json=webhook(tasks[0], CONFIG)).status_code == 201
    assert "frames" not in client.get("/ready").json()["notes"]


def test_where_no_lock_can_be_made_predictions_go_on_without_it() -> None:
    with PriorityLock(Path("/proc/none/lock"), background=False).priority():
        pass
