"""A new project on CNN14, from connecting to the first annotations; random weights, a crafted bias."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient

import earmark.encoders
from benchmarks.reference import random_cnn14, save_checkpoint
from earmark.api.app import create_app
from earmark.encoders.audioset import audioset_labels
from earmark.learning.training import learn
from earmark.monitoring.doctor.projects import projects
from earmark.services import Services
from earmark.settings import Settings

pytestmark = pytest.mark.slow

KEY = "1.1795198673"
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}
CONFIG = (
    '<View><Labels name="label" toName="audio"><Label value="Dog"/><Label value="siren"/>'
    '<Label value="Xyzzy"/></Labels><Audio name="audio" value="$audio"/>'
    '<Choices name="tags" toName="audio" choice="multiple"><Choice value="Dogs"/><Choice value="Xyzzy"/>'
    '</Choices><Choices name="one" toName="audio"><Choice value="Siren"/><Choice value="Dog"/>'
    '<Choice value="Xyzzy"/></Choices></View>'
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN14 that hears a dog in everything, and a siren in nothing."""
    network = random_cnn14()
    names = audioset_labels()
    with torch.no_grad():
        network.fc_audioset.weight.mul_(0.01)
        network.fc_audioset.bias.fill_(-6.0)
        network.fc_audioset.bias[names.index("Dog")] = 2.0
    return save_checkpoint(network, tmp_path_factory.mktemp("weights") / "cnn14.pth")


@pytest.fixture
def settings(tmp_path: Path, checkpoint: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", encoder="cnn14", cnn14_checkpoint=checkpoint)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(3 * 32000), 32000)
    return {"id": 1, "data": {"audio": str(path)}}


def connect(client: TestClient, label_config: str = CONFIG) -> str:
    answer = client.post("/setup", json={"project": KEY, "schema": label_config})
    assert answer.status_code == 200
    version: str = answer.json()["model_version"]
    return version


def predict(client: TestClient, task: dict[str, Any], label_config: str = CONFIG) -> dict[str, Any]:
    body = {"tasks": [task], "project": KEY, "label_config": label_config}
    (item,) = client.post("/predict", json=body).json()["results"]
    prediction: dict[str, Any] = item
    return prediction


def annotation(task: dict[str, Any], number: int, label: str) -> dict[str, Any]:
    region = {"start": 1.0, "end": 2.0, "labels": [label]}
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {
            "id": number,
            "task": task["id"],
            "result": [{"from_name": "label", "to_name": "audio", "type": "labels", "value": region}],
            "was_cancelled": False,
            "updated_at": "2026-11-20T18:19:01.044103Z",
        },
        "task": task,
        "project": {**PROJECT, "label_config": CONFIG},
    }


def test_connecting_loads_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_settings: Settings) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(earmark.encoders, "_build", refuse)
    assert connect(client) == "cnn14-v0"
    assert client.get("/labels", params={"project": KEY}).status_code == 200


def test_a_new_project_is_pre_annotated_and_goes_on_from_there(
    client: TestClient, settings: Settings, task: dict[str, Any]
) -> None:
    connect(client)
    before = predict(client, task)
    assert before["model_version"] == "cnn14-v0"
    regions = [r for r in before["result"] if r["from_name"] == "label"]
    assert [r["value"]["labels"] for r in regions] == [["Dog"]]
    assert regions[0]["value"]["start"] == pytest.approx(0)
    assert regions[0]["value"]["end"] == pytest.approx(3)
    assert 0.8 < regions[0]["score"] < 0.95
    choices = {r["from_name"]: r["value"]["choices"] for r in before["result"] if r["type"] == "choices"}
    assert choices == {"tags": ["Dogs"], "one": ["Dog"]}
    probabilities = before["probabilities"]
    assert {name: set(by_label) for name, by_label in probabilities.items()} == {
        "label": {"Dog", "siren"},
        "tags": {"Dogs"},
        "one": {"Siren", "Dog"},
    }
    assert probabilities["label"]["siren"] < 0.01
    assert 0 < before["score"] < 1

    outcomes = []
    for number in (1, 2):
        assert client.post("/webhook", json=annotation(task, number, "Xyzzy")).status_code == 201
        with Services(settings) as services:
            training = learn(services, KEY)
        assert training is not None
        outcomes.append((training.outcome, training.version))
    assert outcomes == [("nothing", None), ("registered", "cnn14-v1")], "one example is no example"
    after = predict(client, task)
    assert after["model_version"] == "cnn14-v1"
    # What was annotated is known now, and what was not annotated yet is predicted as before
    assert set(after["probabilities"]["label"]) == {"Dog", "siren", "Xyzzy"}
    assert after["probabilities"]["label"]["Dog"] == pytest.approx(probabilities["label"]["Dog"], abs=1e-4)
    assert after["probabilities"]["tags"] == pytest.approx(probabilities["tags"], abs=1e-6)
    assert after["probabilities"]["one"] == pytest.approx(probabilities["one"], abs=1e-6)


