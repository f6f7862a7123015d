"""Requests end within their time budget, and slow sounds do not delay others."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

import earmark.audio.source
from earmark.api import protocol, request_pool
from earmark.api.app import create_app
from earmark.concurrency.deadline import Deadline
from earmark.jobs.dispatcher import due_jobs
from earmark.learning.awaited_sounds import fetch_awaited
from earmark.learning.training import learn
from earmark.monitoring.doctor.machine import frames
from earmark.prediction.predictor import Predictor
from earmark.services import COMPUTE_SLOTS, Services
from earmark.settings import Settings
from earmark.store.models import Project, SoundFault
from tests.audio.sound_server import Server, Trickle, sound
from tests.lessons import KEY, config, make_tones, receive, webhook
from tests.waiting import until

pytestmark = pytest.mark.slow

CONFIG = config("Low", "High")


@pytest.fixture
def tones(tmp_path: Path, services: Services) -> list[dict[str, Any]]:
    """Ten tasks, of which eight are annotated and learned."""
    tasks = make_tones(tmp_path, ["Low", "High"] * 5)
    receive(services, *(webhook(task, CONFIG) for task in tasks[:8]))
    learn(services, KEY)
    return tasks


def remote(server: Server, task: dict[str, Any], answer: Any = None) -> dict[str, Any]:
    """The same task with its sound on a server."""
    path = f"/{task['id']}.wav"
    content = sound(Path(task["data"]["audio"]).read_bytes())
    server.answers[path] = content if answer is None else answer.then(content)
    return {**task, "data": {"audio": server.url + path}}


def ask(client: TestClient, tasks: list[dict[str, Any]], key: str = KEY) -> list[dict[str, Any]]:
    answer = client.post("/predict", json={"tasks": tasks, "project": key, "label_config": CONFIG})
    assert answer.status_code == 200
    items: list[dict[str, Any]] = answer.json()["results"]
    return items


def test_a_slow_sound_takes_no_answer_from_its_neighbours_and_is_kept_when_it_comes(
    services: Services, tones: list[dict[str, Any]], server: Server, trickle: Trickle
) -> None:
    slow = remote(server, tones[8], trickle)
    tasks = [slow, remote(server, tones[9]), tones[0]]
    answer = Predictor(services).predict(tasks, KEY, CONFIG, Deadline(1.0))
    assert answer.unreached == (0,)
    assert ["result" in item for item in answer.items] == [False, True, True]
    assert answer.failures == {"out_of_time": 1}
    trickle.enough.set()
    until(lambda: services.extractor().find_local(slow["data"]["audio"], None), "the slow sound is kept")
    assert Predictor(services).predict([slow], KEY, CONFIG, Deadline(60)).unreached == ()
    assert [path for path, _ in server.requests].count("/9.wav") == 1


def test_slow_requests_stop_no_others(
    settings: Settings, tones: list[dict[str, Any]], server: Server, trickle: Trickle
) -> None:
    slow = [remote(server, {**tones[8], "id": 100 + number}, trickle) for number in range(12)]
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(12) as threads:
        waiting = [threads.submit(ask, client, [task]) for task in slow]
        until(lambda: len(server.requests) >= COMPUTE_SLOTS, "slow sounds are being fetched")
        assert ask(client, [tones[9]], "2.1795198673")[0]["result"] == []
        assert not any(request.done() for request in waiting)
        trickle.enough.set()
        assert all(request.result()[0]["result"] for request in waiting)


def test_the_same_project_is_answered_while_few_of_its_requests_wait(
    settings: Settings, tones: list[dict[str, Any]], server: Server, trickle: Trickle
) -> None:
    slow = [remote(server, {**tones[8], "id": 100 + number}, trickle) for number in range(4)]
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(ask, client, [task]) for task in slow]
        until(lambda: len(server.requests) == 4, "slow sounds are being fetched")
        assert ask(client, [tones[9]])[0]["result"]
        assert not any(request.done() for request in waiting)
        trickle.enough.set()


def test_reading_large_files_counts(
    services: Services, tones: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough, read = threading.Event(), []

    def slowly(path: Path) -> str:
        read.append(path)
        enough.wait(60)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(earmark.audio.source, "sha256_of", slowly)
    new = []
    for number in range(50):
        (tmp_path / f"new{number}.wav").write_bytes(Path(tones[9]["data"]["audio"]).read_bytes())
        new.append({"id": 100 + number, "data": {"audio": str(tmp_path / f"new{number}.wav")}})
    answer = Predictor(services).predict([*new, tones[0]], KEY, CONFIG, Deadline(1.0))
    assert answer.unreached == tuple(range(50))
    assert answer.items[50]["result"]
    assert len(read) <= earmark.audio.source.FETCH_THREADS_A_HOST
    enough.set()


def test_a_request_whose_thread_hangs_is_answered(
    settings: Settings, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = threading.Event()
    monkeypatch.setattr(Predictor, "_predict_task", lambda *_: enough.wait(60))
    monkeypatch.setattr(request_pool, "GRACE_SECONDS", 0.0)
    hasty = settings.model_copy(update={"predict_budget_seconds": 0.2})
    with TestClient(create_app(hasty)) as client:
        for _ in range(protocol.PREDICT_THREADS_A_PROJECT + 1):  # also one that gets no thread
            (item,) = ask(client, [tones[9]])
            assert item == {"model_version": "logmel-v1"}
        enough.set()


def test_a_budget_that_passed_before_a_thread_was_free_does_nothing(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    now = [0.0]
    deadline = Deadline(80.0, clock=lambda: now[0])
    now[0] = 81.0
    assert Predictor(services).predict(tones[8:], KEY, CONFIG, deadline).unreached == (0, 1)


def test_encoding_is_given_up_at_the_deadline(services: Services, tones: list[dict[str, Any]]) -> None:
    looks = iter(range(1000))
    # Time passes with each look at the clock: enough to begin with the sound, too little to end it.
    deadline = Deadline(6.5, clock=lambda: float(next(looks)))
    answer = Predictor(services).predict([tones[8]], KEY, CONFIG, deadline)
    assert answer.unreached == (0,)
    located = services.extractor().find_local(tones[8]["data"]["audio"], None)
    assert located is not None
    assert not services.extractor().holds(located)


def test_a_training_leaves_out_what_is_slow_says_so_and_learns_it_later(
    services: Services, settings: Settings, tmp_path: Path, server: Server, trickle: Trickle
) -> None:
    tasks = make_tones(tmp_path, ["Low", "High"] * 4)
    late = remote(server, tasks[7], trickle)
    hasty = Services(settings.model_copy(update={"train_fetch_seconds": 0.3}), background=True)
    receive(services, *(webhook(task, CONFIG) for task in [*tasks[:7], late]))
    training = learn(hasty, KEY)
    assert training is not None
    assert training.outcome == "registered"
    assert "8" in training.detail
    assert late["data"]["audio"] in training.detail
    with services.database.read() as session:
        (fault,) = session.scalars(select(SoundFault))
        project = session.get_one(Project, KEY)
    assert (fault.address, fault.reason) == (late["data"]["audio"], "too_slow")
    assert project.sounds_awaited == [8]

    def functions(moment: float) -> list[str]:
        return [request.function for request, _ in due_jobs(services.database, settings, moment)]

    assert "fetch" not in functions(project.fetch_after - 1)
    assert "fetch" in functions(project.fetch_after)
    trickle.enough.set()
    assert fetch_awaited(hasty, KEY) == 1
    again = learn(hasty, KEY)
    assert again is not None
    assert again.detail == ""
    with services.database.read() as session:
        assert session.get_one(Project, KEY).sounds_awaited is None
    hasty.close()


def test_a_file_that_many_ask_for_is_encoded_once(services: Services, tones: list[dict[str, Any]]) -> None:
    encoder, gate, calls = services.encoder(), threading.Barrier(4), []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(encoder, name)

        def frames(self, blocks: Any) -> Any:
            calls.append(1)
            return encoder.frames(blocks)

    services.encoder = Counting  # type: ignore[method-assign]
    services._extractors.clear()

    def predict() -> int:
        gate.wait(60)
        return len(Predictor(services).predict([tones[8]], KEY, CONFIG).items)

    with ThreadPoolExecutor(4) as threads:
        assert [future.result() for future in [threads.submit(predict) for _ in range(4)]] == [1] * 4
    assert len(calls) == 1


def test_answers_come_where_frames_cannot_be_stored(
    services: Services, settings: Settings, tones: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (settings.data_dir / "frames").iterdir():  # of the encoder, and of band levels
        for number, part in enumerate(folder.iterdir()):
            part.rename(settings.data_dir / f"{folder.name}-{number}")
            part.write_bytes(b"")  # no folder: also for a superuser, whom permissions do not keep out
        for name in (f"{n:02x}" for n in range(256)):
            (folder / name).touch()
    answer = Predictor(services).predict(tones[7:], KEY, CONFIG)
    assert all(item["result"] for item in answer.items)
    assert capsys.readouterr().out.count("frames are not stored") <= 1
    assert "cannot be stored" in services.frames_fault()


def test_the_doctor_says_that_frames_cannot_be_stored(settings: Settings) -> None:
    settings.data_dir.mkdir()
    assert list(frames(settings)) == []
    for path in (settings.data_dir / "frames").iterdir():
        path.unlink()
    (settings.data_dir / "frames").rmdir()
    (settings.data_dir / "frames").touch()
    (finding,) = frames(settings)
    assert finding.level == "fault"
    assert finding.remedy
