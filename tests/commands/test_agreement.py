"""``earmark agreement``: what a training counted, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from earmark.cli import app
from earmark.learning.training import learn
from earmark.services import Services
from earmark.settings import Settings
from tests.lessons import KEY, config, make_tones, receive, result_of, webhook

CONFIG = config("Low", "High")


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ENCODER", "logmel")
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["agreement", KEY, *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_agreement_and_conflicts_are_listed(services: Services, tmp_path: Path, run: Any) -> None:
    tones = make_tones(tmp_path, ["Low", "High"] * 4)
    receive(services, webhook(tones[0], CONFIG))
    assert "counted at each training" in run()
    for task in tones:
        wrong = task["id"] == 2
        second = result_of("Low" if wrong else task["label"])
        receive(
            services,
            webhook(task, CONFIG),
            webhook(task, CONFIG, id=500 + task["id"], completed_by=2, result=second),
        )
    assert learn(services, KEY) is not None
    answer = json.loads(run("--json"))
    tags = next(pair for pair in answer["pairs"] if pair["control"] == "tags")
    assert tags["annotators"] == ["user 1", "user 2"]
    assert (tags["shared"], tags["differing"], tags["agree"]) == (8, 1, 7 / 8)
    assert tags["labels"] == {"High": 7 / 8, "Low": 7 / 8}
    assert tags["links"] == ["http://127.0.0.1:9/projects/1/data?task=2"]
    assert answer["labels"]["tags"]["Low"] < 1
    assert answer["waiting_webhooks"] == 0
    printed = run()
    assert "88%" in printed
    assert "task=2" in printed
    assert "not counted yet" not in printed
    receive(services, *(webhook(task, CONFIG, id=600 + task["id"], completed_by=3) for task in tones[:3]))
    assert "3 webhooks" in run(), "it is behind what was submitted"
    assert json.loads(run("--json"))["waiting_webhooks"] == 3
