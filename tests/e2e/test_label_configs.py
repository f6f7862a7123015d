"""Every label config of the table in a real Label Studio, which validates what is imported."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from tests.labels.label_config_cases import CASES, Case
from tests.prediction.test_label_config_table import predicted

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

REFUSED_CONFIGS = {"choices as text"}
"""Label Studio's API refuses these label configs, which its editor shows."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_label_studio_takes_the_annotation_and_the_prediction(label_studio: Any, case: Case) -> None:
    headers = {"Authorization": f"Token {label_studio.token}"}
    with httpx.Client(base_url=label_studio.url, headers=headers, timeout=60) as studio:
        title = f"Config {uuid.uuid4().hex[:8]}"
        made = studio.post("/api/projects", json={"title": title, "label_config": case.config})
        if case.name in REFUSED_CONFIGS:
            assert made.status_code == 400
            return
        assert made.status_code == 201, made.text
        project = made.json()["id"]
        result = predicted(case)
        task = {
            "data": case.data,
            "annotations": [{"result": case.result, "ground_truth": False}],
            "predictions": [{"result": result, "score": 0.5, "model_version": "v1"}],
        }
        answer = studio.post(f"/api/projects/{project}/import", json=[task])
        assert answer.status_code == 201, answer.text
        counts = answer.json()
        assert (counts["annotation_count"], counts["prediction_count"]) == (1, 1)
        (stored,) = studio.get(f"/api/projects/{project}/tasks?fields=all").json()
        assert stored["predictions"][0]["result"] == result
