"""Two API processes and four workers with data folders of their own; one PostgreSQL, Redis and frames."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import pending_events
from earmark.store.models import Training
from earmark.store.registry import list_versions, roll_back
from tests.lessons import config, make_tones, webhook
from tests.machines.processes import Sounds, free_port, machine
from tests.waiting import until

CONFIG = config("Low", "High")
NUMBERS = (1, 2)


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url


def key_of(number: int) -> str:
    return f"{number}.1795198673"


def of_project(number: int, payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "project": {**payload["project"], "id": number}}


@contextlib.contextmanager
def all_machines(folder: Path, environment: dict[str, str]) -> Iterator[list[str]]:
    """Addresses of the APIs, which answer."""
    ports = [free_port() for _ in range(2)]
    with contextlib.ExitStack() as stack:
        for number, port in enumerate(ports):
            stack.enter_context(machine(folder / f"api{number}", environment | {"PORT": str(port)}, "serve"))
        for number, queues in enumerate(([], [], ["--queue", "learn"], ["--queue", "predict"])):
            stack.enter_context(machine(folder / f"worker{number}", environment, "worker", *queues))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            until(partial(_ready, url), f"{url} is ready")
        yield urls


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def test_they_answer_as_one(services: Services, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    tasks = make_tones(tmp_path / "sounds", ["Low", "High"] * 4)
    together, requests = threading.Barrier(len(NUMBERS)), Counter[str]()

    def before(name: str) -> None:
        requests[name] += 1
        if name in ("1.wav", "5.wav") and requests[name] == 1:
            together.wait(120)  # breaks unless both projects are trained at the same time

    with Sounds(tmp_path / "sounds") as sounds:
        sounds.before = before
        for task in tasks:
            task["data"] = {"audio": sounds.address(f"{task['id']}.wav")}
        environment = {
            "REDIS_URL": redis_url,
            "DATABASE_URL": services.settings.sqlalchemy_url,
            "FRAMES_URL": str(tmp_path / "frames"),
            "TRAIN_DEBOUNCE_SECONDS": "0.2",
            "TRAIN_MAX_WAIT_SECONDS": "1",
        }
        of = {1: tasks[:4], 2: tasks[4:]}
        with all_machines(tmp_path, environment) as urls:

            def post(api: int, path: str, body: dict[str, Any]) -> Any:
                answer = httpx.post(f"{urls[api]}{path}", json=body, timeout=60)
                return answer.raise_for_status().json()

            def annotate(place: int) -> None:
                for number in NUMBERS:
                    payload = webhook(of[number][place], CONFIG)
                    post((number + place) % 2, "/webhook", of_project(number, payload))

            def learned(count: int) -> bool:
                with services.database.read() as session:
                    newest = [list_versions(session, key_of(number))[:1] for number in NUMBERS]
                    waiting = [pending_events(session, key_of(number)) for number in NUMBERS]
                return not any(waiting) and all(v and v[0].annotations == count for v in newest)

            annotate(0)  # one example makes no version
            for place in range(1, 4):
                annotate(place)
                until(partial(learned, place + 1), f"version {place} of both projects")
            for number in NUMBERS:
                body = {
                    "tasks": [{"id": task["id"], "data": task["data"]} for task in of[number]],
                    "project": key_of(number),
                    "label_config": CONFIG,
                }
                first, other = (post(api, "/predict", body) for api in range(2))
                assert first == other
                assert {item["model_version"] for item in first["results"]} == {"logmel-v3"}
                with services.database.write() as session:
                    roll_back(session, key_of(number), services.encoder_identity())
                versions = [post(api, "/setup", {"project": key_of(number)}) for api in range(2)]
                assert [answer["model_version"] for answer in versions] == ["logmel-v2"] * 2
                assert post(1, "/predict", body) == post(0, "/predict", body)
    with services.database.read() as session:
        trainings = session.query(Training).order_by(Training.started_at).all()
    trainings = [training for training in trainings if training.outcome != "nothing"]
    assert {training.outcome for training in trainings} <= {"registered", "rejected"}
    for number in NUMBERS:
        own = [training for training in trainings if training.project_key == key_of(number)]
        assert len(own) == 3
        for before_it, after in itertools.pairwise(own):
            assert before_it.finished_at <= after.started_at
    assert len(list((tmp_path / "frames").glob("logmel-*/*/*.frames"))) == 8
    settings = Settings(_env_file=None, data_dir=tmp_path / "worker0")
    assert not (settings.data_dir / "frames").exists()
