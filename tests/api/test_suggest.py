"""``POST /suggest`` and interactive ``/predict`` over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from earmark.api.app import create_app
from earmark.learning.training import learn
from earmark.services import Services
from earmark.settings import Settings
from tests.lessons import KEY, config, make_tones, receive, webhook

CONFIG = config("Low", "High")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, list[dict[str, Any]]]]:
    folder = tmp_path_factory.mktemp("suggest")
    settings = Settings(_env_file=None, data_dir=folder / "data", encoder="logmel")
    tasks = make_tones(folder, ["Low", "High"] * 3)
    with Services(settings) as services:
        services.database.upgrade()
        receive(services, *(webhook(task, CONFIG) for task in tasks[:4]))
        learn(services, KEY)
    with TestClient(create_app(settings)) as client:
        yield client, tasks[4:]


def body(task: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"audio": task["data"]["audio"], "start": 0.9, "end": 2.1, "project": KEY, **changes}


@pytest.mark.parametrize("project", [KEY, "1", 1])
def test_label_edges_and_version(taught: tuple[TestClient, list[dict[str, Any]]], project: Any) -> None:
    client, tasks = taught
    for task in tasks:
        answer = client.post("/suggest", json=body(task, project=project))
        assert answer.status_code == 200, answer.text
        suggestion = answer.json()
        assert set(suggestion) == {"label", "labels", "start", "end", "model_version"}
        assert suggestion["label"] == task["label"] == suggestion["labels"][0]["label"]
        assert 0 < suggestion["labels"][0]["score"] <= 1
        assert (round(suggestion["start"], 1), round(suggestion["end"], 1)) == (1.0, 2.0)
        assert suggestion["model_version"] == "logmel-v1"


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"project": "77"}, 404, "77"),
        ({"audio": "/nowhere/at/all.wav"}, 404, "all.wav"),
        ({"start": 2.0, "end": 1.0}, 422, "after the start"),
        ({"start": 8.0, "end": 9.0}, 422, "recording"),
        ({"start": -1.0}, 422, "start"),
        ({"start": "x"}, 422, "start"),
        ({"end": 1e400}, 422, "end"),
        ({"audio": None}, 422, "audio"),
        ({"label_config": "<View"}, 422, "XML"),
        (
            {
                "label_config": '<View><Audio name="a" value="$audio"/><Choices name="c" toName="a">'
                '<Choice value="x"/></Choices></View>'
            },
            422,
            "Labels",
        ),
    ],
)
def test_what_cannot_be_answered_says_why(
    taught: tuple[TestClient, list[dict[str, Any]]], changes: dict[str, Any], status: int, word: str
) -> None:
    client, (task, _) = taught
    answer = client.post("/suggest", content=_json(body(task, **changes)), headers=JSON)
    assert answer.status_code == status, answer.text
    assert word in answer.json()["detail"]


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).replace("Infinity", "1e999").encode()


def test_predict_with_a_context_is_about_the_drawn_region_alone(
    taught: tuple[TestClient, list[dict[str, Any]]],
) -> None:
    client, (task, other) = taught
    region = {
        "id": "new",
        "from_name": "label",
        "to_name": "audio",
        "type": "labels",
        "value": {"start": 0.9, "end": 2.1, "channel": 0, "labels": []},
    }

    def predict(context: Any, tasks: list[Any]) -> list[list[dict[str, Any]]]:
        params = {"login": None, "password": None, "context": context}
        request = {"tasks": tasks, "project": KEY, "label_config": CONFIG, "params": params}
        answer = client.post("/predict", json=request)
        assert answer.status_code == 200
        results: list[dict[str, Any]] = answer.json()["results"]
        assert len(results) == len(tasks)
        assert all(item["model_version"] == "logmel-v1" for item in results)
        return [item["result"] for item in results]

    (whole,) = predict(None, [task])
    assert {item["from_name"] for item in whole} == {"label", "tags"}
    (about,) = predict({"result": [region]}, [task])
    assert [(item["id"], item["value"]["labels"]) for item in about] == [("new", ["Low"])]
    empty: tuple[Any, ...] = ({}, {"result": []}, {"result": None}, 5, "x", [], [region], {"result": region})
    for nothing in empty:
        assert predict(nothing, [task]) == [[]]
    assert predict({"result": [region]}, [task, other])[1] == []
    finished = {**task, "annotations": [{"id": 1, "result": [region]}]}
    assert predict({"result": [region]}, [finished]) == [[]]
    metrics = client.get("/metrics").text
    assert 'earmark_predicted_tasks_total{outcome="error"}' not in metrics


def test_the_password_is_asked_for(settings: Settings) -> None:
    locked = Settings(_env_file=None, **{**settings.model_dump(exclude_unset=True), "api_password": "secret"})
    with TestClient(create_app(locked)) as client:
        request = {"audio": "/a.wav", "start": 0, "end": 1, "project": KEY}
        assert client.post("/suggest", json=request).status_code == 401
        assert client.post("/suggest", json=request, auth=("earmark", "secret")).status_code == 404