def test_labels_are_listed(client: TestClient, settings: Settings) -> None:
    connect(client)
    body = client.get("/labels", params={"project": KEY}).json()
    assert body["project"] == KEY
    assert body["used"] is True
    assert body["encoder"].startswith("cnn14-")
    assert all(control.pop("suggestions") == {"Xyzzy": []} for control in body["controls"])
    assert body["controls"] == [
        {"name": "label", "kind": "regions", "labels": {"Dog": ["Dog"], "siren": ["Siren"], "Xyzzy": None}},
        {"name": "tags", "kind": "multiple", "labels": {"Dogs": ["Dog"], "Xyzzy": None}},
        {"name": "one", "kind": "single", "labels": {"Siren": ["Siren"], "Dog": ["Dog"], "Xyzzy": None}},
    ]
    assert client.get("/labels", params={"project": "2.1"}).status_code == 404
    assert client.get("/labels").status_code == 422
    client.post("/setup", json={"project": "3.1", "schema": "<View/>"})
    refused = client.get("/labels", params={"project": "3.1"})
    assert refused.status_code == 409
    assert "label config" in refused.json()["detail"]
    assert "/labels" in client.get("/openapi.json").json()["paths"]


def test_a_renamed_label_keeps_the_class_of_its_former_name(
    client: TestClient, settings: Settings, task: dict[str, Any]
) -> None:
    connect(client)
    before = predict(client, task)["probabilities"]
    renamed = CONFIG.replace('value="Dog"', 'value="Plover"')
    connect(client, renamed)
    after = predict(client, task, renamed)["probabilities"]
    assert after["label"]["Plover"] == pytest.approx(before["label"]["Dog"])
    assert after["one"]["Plover"] == pytest.approx(before["one"]["Dog"])
    controls = client.get("/labels", params={"project": KEY}).json()["controls"]
    assert controls[0]["labels"] == {"Plover": ["Dog"], "siren": ["Siren"], "Xyzzy": None}
    assert controls[0]["suggestions"] == {"Xyzzy": []}
    (finding,) = [entry for entry in projects(settings) if entry.subject == "project 1 label"]
    assert "Plover (formerly Dog) -> Dog" in finding.text
    assert "Plover:" not in finding.remedy


def test_without_any_match_there_is_an_empty_answer_and_no_file_is_fetched(client: TestClient) -> None:
    config = CONFIG.replace("Dogs", "Plugh").replace("Dog", "Plover").replace("iren", "wyzzle")
    item = predict(client, {"id": 1, "data": {"audio": "/nowhere.wav"}}, config)
    assert item == {"model_version": "cnn14-v0", "score": 0.0, "result": [], "probabilities": {}}
    assert 'outcome="not_found"' not in client.get("/metrics").text


def test_missing_weights_leave_tasks_empty_and_are_counted(
    settings: Settings, task: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(checkpoint.read_bytes()[:1000])
    broken = settings.model_copy(update={"cnn14_checkpoint": damaged})
    with TestClient(create_app(broken)) as client:
        assert predict(client, task)["result"] == []
        assert 'earmark_predicted_tasks_total{outcome="weights"} 1.0' in client.get("/metrics").text
