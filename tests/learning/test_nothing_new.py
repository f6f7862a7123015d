"""Training digest: a training on unchanged annotations makes no version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import earmark.learning.training_set
from earmark.head.regression_check import Comparison
from earmark.labels.config_changes import config_digest
from earmark.learning.training import learn
from earmark.services import Services
from earmark.store.events import pending_events
from earmark.store.models import Project, Training, Version, VersionHead
from earmark.store.registry import list_versions, promote, roll_back
from tests.lessons import KEY, config, make_tones, project_updated, receive, webhook

CONFIG = config("Low", "High")
START: dict[str, Any] = {**project_updated(CONFIG), "action": "START_TRAINING"}


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    return make_tones(tmp_path, ["Low", "High"] * 3)


def teach(services: Services, *payloads: dict[str, Any]) -> Training:
    receive(services, *payloads)
    training = learn(services, KEY)
    assert training is not None
    with services.database.read() as session:
        assert pending_events(session, KEY) == []
    return training


def versions(services: Services) -> list[str]:
    with services.database.read() as session:
        return [version.name for version in list_versions(session, KEY)]


def annotated(tones: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [webhook(task, CONFIG) for task in tones]


def test_an_edit_without_effect_and_start_training_make_no_version(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    assert teach(services, *annotated(tones[:4])).outcome == "registered"
    coloured = CONFIG.replace('<Label value="Low"/>', '<Label value="Low" background="red" hotkey="1"/>')
    for other in (coloured, config("High", "Low")):
        training = teach(services, project_updated(other))
        assert (training.outcome, training.version) == ("unchanged", None)
        assert "logmel-v1" in training.detail
        with services.database.read() as session:
            assert session.get_one(Project, KEY).learnt_config == config_digest(other)
        receive(services, project_updated(other))
        assert learn(services, KEY) is None, "known by now"
    assert teach(services, START).outcome == "unchanged"
    saved_again = webhook(tones[0], CONFIG, "ANNOTATION_UPDATED", updated_at="2026-11-20T18:20:00Z")
    assert teach(services, saved_again).outcome == "unchanged"
    assert versions(services) == ["logmel-v1"]
    assert teach(services, webhook(tones[4], CONFIG)).version == "logmel-v2"


@pytest.mark.parametrize(
    "changed",
    [{"ground_truth": True}, {"result": []}, {"was_cancelled": True}],
    ids=["another weight", "another content", "one less"],
)
def test_whatever_counts_makes_a_version(
    services: Services, tones: list[dict[str, Any]], changed: dict[str, Any]
) -> None:
    teach(services, *annotated(tones[:4]))
    update = webhook(tones[0], CONFIG, "ANNOTATION_UPDATED", updated_at="2026-11-20T18:20:00Z", **changed)
    assert teach(services, update).version == "logmel-v2"


def test_after_a_rollback_the_same_would_be_made_again(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, *annotated(tones[:4]))
    teach(services, webhook(tones[4], CONFIG))
    with services.database.write() as session:
        roll_back(session, KEY, services.encoder_identity())
    training = teach(services, START)
    assert training.outcome == "unchanged"
    assert "promote 1 logmel-v2" in training.detail
    assert services.version_name(KEY) == "logmel-v1"
    # What the rolled-back version was trained on besides is taken away: the one that answers knows the rest
    deletion = {**webhook(tones[4], CONFIG), "action": "ANNOTATIONS_DELETED", "annotations": [{"id": 105}]}
    training = teach(services, deletion)
    assert (training.outcome, "promote" in training.detail) == ("unchanged", False)
    with services.database.write() as session:
        promote(session, KEY, "v2", services.encoder_identity())
    assert teach(services, START).version == "logmel-v3", "v2 was trained on an annotation that is gone"


def test_what_was_refused_is_not_made_again(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(services, *annotated(tones[:4]))
    with monkeypatch.context() as patch:
        patch.setattr(
            earmark.learning.training_set, "compare", lambda *_: Comparison({}, {}, ("It is worse.",))
        )
        assert teach(services, webhook(tones[4], CONFIG)).outcome == "rejected"
    training = teach(services, START)
    assert training.outcome == "unchanged"
    assert "It is worse." in training.detail
    assert versions(services) == ["logmel-v2", "logmel-v1"]


@pytest.mark.parametrize("part", ["head", "folds"])
def test_what_cannot_be_read_and_what_earlier_releases_made_is_made_anew(
    services: Services, tones: list[dict[str, Any]], part: str
) -> None:
    teach(services, *annotated(tones))
    with services.database.write() as session:
        session.query(VersionHead).update({part: b"damaged"})
    assert teach(services, START).version == "logmel-v2"
    with services.database.write() as session:
        session.query(Version).update({"digest": ""})
    assert teach(services, START).version == "logmel-v3"
    assert teach(services, START).outcome == "unchanged"
