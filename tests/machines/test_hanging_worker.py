"""A worker that hangs in the middle of a training is replaced, and spoils nothing when it wakes up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from earmark.jobs.dispatcher import Dispatcher, learn_request
from earmark.learning.training import learn
from earmark.learning.training_set import fit_candidate
from earmark.monitoring.doctor.projects import projects as project_findings
from earmark.services import Services
from earmark.store.models import Training
from earmark.store.projects import remember_project
from earmark.store.registry import list_versions
from earmark.store.training_lease import Lease
from tests.lessons import KEY, config, make_tones, receive, webhook
from tests.machines.processes import Sounds, machine
from tests.waiting import until

CONFIG = config("Low", "High")
LEASE_SECONDS = 6.0
"""A worker that is only slow, on a busy machine, renews its lease in this time; else it counts as hanging."""


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shared.db'}"


class Scene:
    """A project with two webhooks that wait, whose sound is held back from the first request."""

    def __init__(self, folder: Path, services: Services, redis_url: str, sounds: Sounds) -> None:
        self.services, self.asked, self.go_on = services, threading.Event(), threading.Event()
        self._first = threading.Lock()
        sounds.before = self._hold_back
        self.tasks = make_tones(folder, ["Low", "High", "Low"])
        for task in self.tasks:
            task["data"] = {"audio": sounds.address(f"{task['id']}.wav")}
        receive(services, *(webhook(task, CONFIG) for task in self.tasks[:2]))
        changes = {
            "redis_url": redis_url,
            "train_debounce_seconds": 0.0,
            "train_lease_seconds": LEASE_SECONDS,
        }
        self._settings = services.settings.model_copy(update=changes)
        self._dispatcher = Dispatcher(self._settings, services.database)
        self.redis = redis.Redis.from_url(redis_url)
        self.environment = {
            "REDIS_URL": redis_url,
            "DATABASE_URL": services.settings.sqlalchemy_url,
            "TRAIN_LEASE_SECONDS": str(LEASE_SECONDS),
        }

    def _hold_back(self, _name: str) -> None:
        if self._first.acquire(blocking=False):
            self.asked.set()
            assert self.go_on.wait(120)

    def tick(self) -> None:
        self._dispatcher.tick(self.redis)

    def versions(self) -> list[str]:
        with self.services.database.read() as session:
            return [version.name for version in list_versions(session, KEY)]

    def outcomes(self) -> list[str]:
        with self.services.database.read() as session:
            return [training.outcome for training in session.query(Training).order_by(Training.id)]

    def trained(self, name: str) -> bool:
        self.tick()
        return name in self.versions()


@pytest.fixture
def scene(tmp_path: Path, services: Services, redis_url: str) -> Iterator[Scene]:
    (tmp_path / "sounds").mkdir()
    with Sounds(tmp_path / "sounds") as sounds:
        scene = Scene(tmp_path / "sounds", services, redis_url, sounds)
        yield scene
        scene.go_on.set()
        scene.redis.close()


def horse_of(worker: psutil.Process) -> psutil.Process:
    (horse,) = worker.children()
    return horse


def test_another_worker_takes_over_and_the_one_that_wakes_up_registers_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    learning = ("worker", "--queue", "learn")
    with machine(tmp_path / "one", scene.environment, *learning) as hung:
        scene.tick()
        assert scene.asked.wait(120)
        horse = horse_of(hung)
        hung.suspend()
        horse.suspend()
        with machine(tmp_path / "two", scene.environment, *learning):
            until(lambda: scene.trained("logmel-v1"), "the other worker takes over")
            assert scene.outcomes() == ["failed", "registered"]
            horse.resume()  # with all that it has heard, and its version to be fitted
            scene.go_on.set()
            until(lambda: horse.status() == psutil.STATUS_ZOMBIE, "the training that hung ends")
            assert "training given up" in (tmp_path / "one" / "log").read_text()
            hung.resume()
            assert scene.versions() == ["logmel-v1"]
            receive(scene.services, webhook(scene.tasks[2], CONFIG))
            until(lambda: scene.trained("logmel-v2"), "the next training")
    assert scene.outcomes() == ["failed", "registered", "registered"]


def test_a_worker_alone_ends_its_training_that_hangs(scene: Scene, tmp_path: Path) -> None:
    with machine(tmp_path / "one", scene.environment, "worker") as worker:
        scene.tick()
        assert scene.asked.wait(120)
        horse = horse_of(worker)
        horse.suspend()
        until(lambda: scene.trained("logmel-v1"), "the worker ends what hangs, and trains")
        assert not horse.is_running() or horse.status() == psutil.STATUS_ZOMBIE
    assert scene.outcomes() == ["failed", "registered"]


def test_a_training_that_lost_its_lease_stores_nothing(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker took the lease, trained, and returned it, all while this one was fitting its head."""
    import earmark.learning.training

    receive(services, *(webhook(task, CONFIG) for task in make_tones(tmp_path, ["Low", "High"])))
    inner: list[Any] = []

    def slow(*arguments: Any) -> Any:
        candidate = fit_candidate(*arguments)
        if not inner:
            inner.append(None)
            with services.database.write() as session:
                remember_project(session, KEY).lease_until = 0.0
            inner[0] = learn(services, KEY)
        return candidate

    monkeypatch.setattr(earmark.learning.training, "fit_candidate", slow)
    assert learn(services, KEY) is None
    assert inner[0].outcome == "registered"
    with services.database.read() as session:
        assert [version.name for version in list_versions(session, KEY)] == ["logmel-v1"]
        assert remember_project(session, KEY).failures == 0


