"""Whatever is wrong with the encoder's weights, Label Studio gets answers that it can use."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.api.app import create_app
from backend.jobs.dispatcher import TICK_SECONDS, Dispatcher
from backend.services import Services
from backend.settings import Settings

KEY = "1.1795198673"
CONFIG = (
    '<View><Audio name="audio" value="$audio"/>'
    '<Choices name="tags" toName="audio"><Choice value="Dog"/><Choice value="Cat"/></Choices></View>'
)


@pytest.fixture
def nowhere(settings: Settings, tmp_path: Path) -> Settings:
    """A checkpoint is named that is not there."""
    return settings.model_copy(update={"encoder": "cnn14", "cnn14_checkpoint": tmp_path / "none.pth"})


def predict(client: TestClient, count: int) -> dict[str, Any]:
    tasks = [{"id": number, "data": {"audio": f"/{number}.wav"}} for number in range(count)]
    answer = client.post("/predict", json={"tasks": tasks, "project": KEY, "label_config": CONFIG})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert len(body["results"]) == count
    return body


def until(met: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
    until(lambda: len(ticks) > 2, seconds=60 * TICK_SECONDS)
    dispatcher.stop()
    said = "".join(capsys.readouterr())
    assert "CNN14_CHECKPOINT" in said
    assert said.count("training waits") == 1, "not twice a second"
