"""Single flight: bulk requests skip tasks in flight; a task opened alone is always answered."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from earmark.api.app import create_app
from earmark.concurrency.single_flight import SingleFlight
from earmark.prediction.predictor import Predictions, Predictor
from earmark.settings import Settings
from tests.lessons import KEY


def test_tasks_belong_to_the_first_request_until_it_ends() -> None:
    flight = SingleFlight()
    assert flight.begin(KEY, [1, 2]) == set()
    assert flight.begin(KEY, [2, 3]) == {2}
    assert flight.begin("2.3", [1]) == set()
    flight.end(KEY, [1, 2])
    assert flight.begin(KEY, [1, 2, 3]) == {3}


def test_label_studio_asks_twice_at_the_same_moment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second list request gets no result for what the first one predicts; one of a single task does."""
    requests, go_on = threading.Semaphore(0), threading.Event()

    def predict(self: Predictor, tasks: Any, *_: object) -> Predictions:
        requests.release()
        if len(tasks) > 1:
            assert go_on.wait(30)
        return Predictions("logmel-v1", [{"result": [], "score": 0.5} for _ in tasks], {})

    monkeypatch.setattr(Predictor, "predict", predict)

    def body(*numbers: int) -> dict[str, Any]:
        return {"project": KEY, "tasks": [{"id": n, "data": {}, "predictions": []} for n in numbers]}

    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/predict", json=body(1, 2))
        assert requests.acquire(timeout=30)
        alone = client.post("/predict", json=body(1)).json()["results"]
        second = client.post("/predict", json=body(1, 2)).json()["results"]
        go_on.set()
        answered = first.result(timeout=30).json()["results"]
    assert ["result" in item for item in answered] == [True, True]
    assert ["result" in item for item in alone] == [True]
    assert ["result" in item for item in second] == [False, False]
    assert {item["model_version"] for item in second} == {"logmel-v1"}
