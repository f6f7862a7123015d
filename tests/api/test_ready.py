"""``/ready`` and ``/metrics`` answer correctly in bounded time when services hang or are down."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from rq import Worker
from rq.serializers import JSONSerializer

from earmark.api.app import create_app
from earmark.encoders.weights import cnn14_weights
from earmark.errors import SoundUnreadableError
from earmark.jobs import dispatcher
from earmark.jobs.dispatcher import Dispatcher
from earmark.jobs.queue import job_queue
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import answers, connect, server_command
from earmark.monitoring import prometheus, readiness
from earmark.monitoring.prometheus import FolderSizes
from earmark.monitoring.readiness import ANSWER_SECONDS, Readiness
from earmark.processes.supervisor import Child, supervised
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import record_event
from earmark.store.models import Training
from earmark.store.registry import register_version
from earmark.store.sound_errors import remember_fault
from tests.encoders.weights.zenodo import closed_port, source_at
from tests.running import ALLOWED_IN_TESTS
from tests.waiting import until

ROOT = Path(__file__).parents[2]
KEY = "1.1795198673"
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}


@pytest.fixture
def redis_child(settings: Settings) -> Iterator[Child]:
    with supervised(settings.data_dir / "run") as supervisor:
        child = Child("redis", server_command(settings), {}, settings.data_dir / "redis.log", restart=False)
        supervisor.start(child)
        supervisor.wait_until(child, lambda: answers(settings), 20)
        yield child


@pytest.fixture
def worker(settings: Settings, redis_child: Child) -> Iterator[Worker]:
    connection = connect(settings)
    queues = [job_queue(connection, kind) for kind in QueueKind]
    worker = Worker(queues, connection=connection, serializer=JSONSerializer)
    worker.register_birth()
    yield worker
    connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up sooner, as nothing else decides how long a test of it takes."""
    for module in (dispatcher, prometheus, readiness):
        monkeypatch.setattr(module, "REDIS_SECONDS", 0.2)
    monkeypatch.setattr(readiness, "ANSWER_SECONDS", 0.4)


def faults(services: Services) -> dict[str, str]:
    """What is found by a client whose checks are new."""
    checks = Readiness(services)
    try:
        return checks.faults()
    finally:
        checks.close()


