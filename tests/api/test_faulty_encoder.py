"""Label Studio gets usable answers when the encoder's weights are damaged or missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from earmark.api.app import create_app
from earmark.encoders import is_built
from earmark.encoders.background_fetch import require_prepared
from earmark.encoders.weights import cnn14_weights
from earmark.errors import WeightsError
from earmark.jobs.dispatcher import TICK_SECONDS, Dispatcher
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.settings import Settings
from tests.encoders.weights.zenodo import CONTENT, Server, Zenodo, closed_port, source_at, stalled
from tests.waiting import until

KEY = "1.1795198673"
CONFIG = (
    '<View><Audio name="audio" value="$audio"/>'
    '<Choices name="tags" toName="audio"><Choice value="Dog"/><Choice value="Cat"/></Choices></View>'
)


@pytest.fixture
def nowhere(settings: Settings, tmp_path: Path) -> Settings:
    """A checkpoint is named that is not there."""
    return settings.model_copy(update={"encoder": "cnn14", "cnn14_checkpoint": tmp_path / "none.pth"})


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    """A server that hands half of the weights over, and the rest when it is told to."""
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        server.zenodo.script = [stalled(len(CONTENT) // 2)]
        monkeypatch.setattr(cnn14_weights, "ZENODO", server.zenodo.source)
        yield server.zenodo
        server.zenodo.release.set()
        server.shutdown()


def predict(client: TestClient, count: int) -> dict[str, Any]:
    tasks = [{"id": number, "data": {"audio": f"/{number}.wav"}} for number in range(count)]
    answer = client.post("/predict", json={"tasks": tasks, "project": KEY, "label_config": CONFIG})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert len(body["results"]) == count
    return body


@pytest.mark.parametrize("count", [1, 25])
@pytest.mark.parametrize("budget", [80.0, 1e-9])
def test_each_task_gets_an_empty_item(nowhere: Settings, count: int, budget: float) -> None:
    with TestClient(create_app(nowhere.model_copy(update={"predict_budget_seconds": budget}))) as client:
        answer = predict(client, count)
        assert answer["model_version"] == "cnn14-v0"
        for item in answer["results"]:
            assert (item["result"], item["score"], item["model_version"]) == ([], 0.0, "cnn14-v0")
        metrics = client.get("/metrics").text
    assert f'earmark_predicted_tasks_total{{outcome="weights"}} {count}.0' in metrics
    assert "out_of_time" not in metrics


def test_setup_answers_and_remembers(nowhere: Settings) -> None:
    with TestClient(create_app(nowhere)) as client:
        answer = client.post("/setup", json={"project": KEY, "schema": CONFIG})
        assert (answer.status_code, answer.json()) == (200, {"model_version": "cnn14-v0"})
        assert KEY in client.get("/versions").text


def test_the_dispatcher_goes_on(
    nowhere: Settings,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ticks: list[object] = []
    tick = Dispatcher.tick

    def counted(self: Dispatcher, connection: Any) -> int:
        ticks.append(connection)
        return tick(self, connection)

    monkeypatch.setattr(Dispatcher, "tick", counted)
    dispatcher = Dispatcher(nowhere, services.database)
    dispatcher.ensure_running()
    until(lambda: len(ticks) > 2, "the dispatcher goes on", seconds=60 * TICK_SECONDS)
    dispatcher.stop()
    output = "".join(capsys.readouterr())
    assert "CNN14_CHECKPOINT" in output
    assert output.count("training waits") == 1, "not twice a second"


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["auto", "cnn14"])
def test_nobody_waits_for_a_download(settings: Settings, zenodo: Zenodo, encoder: str) -> None:
    fetching = settings.model_copy(update={"encoder": encoder})
    awaited = 'earmark_predicted_tasks_total{outcome="weights_awaited"} '
    with TestClient(create_app(fetching)) as client:
        until(lambda: zenodo.request_count, "the weights are asked for")  # before anybody asks for anything
        started = time.monotonic()
        for item in predict(client, 3)["results"] + predict(client, 25)["results"]:
            assert "result" not in item, "Label Studio would keep an empty one"
        assert f"{awaited}28.0" in client.get("/metrics").text
        assert "out_of_time" not in client.get("/metrics").text
        reason = client.get("/ready").json()["faults"]["encoder"]
        assert "CNN14's weights are being fetched, 0 of 0 MB are here" in reason
        assert "earmark weights --from FILE" in reason
        assert time.monotonic() - started < 10, "the server is silent for longer"
        zenodo.release.set()
        until(cnn14_weights.cache_path(fetching).is_file, "the weights are here")
        predict(client, 3)
        assert f"{awaited}28.0" in client.get("/metrics").text
    assert zenodo.request_count == 1


def test_what_cannot_be_fetched_is_said_once_known(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cnn14_weights, "ZENODO", source_at(closed_port()))
    without = settings.model_copy(update={"encoder": "cnn14"})
    with TestClient(create_app(without)) as client:
        until(lambda: cnn14_weights.why_not_fetched(without), "fetching fails")
        predict(client, 2)
        assert 'outcome="weights"} 2.0' in client.get("/metrics").text
        assert "weights are not here" in client.get("/ready").json()["faults"]["encoder"]


@pytest.mark.parametrize("encoder", ["auto", "cnn14"])
def test_a_disk_without_room_is_said(
    settings: Settings, zenodo: Zenodo, monkeypatch: pytest.MonkeyPatch, encoder: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    full = settings.model_copy(update={"encoder": encoder})
    refused: list[str] = []

    def ended() -> bool:
        try:
            require_prepared(full)
        except WeightsError as error:
            refused.append(str(error))
            return "no room" in refused[-1]
        return True

    until(ended, "the thread gives up")
    assert is_built(full) == (encoder == "auto"), "logmel stands in"
    assert zenodo.request_count == 0


def test_who_can_wait_gets_the_weights(settings: Settings, zenodo: Zenodo) -> None:
    """A prediction without a budget, in a job, fetches them itself."""
    waiting = settings.model_copy(update={"encoder": "cnn14"})
    zenodo.script = []
    with Services(waiting, background=True) as services:
        services.database.upgrade()
        predictions = Predictor(services).predict([{"id": 1, "data": {"audio": "/1.wav"}}], KEY, CONFIG)
    assert "does not hold the weights" in predictions.failed[0], "what was fetched are the test's own bytes"
    assert cnn14_weights.cache_path(waiting).is_file()


def test_the_first_prediction_reads_a_checkpoint_itself(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes seconds only, and an empty prediction would stay in Label Studio."""
    own = tmp_path / "own.pth"
    own.write_bytes(b"tuned")
    monkeypatch.setattr("earmark.api.app.prepare", lambda _: None)
    mine = settings.model_copy(update={"encoder": "cnn14", "cnn14_checkpoint": own})
    with TestClient(create_app(mine)) as client:
        predict(client, 2)
        metrics = client.get("/metrics").text
    assert 'outcome="weights"} 2.0' in metrics
    assert "weights_awaited" not in metrics