def test_what_dies_again_and_again_is_tried_at_growing_intervals(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import earmark.learning.training

    class Killed(BaseException):
        """As if by the kernel: nothing after it is run, so the lease stays taken."""

    def die(*_: object) -> None:
        raise Killed

    receive(services, *(webhook(task, CONFIG) for task in make_tones(tmp_path, ["Low", "High"])))
    with monkeypatch.context() as patch:
        patch.setattr(earmark.learning.training, "load_training_set", die)
        patch.setattr(Lease, "release", lambda _self: None)
        for _ in range(3):
            with services.database.write() as session:
                remember_project(session, KEY).lease_until = 0.0
            with contextlib.suppress(Killed):
                learn(services, KEY)
    with services.database.read() as session:
        project = remember_project(session, KEY)
        trainings = session.query(Training).order_by(Training.id).all()
    assert project.failures == 2
    assert project.retry_after > trainings[-1].finished_at + services.settings.train_retry_seconds
    assert {training.outcome for training in trainings} == {"failed"}
    finding = next(iter(project_findings(services.settings)))
    assert "killed" in finding.text
    with services.database.write() as session:
        remember_project(session, KEY).lease_until = 0.0
        remember_project(session, KEY).lease_owner = None
    last_training = learn(services, KEY)
    assert last_training is not None
    assert last_training.outcome == "registered"
    with services.database.read() as session:
        assert (remember_project(session, KEY).failures, remember_project(session, KEY).retry_after) == (
            0,
            0.0,
        )


def test_the_traceback_of_a_failure_is_stored_and_shown(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import earmark.learning.training

    def trip(*_: object) -> None:
        raise ArithmeticError("no such \x00 sum")

    receive(services, *(webhook(task, CONFIG) for task in make_tones(tmp_path, ["Low", "High"])))
    monkeypatch.setattr(earmark.learning.training, "fit_candidate", trip)
    with pytest.raises(ArithmeticError):
        learn(services, KEY)
    with services.database.read() as session:
        (training,) = session.query(Training)
    assert (training.outcome, training.detail) == ("failed", "ArithmeticError: no such \ufffd sum")
    assert "in trip" in training.traceback
    finding = next(iter(project_findings(services.settings)))
    assert finding.level == "fault"
    assert "in trip" in finding.text


def test_a_job_of_a_worker_that_died_before_it_began_is_asked_for_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken from the queue, and never started: it looks as if it waited, for ever."""
    import earmark.jobs.queue

    scene.tick()
    request = learn_request(KEY, scene.services.settings)
    queue = request.queue(scene.redis)
    assert queue.count == 1
    scene.redis.delete(queue.key)
    scene.tick()
    assert queue.count == 0, "it may be about to start"
    monkeypatch.setattr(earmark.jobs.queue, "WORKER_SILENT_SECONDS", -1.0)
    scene.tick()
    assert queue.job_ids == [request.job_id]
    job = Job.fetch(request.job_id, connection=scene.redis, serializer=JSONSerializer)
    assert job.get_status() == JobStatus.QUEUED
