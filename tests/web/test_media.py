"""What the page of a task says of the model in use, against the answer to ``/predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.learning.training import learn
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.store.models import Task
from earmark.web.media import Media
from tests.lessons import HERTZ, KEY, RATE, config, make_tones, receive, webhook

LONG = 60
"""Seconds of a recording with a tone now and then."""
SOUNDING = {(3, 4): "Low", (8, 9): "High", (11, 29): "Low", (41, 42): "High", (55, 56): "Low"}


def long_recording(path: Path) -> dict[str, Any]:
    """A task with noise, in which a tone sounds at each of these times."""
    time = np.arange(LONG * RATE) / RATE
    wave = 0.002 * np.random.default_rng(5).standard_normal(time.size)
    for (start, end), label in SOUNDING.items():
        inside = slice(start * RATE, end * RATE)
        wave[inside] += 0.3 * np.sin(2 * np.pi * HERTZ[label] * time[inside])
    soundfile.write(path, wave, RATE)
    return {"id": 90, "data": {"audio": str(path)}}


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_predicted_now_is_what_predict_answers(services: Services, tmp_path: Path, choice: str) -> None:
    label_config = config("Low", "High", choice=choice)
    for task in make_tones(tmp_path, ["Low", "High"] * 4):
        receive(services, webhook(task, label_config))
    learn(services, KEY)
    task = long_recording(tmp_path / "long.wav")
    with services.database.write() as session:
        session.add(Task(project_key=KEY, task_id=task["id"], data=task["data"]))
    (item,) = Predictor(services).predict([task], KEY, "").items
    values = [each["value"] for each in item["result"]]
    regions = [(round(v["start"], 3), round(v["end"], 3), v["labels"][0]) for v in values if "labels" in v]
    tags = sorted(label for v in values for label in v.get("choices", []))
    assert regions
    assert tags
    for start in range(0, LONG, 10):
        now = Media(services).curves(KEY, task["id"], "", start, start + 10)
        assert [(r["start"], r["end"], r["label"]) for r in now["regions"]] == [
            region for region in regions if region[0] < start + 10 and region[1] > start
        ]
        assert now["tags"] == tags
