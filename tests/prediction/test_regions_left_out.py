"""Where a task has more regions than are shown, annotators and operators read so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from earmark.api.app import create_app
from earmark.learning.training import learn
from earmark.monitoring.doctor.projects import projects
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.sound_errors import fault_counts, latest_faults, latest_truncated
from tests.lessons import HERTZ, KEY, RATE, config, make_tones, receive, webhook

CONFIG = config("Low", "High")


@pytest.fixture
def crowded(tmp_path: Path, services: Services) -> dict[str, Any]:
    """A task with four tones, in a project that has learned from eight."""
    tasks = make_tones(tmp_path, ["Low", "High"] * 4)
    receive(services, *(webhook(task, CONFIG) for task in tasks))
    learn(services, KEY)
    time = np.arange(12 * RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * HERTZ["Low"] * time) * (time % 3 >= 1) * (time % 3 < 2)
    path = tmp_path / "crowded.wav"
    soundfile.write(path, tone + 0.002 * np.random.default_rng(8).standard_normal(time.size), RATE)
    return {"id": 77, "data": {"audio": str(path)}}


def regions(services: Services, task: dict[str, Any]) -> int:
    (item,) = Predictor(services).predict([task], KEY, CONFIG).items
    return sum(result["type"] == "labels" for result in item["result"])


def test_regions_that_are_left_out_are_reported(
    services: Services, settings: Settings, crowded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert regions(services, crowded) == 4
    with services.database.read() as session:
        assert latest_truncated(session, 5) == []
    monkeypatch.setattr("earmark.prediction.postprocessing.MOST_REGIONS", 3)
    assert regions(services, crowded) == 3
    with services.database.read() as session:
        (row,) = latest_truncated(session, 5, KEY)
        assert (row.project_key, row.task_id) == (KEY, 77)
        assert latest_truncated(session, 5, "2.2") == []
        assert latest_faults(session, 5) == [], "the sound itself is fine"
        assert fault_counts(session) == {}
    assert {"77", "4", "3"} <= set(row.detail.replace(",", "").split())
    assert [finding.text for finding in projects(settings) if finding.subject == "regions"] == [row.detail]
    with TestClient(create_app(settings)) as client:
        assert row.detail in client.get(f"/projects/{KEY}").text
