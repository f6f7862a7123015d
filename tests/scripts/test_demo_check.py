"""The demo's check: what its JSON object holds, and which clips it annotates."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scripts import demo_check
from scripts.demo_check import Loop, run_check
from scripts.demo_clips import plan_clips

ROOT = Path(__file__).resolve().parents[2]
COUNT = 12
KEYS = {
    *("seconds_setup", "seconds_loop", "version_before", "version_after", "webhooks_received", "trainings"),
    *("lwlrap_zero_shot", "lwlrap_before", "lwlrap_after", "accepted_before_refresh"),
    "accepted_after_refresh",
}


@dataclass(frozen=True)
class AnsweringLoop(Loop):
    """A demo whose backend has every tag right after training, and before it what ``zero_shot`` says."""

    zero_shot: bool = False
    annotated: list[int] = field(default_factory=list)

    def predict(self, task_ids: list[int]) -> list[dict[str, Any]]:
        version = f"encoder-v{int(bool(self.annotated))}"
        return [
            {"model_version": version, "probabilities": self._probabilities(number)} for number in task_ids
        ]

    def _probabilities(self, number: int) -> dict[str, dict[str, float]]:
        sounding = sorted({event.label for event in self.clips[number].events})
        if self.annotated:
            return {"tags": dict.fromkeys(sounding, 0.9)}
        return {"tags": {sounding[0]: 0.5}} if self.zero_shot else {}

    def metric(self, name: str, **labels: str) -> float:
        return 0.0

    def annotate(self, task_ids: list[int]) -> None:
        self.annotated.extend(task_ids)

    def wait_for_training(self, annotations: int) -> str:
        return "encoder-v1"

    def wait_for_predictions(self, version: str, task_ids: list[int]) -> None:
        assert not set(task_ids) & set(self.annotated)


@pytest.fixture
def report(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, Any]:
    """What the check reports of a demo whose tasks are numbered from the last clip to the first."""
    monkeypatch.setattr(demo_check, "submit_around_refresh", lambda *_: (True, True))
    clips = {100 - number: clip for number, clip in enumerate(plan_clips(COUNT))}
    config = (ROOT / "label_config.xml").read_text()
    loop = AnsweringLoop(None, 1, "1.1", config, "", clips, zero_shot=request.param)
    assert run_check(loop, 1.0, Console(file=io.StringIO()))
    assert {clips[task].name for task in loop.annotated} == {
        f"clip-{number:03d}.wav" for number in range(1, COUNT, 2)
    }
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


@pytest.mark.parametrize("report", [True], indirect=True)
def test_zero_shot_is_reported_beside_before_and_after(report: dict[str, Any]) -> None:
    assert set(report) == KEYS
    assert 0 < report["lwlrap_zero_shot"] == report["lwlrap_before"] < report["lwlrap_after"] == 1.0


@pytest.mark.parametrize("report", [False], indirect=True)
def test_zero_shot_is_null_where_the_encoder_has_no_classes(report: dict[str, Any]) -> None:
    assert set(report) == KEYS
    assert report["lwlrap_zero_shot"] is None
    assert report["lwlrap_before"] < report["lwlrap_after"]
