"""Training: which version is served or rejected, and the reason that is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import earmark.learning.head_training
import earmark.learning.training_set
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.fit import fit_head
from earmark.head.model import Head
from earmark.head.regression_check import Comparison
from earmark.jobs.dispatcher import due_jobs
from earmark.learning.training import learn
from earmark.monitoring.doctor.projects import projects as project_findings
from earmark.monitoring.project_status import project_states
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.store.annotations import live_annotations
from earmark.store.events import pending_events
from earmark.store.projects import remember_project
from earmark.store.registry import list_versions, load_folds, load_head, promote
from tests.lessons import KEY, config, make_tones, receive, webhook

CONFIG = config("Low", "High")
WORSE = "“tags”: accuracy fell from 0.900 to 0.500."


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    return make_tones(tmp_path, ["Low", "High"] * 5)


class Judge:
    """Stands in for the measuring, which has tests of its own: says what it is told to."""

    def __init__(self) -> None:
        self.reasons: tuple[str, ...] = ()
        self.asked: list[tuple[bytes, bytes]] = []

    def __call__(self, *_: object, candidate: CrossValidatedHead, active: CrossValidatedHead) -> Comparison:
        self.asked.append((candidate.head.to_bytes(), active.head.to_bytes()))
        return Comparison({}, {}, self.reasons)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    judge = Judge()

    def compare(
        pool: object,
        rate: object,
        controls: object,
        clips: object,
        candidate: CrossValidatedHead,
        active: CrossValidatedHead,
        built: object,
    ) -> Comparison:
        return judge(candidate=candidate, active=active)

    monkeypatch.setattr(earmark.learning.training_set, "compare", compare)
    return judge


def teach(services: Services, *tasks: dict[str, Any]) -> Any:
    receive(services, *(webhook(task, CONFIG) for task in tasks))
    training = learn(services, KEY)
    assert training is not None
    return training


def turned(head: Head) -> Head:
    """The head with its signs turned."""
    controls = {
        name: replace(control, weights=-control.weights, bias=-control.bias)
        for name, control in head.controls.items()
    }
    return Head(head.identity, controls)


def remark(services: Services) -> str:
    with services.database.read() as session:
        (state,) = project_states(session, services.encoder_identity())
    return state.remark


def head_of(services: Services, name: str) -> bytes:
    with services.database.read() as session:
        (version,) = [v for v in list_versions(session, KEY) if v.name == name]
        return load_head(session, version.id)


def test_a_worse_candidate_is_kept_with_the_reason_and_the_active_one_goes_on(
    services: Services, tones: list[dict[str, Any]], judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(services, *tones[:6]).outcome == "registered"
    assert judge.asked == [], "the first version has nothing to be worse than"
    with services.database.write() as session:
        remember_project(session, KEY).refreshed_version = "logmel-v1"
    judge.reasons = (WORSE,)
    training = teach(services, tones[6])
    assert (training.outcome, training.version, training.detail) == ("rejected", "logmel-v2", WORSE)
    assert "warning" in "".join(capsys.readouterr())
    assert services.version_name(KEY) == "logmel-v1"
    assert Predictor(services).predict(tones[7:8], KEY, CONFIG).version == "logmel-v1"
    with services.database.read() as session:
        rejected, served = list_versions(session, KEY)
        assert (rejected.name, rejected.status, rejected.reason, rejected.active) == (
            "logmel-v2",
            "rejected",
            WORSE,
            False,
        )
        assert (served.status, served.reason, served.active) == ("accepted", "", True)
        assert load_folds(session, rejected.id)
        assert pending_events(session, KEY) == [], "what it learned from is not learned again and again"
    assert due_jobs(services.database, services.settings, training.finished_at + 100) == []
    assert remark(services) == f"logmel-v2 was rejected and is not served: {WORSE}"
    finding = next(iter(project_findings(services.settings)))
    assert finding.level == "note"
    assert WORSE in finding.text
    assert finding.remedy == "'earmark promote 1 logmel-v2' serves it anyway."

    judge.reasons = ()
    assert teach(services, tones[7]).outcome == "registered"
    # Compared with the one that is active, not with the one that was rejected
    active_one = head_of(services, "logmel-v1")
    assert [CrossValidatedHead.from_bytes(active, None).head.to_bytes() for _, active in judge.asked] == [
        active_one
    ] * 2
    assert services.version_name(KEY) == "logmel-v3"
    assert remark(services) == ""


def test_a_fit_that_went_wrong_is_measured_and_kept(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stands in for the measuring here: every head of the second training has its signs turned."""
    assert teach(services, *tones[:8]).outcome == "registered"

    def fit_wrongly(*arguments: Any, **named: Any) -> Any:
        fitted, report = fit_head(*arguments, **named)
        return replace(fitted, head=turned(fitted.head), folds=tuple(map(turned, fitted.folds))), report

    monkeypatch.setattr(earmark.learning.head_training, "fit_head", fit_wrongly)
    training = teach(services, *tones[8:])
    assert training.outcome == "rejected"
    assert "would get worse" in training.detail
    active = services.serving_version(KEY)
    assert active is not None
    assert active.name == "logmel-v1"
    monkeypatch.setattr(earmark.learning.head_training, "fit_head", fit_head)
    assert teach(services, {**tones[0], "id": 99}).outcome == "registered"