def samples(client: TestClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels, in the alphabetical order of their names."""
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_ready_when_all_parts_work(settings: Settings, services: Services, worker: Worker) -> None:
    with TestClient(create_app(settings)) as client:
        answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "faults": {}, "notes": {}})


def test_each_missing_part_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cnn14_weights, "ZENODO", source_at(closed_port()))
    lonely = settings.model_copy(update={"encoder": "cnn14"})
    with TestClient(create_app(lonely)) as client:
        answer = client.get("/ready")
    assert answer.status_code == 503
    assert set(answer.json()["faults"]) == {"redis", "encoder"}
    assert "earmark weights" in answer.json()["faults"]["encoder"]


def test_a_checkpoint_that_is_no_good_is_named_and_nobody_waits(
    settings: Settings, services: Services, worker: Worker, tmp_path: Path
) -> None:
    own = tmp_path / "own.pth"
    own.write_bytes(bytes(range(250)) * 4)
    services.settings = settings.model_copy(update={"encoder": "cnn14", "cnn14_checkpoint": own})
    started = time.monotonic()
    reason = faults(services)["encoder"]
    assert time.monotonic() - started < ANSWER_SECONDS
    assert "is being read" in reason or "does not hold" in reason
    until(lambda: "is being read" not in faults(services)["encoder"], "the checkpoint is read")
    assert faults(services)["encoder"].startswith(
        f"{own} does not hold the weights of Cnn14: point CNN14_CHECKPOINT to "
    )
    own.unlink()
    assert faults(services)["encoder"].startswith(f"CNN14_CHECKPOINT is {own}, which is no file")


def test_without_a_worker_nothing_is_ready(services: Services, redis_child: Child) -> None:
    assert "earmark worker" in faults(services)["redis"]


@pytest.mark.usefixtures("impatient")
def test_a_redis_that_hangs_is_not_waited_for(
    settings: Settings, services: Services, worker: Worker, redis_child: Child
) -> None:
    assert redis_child.process is not None
    os.kill(redis_child.process.pid, signal.SIGSTOP)
    try:
        assert set(faults(services)) == {"redis"}
        with TestClient(create_app(settings)) as client:
            event = {"action": "START_TRAINING", "project": PROJECT}
            assert client.post("/webhook", json=event).status_code == 201
            assert samples(client)["earmark_redis_up", ()] == 0
            assert samples(client)["earmark_events_waiting", ()] == 1
    finally:
        os.kill(redis_child.process.pid, signal.SIGCONT)


@pytest.mark.usefixtures("impatient")
def test_a_black_hole_is_not_waited_for(services: Services) -> None:
    with socket.socket() as hole, socket.socket() as filling:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        filling.connect(hole.getsockname())
        services.settings = services.settings.model_copy(
            update={"redis_url": f"redis://127.0.0.1:{hole.getsockname()[1]}/0"}
        )
        assert set(faults(services)) == {"redis"}


@pytest.mark.usefixtures("impatient")
def test_a_database_that_cannot_be_written_is_noticed(services: Services, worker: Worker) -> None:
    """Held by another writer, it is not waited for; another check starts no second thread."""
    checks = Readiness(services)
    with services.database.write() as session:
        session.connection()
        assert "hangs" in checks.faults()["database"]
        assert "hangs" in checks.faults()["database"]
    checks.close()


def test_metrics_tell_what_the_database_knows(
    settings: Settings, services: Services, redis_child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the dispatcher may find the webhook due before the metrics are read
    monkeypatch.setattr(Dispatcher, "tick", lambda *_: 0)
    with services.database.write() as session:
        record_event(session, {"action": "PROJECT_UPDATED", "project": PROJECT})
        now = time.time()
        for outcome in ("registered", "registered", "failed"):
            session.add(Training(project_key=KEY, started_at=now, finished_at=now, outcome=outcome))
        for _ in range(2):
            register_version(session, KEY, "logmel", "logmel-1", b"head", {"tags": {"lwlrap": 0.75}}, 4)
        remember_fault(session, "/a.wav", SoundUnreadableError("a.wav is not sound: replace it."))
    frames = settings.data_dir / "frames" / "logmel-1" / "ab"
    frames.mkdir(parents=True)
    (frames / "x.frames").write_bytes(b"1234567")
    with TestClient(create_app(settings)) as client:
        client.get("/versions")
        metrics = samples(client)
    assert metrics["earmark_events_waiting", ()] == 1
    assert 0 <= metrics["earmark_event_lag_seconds", ()] < 60
    assert metrics["earmark_trainings_total", ("registered",)] == 2
    assert metrics["earmark_trainings_total", ("failed",)] == 1
    assert metrics["earmark_active_version_number", ("logmel-1", KEY)] == 2
    assert metrics["earmark_active_version_lwlrap", ("tags", "logmel-1", KEY)] == 0.75
    assert metrics["earmark_bad_sounds", ("unreadable",)] == 1
    assert metrics["earmark_store_bytes", ("frames",)] == 7
    assert metrics["earmark_store_bytes", ("database",)] > 0
    assert metrics["earmark_redis_up", ()] == 1
    for queue in ("learn", "predict"):
        assert metrics["earmark_queue_jobs", (queue,)] == 0
        assert metrics["earmark_workers", (queue,)] == 0
    assert metrics["earmark_requests_total", ("/versions", "200")] == 1
    assert metrics["earmark_request_duration_seconds_count", ("/versions",)] == 1


def test_names_follow_the_conventions(settings: Settings) -> None:
    """Those that promtool checks: help for each, base units, ``_total`` for counters and only there."""
    with TestClient(create_app(settings)) as client:
        client.get("/versions")
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.name.startswith("earmark_")
        assert family.documentation
        for sample in family.samples:
            assert sample.name.endswith("_total") == (
                family.type == "counter" and not sample.name.endswith("_created")
            )
        assert not {"milliseconds", "megabytes", "percent", "minutes", "hours"} & set(family.name.split("_"))


def test_strangers_paths_make_no_series(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        for number in range(20):
            client.get(f"/nowhere/{number}")
        metrics = samples(client)
    assert metrics["earmark_requests_total", ("other", "404")] == 20
    assert not [key for key in metrics if "nowhere" in str(key)]


@pytest.mark.slow
def test_several_processes_behind_one_port_count_together(tmp_path: Path) -> None:
    shared = tmp_path / "metrics"
    shared.mkdir()
    code = (
        "from fastapi.testclient import TestClient; from earmark.api.app import create_app; "
        "from earmark.settings import load_settings; c = TestClient(create_app(load_settings())); "
        "c.get('/versions'); print(c.get('/metrics').text)"
    )
    environment = {
        **ALLOWED_IN_TESTS,
        "DATA_DIR": str(tmp_path / "data"),
        "ENCODER": "logmel",
        "ALLOWED_HOSTS": "testserver",
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
    }
    texts = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    line = 'earmark_requests_total{endpoint="/versions",status="200"} '
    assert [line + count in text for text, count in zip(texts, ("1.0", "2.0"), strict=True)] == [True, True]
    assert "earmark_events_waiting 0.0" in texts[1]


def test_folders_are_counted_once_in_a_while(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    sizes = FolderSizes({"here": tmp_path, "nowhere": tmp_path / "nowhere"})
    assert sizes.read() == {"here": 2, "nowhere": 0}
    (tmp_path / "b").write_bytes(b"345")
    assert sizes.read() == {"here": 2, "nowhere": 0}


def logged(text: str, event: str) -> dict[str, Any]:
    import json

    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return next(line for line in lines if line["event"] == event)


def test_one_id_leads_from_the_webhook_to_the_training(
    settings: Settings, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    from earmark.learning.training import learn

    with TestClient(create_app(settings.model_copy(update={"log_format": "json"}))) as client:
        event = {"action": "START_TRAINING", "project": PROJECT}
        number = client.post("/webhook", json=event, headers={"X-Request-ID": "from-ls"}).json()["event"]
    learn(services, KEY)
    text = capsys.readouterr().err
    stored, ended = logged(text, "webhook stored"), logged(text, "training ended")
    assert (stored["request_id"], stored["event_id"]) == ("from-ls", number)
    assert ended["event_ids"] == [number, number]
