"""Prequential evaluation: each annotation is measured once, against the prediction that was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import earmark.learning.training
from earmark.learning.learning_curve import learning_curve
from earmark.learning.training import learn
from earmark.services import Services
from earmark.store.models import Annotation, PredictionScore, VersionHead
from earmark.store.registry import roll_back
from earmark.store.scores import add_scores, list_scores
from tests.lessons import KEY, config, make_tones, receive, result_of, webhook

CONFIG = config("Low", "High")


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    return make_tones(tmp_path, ["Low", "High"] * 4)


def scores(services: Services) -> list[PredictionScore]:
    with services.database.read() as session:
        return list_scores(session, KEY)


def teach(services: Services, *payloads: dict[str, Any]) -> None:
    receive(services, *payloads)
    assert learn(services, KEY) is not None


def test_the_first_annotations_are_measured_against_nothing_and_the_next_against_what_was_learnt(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, *(webhook(task, CONFIG) for task in tones[:4]))
    assert {(score.version, score.source) for score in scores(services)} == {("logmel-v0", "computed")}
    wrong = {**tones[5], "label": "Low"}  # a High tone, which the annotator takes for a Low one
    teach(services, webhook(tones[4], CONFIG, completed_by=7), webhook(wrong, CONFIG, completed_by=8))
    measured = scores(services)
    assert [score.annotation_id for score in measured] == [101, 102, 103, 104, 105, 106]
    right, other = measured[4:]
    assert (right.version, right.task_id, right.annotator) == ("logmel-v1", 5, 7)
    assert right.distances["tags"]["labels"] == {"Low": {"found": 1.0, "missed": 0.0, "extra": 0.0}}
    assert right.distances["tags"]["lwlrap"] == 1.0
    region = right.distances["label"]["labels"]["Low"]
    assert region["found"] > 0.7
    assert region["found"] + region["missed"] == pytest.approx(1.0)
    assert other.distances["tags"]["labels"]["High"]["extra"] == 1.0
    assert other.distances["tags"]["lwlrap"] == 0.5

    curve = learning_curve(measured)
    assert [point.name for point in curve.versions] == ["logmel-v0", "logmel-v1"]
    before, after = (point.figures()["tags"] for point in curve.versions)
    assert (before["f1"], before["annotations"], after["f1"], after["annotations"]) == (0.0, 4.0, 0.5, 2.0)
    assert after["error_rate"] == 0.5
    assert {point.name: point.figures()["tags"]["f1"] for point in curve.annotators} == {
        "1": 0.0,
        "7": 1.0,
        "8": 0.0,
    }


def test_an_annotation_is_measured_once(services: Services, tones: list[dict[str, Any]]) -> None:
    teach(services, *(webhook(task, CONFIG) for task in tones[:4]))
    first = [(score.annotation_id, score.scored_at) for score in scores(services)]
    update = webhook(tones[0], CONFIG, "ANNOTATION_UPDATED", result=[], updated_at="2026-11-20T18:20:00Z")
    teach(services, update, webhook(tones[1], CONFIG))
    assert [(score.annotation_id, score.scored_at) for score in scores(services)] == first
    again = PredictionScore(
        project_key=KEY, annotation_id=101, task_id=1, version="x", source="x", shown_at=1, scored_at=1,
        distances={},
    )  # fmt: skip
    with services.database.write() as session:
        add_scores(session, KEY, [again])
    assert [score.version for score in scores(services)] == ["logmel-v0"] * 4


def test_a_training_that_fails_leaves_no_score_and_the_next_one_stores_the_same(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(services, *(webhook(task, CONFIG) for task in tones[:4]))
    receive(services, webhook(tones[4], CONFIG))
    with monkeypatch.context() as patch:
        patch.setattr(earmark.learning.training, "mark_handled", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            learn(services, KEY)
    assert len(scores(services)) == 4
    teach(services, webhook(tones[5], CONFIG))
    assert [score.version for score in scores(services)] == ["logmel-v0"] * 4 + ["logmel-v1"] * 2


def test_what_the_webhook_carries_is_what_was_shown(services: Services, tones: list[dict[str, Any]]) -> None:
    shown = {"id": 9, "model_version": "theirs-v5", "result": result_of("High", None, score=0.9)}
    own = webhook(tones[0], CONFIG, prediction=shown)
    beside = webhook(tones[1], CONFIG, parent_prediction=9)
    beside["task"]["predictions"] = [{**shown, "id": 8, "result": []}, shown]
    elsewhere = webhook(tones[2], CONFIG, parent_prediction=9)  # as Label Studio 1.23 sends it
    elsewhere["task"]["predictions"] = [8, None, {"id": 9}]
    teach(services, own, beside, elsewhere)
    sources = [(score.version, score.source) for score in scores(services)]
    assert sources == [("theirs-v5", "payload"), ("theirs-v5", "task"), ("logmel-v0", "computed")]
    distances = [score.distances["label"]["labels"] for score in scores(services)]
    assert distances[0] == {
        "Low": {"found": 0.0, "missed": 1.0, "extra": 0.0},
        "High": {"found": 0.0, "missed": 0.0, "extra": 1.0},
    }
    assert distances[1] == {"High": {"found": 1.0, "missed": 0.0, "extra": 0.0}}
    assert "lwlrap" not in scores(services)[0].distances["tags"], "its probabilities are not known"


def test_the_version_counts_that_was_active_when_the_task_was_opened(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, *(webhook(task, CONFIG) for task in tones[:4]))
    # Opened an hour ago, before anything was trained
    teach(services, webhook(tones[4], CONFIG, lead_time=3600.0))
    assert {score.annotation_id: score.version for score in scores(services)}[105] == "logmel-v0"
    with services.database.write() as session:
        roll_back(session, KEY, services.encoder_identity())
    teach(services, webhook(tones[5], CONFIG))
    assert scores(services)[-1].version == "logmel-v1"


def test_skipped_tasks_copies_and_what_was_there_before_are_not_measured(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    copied = webhook(tones[0], CONFIG, lead_time=None, parent_prediction=8, result=result_of("Low", None))
    skipped = webhook(tones[1], CONFIG, was_cancelled=True)
    teach(services, copied, skipped, webhook(tones[2], CONFIG), webhook(tones[3], CONFIG))
    assert [score.annotation_id for score in scores(services)] == [103, 104]
    # Submitted after all: now there is something to measure
    submitted = webhook(tones[1], CONFIG, "ANNOTATION_UPDATED", updated_at="2026-11-20T18:20:00Z")
    teach(services, submitted)
    assert [score.annotation_id for score in scores(services)] == [103, 104, 102]


def test_many_annotations_at_once_are_measured_all_the_same(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earmark.learning.training, "SCORED_BEFORE_SERVING", 1)
    teach(services, *(webhook(task, CONFIG) for task in tones[:4]))
    assert [score.version for score in scores(services)] == ["logmel-v0"] * 4


def test_a_damaged_head_of_that_time_costs_the_score_and_not_the_training(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, *(webhook(task, CONFIG) for task in tones[:4]))
    with services.database.write() as session:
        session.query(VersionHead).update({"head": b"damaged"})
    teach(services, webhook(tones[4], CONFIG))
    assert services.version_name(KEY) == "logmel-v2"
    assert len(scores(services)) == 4


def test_a_sound_that_cannot_be_heard_is_not_measured(
    services: Services, tones: list[dict[str, Any]], tmp_path: Path
) -> None:
    lost = {"id": 9, "data": {"audio": str(tmp_path / "lost.wav")}, "label": "Low"}
    teach(services, *(webhook(task, CONFIG) for task in [*tones[:2], lost]))
    assert [score.annotation_id for score in scores(services)] == [101, 102]


def test_an_edit_of_what_an_earlier_release_learnt_from_is_not_measured(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, *(webhook(task, CONFIG) for task in tones[:4]))
    with services.database.write() as session:  # as the migration leaves it
        session.query(PredictionScore).delete()
        session.query(Annotation).update({"shown_at": 0.0})
    teach(services, webhook(tones[0], CONFIG, "ANNOTATION_UPDATED", updated_at="2026-11-20T18:20:00Z"))
    assert scores(services) == []


def test_a_version_is_not_credited_with_a_task_that_it_has_learnt(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, *(webhook(task, CONFIG, completed_by=1) for task in tones[:4]))
    teach(
        services, webhook(tones[0], CONFIG, id=201, completed_by=2), webhook(tones[4], CONFIG, completed_by=2)
    )
    curve = learning_curve(scores(services))
    shown = {point.name: point.figures()["tags"]["annotations"] for point in curve.versions}
    assert shown == {"logmel-v0": 4.0, "logmel-v1": 1.0}
    assert {p.name: p.figures()["tags"]["annotations"] for p in curve.annotators} == {"1": 4.0, "2": 2.0}