def test_what_cannot_be_measured_is_served_and_said(services: Services, tones: list[dict[str, Any]]) -> None:
    teach(services, *tones[:2])
    training = teach(services, tones[2])
    assert training.outcome == "registered"
    expected = (
        "Served without comparing “label”, “tags” with logmel-v1: fewer than 5 recordings are new to both."
    )
    assert training.detail == expected
    assert teach(services, *tones[3:]).detail == ""


def test_the_first_version_is_compared_with_what_answered_before_any_training(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start here knows the answers; the first training turns its signs."""
    with Services(
        services.settings.model_copy(update={"data_dir": services.settings.data_dir / "other"})
    ) as other:
        other.database.upgrade()
        teach(other, *tones)
        version = other.serving_version(KEY)
        assert version is not None
        start = other.head(version)
    monkeypatch.setattr(services, "zero_shot_head", lambda _controls: start)

    def fit_wrongly(*arguments: Any, **named: Any) -> Any:
        fitted, report = fit_head(*arguments, **named)
        return replace(fitted, head=turned(fitted.head), folds=tuple(map(turned, fitted.folds))), report

    monkeypatch.setattr(earmark.learning.head_training, "fit_head", fit_wrongly)
    training = teach(services, *tones)
    assert training.outcome == "rejected"
    assert services.version_name(KEY) == "logmel-v0"
    monkeypatch.setattr(earmark.learning.head_training, "fit_head", fit_head)
    assert teach(services, {**tones[0], "id": 99}).outcome == "registered"


def test_a_version_that_becomes_active_meanwhile_is_the_one_to_compare_with(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(services, *tones[:6])
    teach(services, tones[6])
    calls = []

    def compare(
        pool: object,
        rate: object,
        controls: object,
        clips: object,
        candidate: CrossValidatedHead,
        active: CrossValidatedHead,
        built: object,
    ) -> Comparison:
        calls.append(active.head.to_bytes())
        if len(calls) == 1:
            with services.database.write() as session:
                promote(session, KEY, "v1", services.encoder_identity())
        return Comparison({}, {}, ())

    monkeypatch.setattr(earmark.learning.training_set, "compare", compare)
    assert teach(services, tones[7]).version == "logmel-v3"
    assert calls == [head_of(services, "logmel-v2"), head_of(services, "logmel-v1")]


def test_a_promotion_is_served_by_other_processes_at_once(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, *tones[:4])
    teach(services, *tones[4:6])
    with Services(services.settings) as other:
        assert Predictor(other).predict(tones[7:8], KEY, CONFIG).version == "logmel-v2"
        with services.database.write() as session:
            promote(session, KEY, "v1", services.encoder_identity())
        assert Predictor(other).predict(tones[7:8], KEY, CONFIG).version == "logmel-v1"
        assert other.version_name(KEY) == "logmel-v1"


def test_too_little_to_learn_from_is_said_in_one_sentence(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    receive(services, webhook(tones[0], CONFIG, result=[]))
    training = learn(services, KEY)
    assert training is not None
    assert (training.outcome, training.version) == ("nothing", None)
    assert training.detail
    assert remark(services) == training.detail
    finding = next(iter(project_findings(services.settings)))
    assert (finding.level, training.detail in finding.text) == ("note", True)
    (item,) = Predictor(services).predict(tones[7:8], KEY, CONFIG).items
    assert (item["model_version"], item["result"]) == ("logmel-v0", [])


def test_agreement_is_kept_with_the_version(services: Services, tones: list[dict[str, Any]]) -> None:
    second = [
        webhook({**task, "label": label}, CONFIG, id=200 + task["id"], completed_by=2)
        for task, label in zip(tones[:4], ("Low", "High", "Low", "Low"), strict=True)
    ]
    receive(services, *second)
    teach(services, *tones[:4])
    with services.database.read() as session:
        (version,) = list_versions(session, KEY)
    # Two coders, four units, one disagreement: 1 - (2 / 8) / (2 * 5 * 3 / (8 * 7))
    alpha = 1 - (2 / 8) / (2 * 5 * 3 / (8 * 7))
    assert version.metrics["tags"]["agreement"] == pytest.approx({"Low": alpha, "High": alpha})
    assert set(version.metrics["label"]["agreement"]) == {"Low", "High"}


@pytest.mark.parametrize(
    ("fields", "review", "weight"),
    [
        ({}, None, 1.0),
        ({"reviews": [{"accepted": False}, {"accepted": True}]}, None, 1.5),
        ({"reviews": [{"accepted": True}, {"accepted": False}]}, None, 1.0),
        ({"reviews": "yes"}, None, 1.0),
        ({"acceptedReviews": 1}, None, 1.5),
        ({}, {"annotation": 101, "accepted": True}, 1.5),
        ({}, {"annotation": 101, "accepted": "?"}, 1.0),
        ({}, {"annotation": 999, "accepted": True}, 1.0),
        ({"ground_truth": True, "reviews": [{"accepted": True}]}, None, 2.0),
    ],
)
def test_ground_truth_over_reviewed_over_submitted(
    services: Services,
    tones: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    review: object,
    weight: float,
) -> None:
    payload = webhook(tones[0], CONFIG, **fields)
    receive(services, payload)
    if review is not None:
        receive(services, {"action": "REVIEW_CREATED", "review": review, "project": payload["project"]})
    seen: list[float] = []

    def watched(pool: Any, rate: Any, identity: Any, controls: Any, clips: Any, *more: Any) -> Any:
        seen.extend(clip.weight for clip in clips)
        return fit_head(pool, rate, identity, controls, clips, *more)

    monkeypatch.setattr(earmark.learning.head_training, "fit_head", watched)
    learn(services, KEY)
    assert seen == [weight]


def test_an_edit_after_the_review_is_a_submission_again(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    def reviewed() -> bool:
        with services.database.read() as session:
            ((annotation, _),) = live_annotations(session, KEY)
        return annotation.reviewed

    receive(services, webhook(tones[0], CONFIG, reviews=[{"accepted": True}]))
    learn(services, KEY)
    assert reviewed()
    receive(services, webhook(tones[0], CONFIG, "ANNOTATION_UPDATED", updated_at="2026-11-20T18:20:00Z"))
    learn(services, KEY)
    assert reviewed(), "saved as it was"
    other = {**tones[0], "label": "High"}
    receive(services, webhook(other, CONFIG, "ANNOTATION_UPDATED", updated_at="2026-11-20T18:21:00Z"))
    learn(services, KEY)
    assert not reviewed()
