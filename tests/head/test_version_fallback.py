"""A version whose numbers are not finite is never served: not a new one, and not one that is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earmark.head.fit
import earmark.prediction.sound_prediction
from earmark.api.versions import read_versions
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.model import ControlHead
from earmark.head.prior import fold_back
from earmark.jobs.dispatcher import due_jobs
from earmark.learning.training import learn
from earmark.monitoring.doctor.heads import heads
from earmark.monitoring.project_status import project_states
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.predictor import Predictions, Predictor
from earmark.prediction.refresh import refresh_predictions
from earmark.services import Services
from earmark.store.events import pending_events
from earmark.store.models import VersionHead
from earmark.store.registry import list_versions, load_folds, load_head
from tests.lessons import KEY, config, know_project, make_tones, receive, store_head, webhook, with_nan

CONFIG = config("Low", "High")


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    return make_tones(tmp_path, ["Low", "High"] * 5)


@pytest.fixture
def trained(services: Services, tones: list[dict[str, Any]]) -> Services:
    """Two versions, of which the second answers."""
    for first, last in ((0, 4), (4, 6)):
        assert teach(services, *tones[first:last]).outcome == "registered"
    return services


@pytest.fixture
def restarted(trained: Services) -> Iterator[Services]:
    """Another process on the same database, which has no head in memory."""
    with Services(trained.settings) as services:
        yield services


def teach(services: Services, *tasks: dict[str, Any]) -> Any:
    receive(services, *(webhook(task, CONFIG) for task in tasks))
    training = learn(services, KEY)
    assert training is not None
    return training


def predict(services: Services, tasks: list[dict[str, Any]]) -> Predictions:
    answer = Predictor(services).predict(tasks, KEY, CONFIG)
    json.dumps(answer.items, allow_nan=False)
    return answer


def test_a_stored_version_with_nan_does_not_answer_and_the_one_before_does(
    trained: Services,
    restarted: Services,
    tones: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store_head(trained, "logmel-v2", with_nan(trained, "logmel-v2"))
    answer = predict(restarted, tones[6:8])
    assert answer.version == "logmel-v1"
    assert not answer.failures
    assert all(item["result"] for item in answer.items)
    assert restarted.version_name(KEY) == "logmel-v1"
    assert read_versions(restarted, KEY).projects[0].active == "logmel-v1"
    output = "".join(capsys.readouterr())
    assert output.count("logmel-v1 answers in its place") == 1, "once for each process"
    (finding,) = heads(restarted.settings)
    assert finding.level == "fault"
    assert "logmel-v2" in finding.subject
    assert "not finite" in finding.text
    assert "logmel-v1" in finding.text


def test_the_next_training_replaces_a_damaged_version(
    trained: Services, restarted: Services, tones: list[dict[str, Any]]
) -> None:
    store_head(trained, "logmel-v2", with_nan(trained, "logmel-v2"))
    training = teach(restarted, tones[6])
    assert (training.outcome, training.version) == ("registered", "logmel-v3")
    assert predict(restarted, tones[7:8]).version == "logmel-v3"
    assert list(heads(restarted.settings)) == []


def test_without_an_earlier_version_tasks_stay_empty_with_the_reason(
    trained: Services, restarted: Services, tones: list[dict[str, Any]]
) -> None:
    store_head(trained, "logmel-v2", b"damaged")
    store_head(trained, "logmel-v1", with_nan(trained, "logmel-v1"))
    answer = predict(restarted, tones[6:8])
    assert answer.version == "logmel-v0"
    assert answer.failures == {"head_damaged": 2}
    assert [item["result"] for item in answer.items] == [[], []]
    with restarted.database.read() as session:
        (state,) = project_states(session, restarted.encoder_identity())
    assert state.active is None
    # Nothing can be written of it, so nothing is tried again and again
    know_project(restarted)
    assert refresh_predictions(restarted, KEY) == 0
    activated = restarted.active_version(KEY)
    assert activated is not None
    jobs = due_jobs(restarted.database, restarted.settings, activated.created_at + 1)
    assert "refresh" not in {request.function for request, _ in jobs}


def test_a_fit_that_is_not_finite_makes_no_version(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert teach(services, *tones[:4]).outcome == "registered"

    def broken(*arguments: Any) -> ControlHead:
        head = fold_back(*arguments)
        return replace(head, weights=np.where(np.arange(head.weights.shape[1]) == 0, np.nan, head.weights))

    monkeypatch.setattr(earmark.head.fit, "fold_back", broken)
    training = teach(services, tones[4])
    assert (training.outcome, training.version) == ("failed", None)
    assert "not finite" in training.detail
    with services.database.read() as session:
        assert [version.name for version in list_versions(session, KEY)] == ["logmel-v1"]
        assert pending_events(session, KEY) == [], "equal annotations would end in the same numbers"
        (state,) = project_states(session, services.encoder_identity())
    assert "not finite" in state.remark
    assert predict(services, tones[5:6]).version == "logmel-v1"
    monkeypatch.undo()
    assert teach(services, tones[5]).version == "logmel-v2"


def test_a_version_whose_folds_are_damaged_answers_and_is_not_measured(
    trained: Services, tones: list[dict[str, Any]]
) -> None:
    with trained.database.read() as session:
        version = list_versions(session, KEY)[0]
        fitted = CrossValidatedHead.from_bytes(
            load_head(session, version.id), load_folds(session, version.id)
        )
    assert fitted.folds
    fold = fitted.folds[0].controls["tags"]
    fitted.folds[0].controls["tags"] = replace(fold, bias=np.full_like(fold.bias, np.inf))
    with trained.database.write() as session:
        session.get_one(VersionHead, version.id).folds = fitted.folds_to_bytes()
    with Services(trained.settings) as services:
        training = teach(services, tones[6])
        assert training.outcome == "registered"
        assert "without comparing" in training.detail


def test_a_prediction_that_is_not_finite_becomes_an_empty_item_with_the_reason(
    trained: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def broken(*arguments: Any) -> Any:
        prediction = predict_clip(*arguments)
        calls.append(prediction)
        return replace(prediction, score=float("nan")) if len(calls) == 1 else prediction

    predict(trained, tones[6:8])  # stored frames keep the order of the tasks
    monkeypatch.setattr(earmark.prediction.sound_prediction, "predict_clip", broken)
    answer = predict(trained, tones[6:8])
    assert answer.failures == {"not_finite": 1}
    assert answer.items[0] == {
        "model_version": "logmel-v2",
        "score": 0.0,
        "result": [],
        "probabilities": {},
    }
    assert answer.items[1]["result"]
