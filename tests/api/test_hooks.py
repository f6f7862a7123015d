"""``model.py`` under the servers that it was not written with."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from earmark.api import hooks
from earmark.settings import get_settings

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


class BaseOfTheTwoLine(ABC):
    """Stand-in with the constructor and the abstract methods of label-studio-ml's 2.x line."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        self.label_config = label_config

    @abstractmethod
    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> Any: ...

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> Any:  # noqa: B027
        """Does nothing there either."""


@pytest.fixture
def model_of_the_two_line(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    package, module = ModuleType("label_studio_ml"), ModuleType("label_studio_ml.model")
    module.LabelStudioMLBase = BaseOfTheTwoLine  # type: ignore[attr-defined]
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
    for data in ({}, {"annotation": None}, [], None, {"project": 7}):
        assert model.fit("ANNOTATION_CREATED", data) == {"model_version": "logmel-v0"}
    assert model.predict([]) == []
