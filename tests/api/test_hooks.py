"""``model.py`` under other ML backend servers."""

from __future__ import annotations

import csv
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from earmark.api import hooks
from earmark.settings import get_settings
from tests.two_line_server import LabelStudioMLBase, init_app

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "label_config.xml").read_text()
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z", "label_config": CONFIG}
TASKS = [{"id": 1, "data": {"audio": "/nowhere/1.wav"}, "project": 1}, {"id": 2, "data": {}, "project": 1}]


@pytest.fixture(autouse=True)
def _process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ENCODER", "logmel")
    for cached in (get_settings, hooks.process_services):
        cached.cache_clear()
    yield
    hooks.process_services().close()
    for cached in (get_settings, hooks.process_services):
        cached.cache_clear()


@pytest.mark.slow
def test_inside_the_server_of_1_0_9(tmp_path: Path) -> None:
    """In a process of its own: that package loads Flask and changes how processes start."""
    code = """
import json, sys
from label_studio_ml.api import init_app
from model import EarmarkModel
client = init_app(EarmarkModel, model_dir=sys.argv[1]).test_client()
setup = {"project": "1.1795198673", "schema": sys.argv[2], "hostname": "http://ls", "access_token": "x"}
answers = {
    "health": client.get("/health").get_json(),
    "setup": client.post("/setup", json=setup).get_json(),
    "predict": client.post("/predict", json={"tasks": json.loads(sys.argv[3]), "project": setup["project"],
                                             "label_config": setup["schema"], "params": {}}).get_json(),
}
model = EarmarkModel(label_config=setup["schema"])
answers["fit"] = model.process_event("START_TRAINING", {"project": json.loads(sys.argv[4])}, "1", {})
print(json.dumps(answers))
"""
    arguments = [str(tmp_path / "models"), CONFIG, json.dumps(TASKS), json.dumps(PROJECT)]
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout.splitlines()[-1])
    assert answers["health"]["status"] == "UP"
    assert answers["setup"]["model_version"]
    assert [item["result"] for item in answers["predict"]["results"]] == [[], []]
    assert answers["fit"] == {"model_version": "logmel-v0"}


@pytest.fixture
def model_of_the_two_line(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    package, module = ModuleType("label_studio_ml"), ModuleType("label_studio_ml.model")
    module.LabelStudioMLBase = LabelStudioMLBase  # type: ignore[attr-defined]
    monkeypatch.setattr(LabelStudioMLBase, "_texts", {})
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", module)
    monkeypatch.delitem(sys.modules, "model", raising=False)
    monkeypatch.syspath_prepend(str(ROOT))
    yield importlib.import_module("model")
    sys.modules.pop("model", None)


def test_with_the_base_class_of_the_2_x_line(model_of_the_two_line: ModuleType) -> None:
    model = model_of_the_two_line.EarmarkModel(project_id="1", label_config=CONFIG)
    items = model.predict(TASKS, context=None)
    assert [item["result"] for item in items] == [[], []]
    assert all(isinstance(item["score"], float) for item in items)
    webhook = {"action": "START_TRAINING", "project": PROJECT}
    assert model.fit("START_TRAINING", webhook) == {"model_version": "logmel-v0"}


def test_events_without_the_expected_fields_harm_nothing(model_of_the_two_line: ModuleType) -> None:
    model = model_of_the_two_line.EarmarkModel(project_id=None, label_config=None)
    payloads: tuple[Any, ...] = ({}, {"annotation": None}, [], None, {"project": 7})
    for data in payloads:
        assert model.fit("ANNOTATION_CREATED", data) == {"model_version": "logmel-v0"}
    assert model.predict([]) == []


@pytest.mark.slow
def test_thirty_annotations_in_the_server_of_the_2_x_line(
    model_of_the_two_line: ModuleType, shared_audio: Path
) -> None:
    labels = ("Flute", "Cello", "Hi_hat")
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    label_config = (
        '<View><Audio name="audio" value="$audio"/>'
        f'<Choices name="x" toName="audio" choice="single">{choices}</Choices></View>'
    )
    folder = shared_audio / "instruments"
    with (folder / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["labels"] in labels][:30]
    tasks: list[dict[str, Any]] = [
        {"id": number, "project": 1, "data": {"audio": str(folder / row["fname"])}}
        for number, row in enumerate(rows, start=1)
    ]
    client = TestClient(init_app(model_of_the_two_line.EarmarkModel), raise_server_exceptions=False)
    versions = []
    for task, row in zip(tasks, rows, strict=True):
        choice = {"from_name": "x", "to_name": "audio", "type": "choices"}
        annotation = {
            "id": 100 + task["id"],
            "task": task["id"],
            "result": [{**choice, "value": {"choices": [row["labels"]]}}],
            "was_cancelled": False,
            "updated_at": "2026-11-20T18:19:01.044103Z",
        }
        body = {
            "action": "ANNOTATION_CREATED",
            "annotation": annotation,
            "task": task,
            "project": {**PROJECT, "label_config": label_config},
        }
        versions.append(strict(client.post("/webhook", json=body), 201)["result"]["model_version"])
        if task["id"] % 5 == 4:
            predict_body = {"tasks": tasks[-2:], "project": "1.1795198673", "label_config": label_config}
            items = strict(client.post("/predict", json={**predict_body, "params": {"context": {}}}), 200)[
                "results"
            ]
            assert [item["model_version"] for item in items] == [versions[-1]] * 2
            for item in items:
                assert sum(item["probabilities"].get("x", {"": 1.0}).values()) == pytest.approx(1, abs=1e-4)
    assert versions[1] == "logmel-v0"
    assert versions[18] != "logmel-v0"


def strict(answer: Any, status: int) -> Any:
    """A body that must be JSON as RFC 8259 has it."""
    assert answer.status_code == status, answer.text

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON: {answer.text}")

    return json.loads(answer.text, parse_constant=refuse)
