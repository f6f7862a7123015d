"""Effects of trainings, synchronizations and invalid responses on predictions in Label Studio."""

from __future__ import annotations

import time

import httpx
import pytest
from sqlalchemy import update

from earmark.audio.source import LocatedSound
from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.errors import EarmarkError, LabelStudioError, SoundUnreachableError
from earmark.features.extractor import EncodedSound, FrameExtractor
from earmark.labels.config_changes import update_label_config
from earmark.labelstudio.credentials import Credentials
from earmark.labelstudio.task_pages import Listing
from earmark.learning import synchronization as sync
from earmark.learning.synchronization import sync_if_due
from earmark.prediction.refresh import refresh_predictions
from earmark.store.events import pending_work
from earmark.store.models import PredictionWrite
from tests.lessons import config, receive, result_of
from tests.scene import Scene


def fail_to_hear(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    extract = FrameExtractor.extract

    def sometimes(
        self: FrameExtractor, located: LocatedSound, address: str, deadline: Deadline = NO_DEADLINE
    ) -> EncodedSound:
        if address.rpartition("/")[2] in names:
            raise SoundUnreachableError("The sound cannot be reached just now.")
        return extract(self, located, address, deadline)

    monkeypatch.setattr(FrameExtractor, "extract", sometimes)


def test_a_sound_that_cannot_be_had_keeps_the_prediction_that_it_has(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.annotate(0, 1, 2, 3)
    assert scene.learn() == "logmel-v1"
    assert refresh_predictions(scene.services, scene.key) == 4
    assert [scene.shown(place) for place in (6, 7)] == [[("logmel-v1", 2)]] * 2
    scene.annotate(4)
    assert scene.learn() == "logmel-v2"
    with monkeypatch.context() as patch:
        fail_to_hear(patch, "7.wav")
        assert refresh_predictions(scene.services, scene.key) == 2
    assert [scene.shown(place) for place in (6, 7)] == [[("logmel-v1", 2)], [("logmel-v2", 2)]]
    assert (scene.title, scene.project().refreshed_version) == ("logmel-v2", "logmel-v2")


def test_where_nothing_can_be_predicted_nothing_changes_and_it_is_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    refresh_predictions(scene.services, scene.key)
    scene.annotate(4, 5)
    assert scene.learn() == "logmel-v2"
    with monkeypatch.context() as patch:
        fail_to_hear(patch, "7.wav", "8.wav")
        assert refresh_predictions(scene.services, scene.key) == 0
    assert [scene.shown(place) for place in (6, 7)] == [[("logmel-v1", 2)]] * 2
    project = scene.project()
    assert (scene.title, project.refreshed_version) == ("logmel-v1", "logmel-v1")
    assert project.refresh_after > time.time()
    assert refresh_predictions(scene.services, scene.key) == 2
    assert scene.title == "logmel-v2"


def test_start_training_takes_in_what_no_webhook_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_if_due(scene.services, scene.key)
    annotated = ("1.wav", {"result": result_of("Low")})
    scene.label_studio.import_tasks(1, [annotated, ("2.wav", {"result": result_of("High")})])
    sync_if_due(scene.services, scene.key)
    assert scene.services.serving_version(scene.key) is None
    monkeypatch.setattr(sync, "SHORTEST_REQUESTED_REST_SECONDS", 0.0)
    monkeypatch.setattr(sync, "REQUESTED_REST_SHARE", 0)
    receive(scene.services, {"action": "START_TRAINING", "project": scene.label_studio.rows.project(1)})
    assert scene.learn() == "logmel-v1"
    with scene.services.database.read() as session:
        assert pending_work(session) == []


def test_what_failed_rests_also_for_those_who_ask(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compare(*_: object) -> sync.Difference:
        calls.append(1)
        raise ValueError("Nobody expected it.")

    monkeypatch.setattr(sync, "_compare", compare)
    with pytest.raises(ValueError, match="Nobody"):
        sync_if_due(scene.services, scene.key, requested=True)
    assert scene.project().sync_after > time.time()
    sync_if_due(scene.services, scene.key, requested=True)
    assert calls == [1]


@pytest.mark.parametrize("page", ["<html>Sign in</html>", "[]", "{}", '"text"'])
def test_a_page_that_is_no_answer_is_an_error_with_a_remedy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """A proxy that wants a login answers 200, too."""
    listing = Listing(scene.services.access.required(None))
    for method in ("get", "post"):
        answer = httpx.Response(200, text=page, request=httpx.Request(method, "http://127.0.0.1"))
        monkeypatch.setattr(httpx, method, lambda *_, answer=answer, **__: answer)
    with pytest.raises(LabelStudioError, match="check LABEL_STUDIO_URL"):
        next(listing.tasks(1))
    if page != "{}":
        with pytest.raises(LabelStudioError, match="check LABEL_STUDIO_URL"):
            listing.project(1)
    refresh_token = "eyJ0.e30.x"
    with pytest.raises(EarmarkError, match="LABEL_STUDIO_URL"):
        Credentials("http://127.0.0.1", refresh_token).headers()


def test_predictions_with_a_removed_label_are_written_again_by_the_same_version(scene: Scene) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    refresh_predictions(scene.services, scene.key)
    before = shown_labels(scene)
    assert set().union(*before.values()) == {"Low", "High"}
    with scene.services.database.write() as session:
        update_label_config(session, scene.key, config("High"), time.time())
    assert scene.project().refreshed_version == ""
    expire_claims(scene)
    untouched = [scene.shown(place) for place, labels in before.items() if labels == {"High"}]
    assert 0 < len(untouched) < 4
    assert refresh_predictions(scene.services, scene.key) == 4 - len(untouched)
    after = shown_labels(scene)
    assert set().union(*after.values()) == {"High"}
    assert all(after[place] == {"High"} for place, labels in before.items() if labels == {"High"})
    assert scene.project().refreshed_version == "logmel-v1"


def test_only_a_removed_label_makes_predictions_be_written_again(scene: Scene) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    refresh_predictions(scene.services, scene.key)
    with scene.services.database.write() as session:
        update_label_config(session, scene.key, config("Low", "High", "Middle"), time.time())
    assert scene.project().refreshed_version == "logmel-v1"
    with scene.services.database.write() as session:
        update_label_config(session, scene.key, config("Low", "Middle"), time.time())
    project = scene.project()
    assert (project.refreshed_version, project.refresh_after > time.time()) == ("", True)


def shown_labels(scene: Scene) -> dict[int, set[str]]:
    """Labels in the predictions of the open tasks, by place."""
    labels: dict[int, set[str]] = {}
    for place in range(4, 8):
        for row in scene.label_studio.rows.predictions.where("task", scene.tasks[place]):
            for item in row["result"]:
                labels.setdefault(place, set()).update(item["value"][item["type"]])
    return labels


def expire_claims(scene: Scene) -> None:
    with scene.services.database.write() as session:
        session.execute(update(PredictionWrite).values(written_at=0.0, answered_at=0.0))
