"""``/versions``: what Label Studio reads, and the details of each version."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import earmark.learning.training_set
from earmark.api.app import create_app
from earmark.head.regression_check import Comparison
from earmark.learning.training import learn
from earmark.monitoring.project_status import NOTHING_YET
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.projects import remember_project
from tests.lessons import KEY, config, make_tones, receive, webhook


def test_versions_say_what_is_active_what_was_kept_and_why(
    services: Services, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_config = config("Low", "High")
    tones = make_tones(tmp_path, ["Low", "High"] * 4)
    with TestClient(create_app(settings)) as client:
        assert client.get("/versions").json() == {"versions": [], "details": [], "projects": []}
        with services.database.write() as session:
            remember_project(session, "2.5", title="Bats")
        receive(services, *(webhook(task, label_config) for task in tones[:6]))
        learn(services, KEY)
        monkeypatch.setattr(
            earmark.learning.training_set, "compare", lambda *_: Comparison({}, {}, ("It is worse.",))
        )
        receive(services, *(webhook(task, label_config) for task in tones[6:]))
        learn(services, KEY)

        answer = client.get("/versions").json()
        assert answer["versions"] == ["logmel-v2", "logmel-v1"]
        described = [(d["name"], d["active"], d["status"], d["reason"]) for d in answer["details"]]
        assert described == [
            ("logmel-v2", False, "rejected", "It is worse."),
            ("logmel-v1", True, "accepted", ""),
        ]
        assert answer["details"][1]["metrics"]["tags"]["lwlrap"] > 0.5
        states = {p["project"]: (p["title"], p["active"], p["remark"]) for p in answer["projects"]}
        assert states == {
            KEY: ("Tones", "logmel-v1", "logmel-v2 was rejected and is not served: It is worse."),
            "2.5": ("Bats", None, NOTHING_YET),
        }
        assert all(p["learning_curve"] is None for p in answer["projects"])

        project_answer = client.get("/versions", params={"project": KEY}).json()
        (state,) = project_answer["projects"]
        curve = state["learning_curve"]
        assert [point["name"] for point in curve["versions"]] == ["logmel-v0", "logmel-v1"]
        assert curve["versions"][1]["controls"]["tags"]["annotations"] == 2
        assert [point["name"] for point in curve["annotators"]] == ["1"]
        assert client.get("/versions", params={"project": "2.5"}).json()["versions"] == []


def test_versions_are_listed_also_when_the_encoder_cannot_be_had(
    services: Services, settings: Settings, tmp_path: Path
) -> None:
    tones = make_tones(tmp_path, ["Low", "High"] * 2)
    receive(services, *(webhook(task, config("Low", "High")) for task in tones))
    learn(services, KEY)
    lost = settings.model_copy(update={"encoder": "cnn14", "cnn14_checkpoint": tmp_path / "lost.pth"})
    with TestClient(create_app(lost)) as client:
        answer = client.get("/versions").json()
    assert answer["versions"] == ["logmel-v1"]
    assert answer["projects"][0]["active"] == "logmel-v1"
