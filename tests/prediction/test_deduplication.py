"""One prediction of ours for each task of a simulated Label Studio; none that may be open is deleted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.labelstudio.client import client_for
from earmark.prediction import deduplication
from earmark.prediction.deduplication import deduplicate, delete_superseded, record_predictions
from earmark.prediction.predictor import Predictor
from earmark.prediction.refresh import refresh_next, refresh_predictions
from earmark.prediction.writer import PredictionWriter, superseded_before
from earmark.store.prediction_writes import duplicated_tasks
from tests.scene import Scene

TODAY = f"outdated since {datetime.now(UTC).date()}"


def numbers(scene: Scene, place: int) -> list[int]:
    return [row["id"] for row in scene.label_studio.rows.predictions.where("task", scene.tasks[place])]


def versions(scene: Scene, place: int) -> list[str]:
    return [version for version, _ in scene.shown(place)]


def trained(scene: Scene, *places: int) -> str:
    scene.annotate(*places)
    version = scene.learn()
    assert version is not None
    return version


def test_a_new_version_takes_over_the_predictions_that_are_open(scene: Scene) -> None:
    trained(scene, 0, 1, 2, 3)
    assert refresh_predictions(scene.services, scene.key) == 4
    before = [numbers(scene, place) for place in range(4, 8)]
    version = trained(scene, 4)
    assert refresh_next(scene.services, scene.key) == 3
    assert [numbers(scene, place) for place in range(4, 8)] == before
    assert [versions(scene, place) for place in range(5, 8)] == [[version]] * 3
    assert scene.title == version
    # The finished task keeps what its annotation grew from
    assert versions(scene, 4) == ["logmel-v1"]


def test_promoting_an_older_version_takes_them_over_as_well(scene: Scene) -> None:
    trained(scene, 0, 1, 2, 3)
    refresh_predictions(scene.services, scene.key)
    before = numbers(scene, 7)
    trained(scene, 4)
    refresh_predictions(scene.services, scene.key)
    scene.promote("logmel-v1")
    assert refresh_predictions(scene.services, scene.key) == 3
    assert (versions(scene, 7), numbers(scene, 7)) == (["logmel-v1"], before)
    assert scene.title == "logmel-v1"


def test_predictions_of_others_stay_as_they_are(scene: Scene) -> None:
    rows = scene.label_studio.rows
    foreign = rows.add_prediction(scene.tasks[7], [], 0.1, "another-model")
    trained(scene, 0, 1, 2, 3)
    refresh_predictions(scene.services, scene.key)
    trained(scene, 4)
    refresh_predictions(scene.services, scene.key)
    assert versions(scene, 7) == ["another-model", "logmel-v2"]
    assert rows.predictions[foreign["id"]]["score"] == 0.1


def test_a_second_prediction_of_a_task_is_superseded_and_keeps_its_number(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deduplication, "SETTLE_SECONDS", -1.0)
    trained(scene, 0, 1, 2, 3)
    refresh_predictions(scene.services, scene.key)
    version = trained(scene, 4)
    # Label Studio opens a task before the refresh reaches it, and stores what it is answered
    rows, task = scene.label_studio.rows, scene.tasks[7]
    answer = Predictor(scene.services).predict([rows.whole_task(task)], scene.key, "")
    record_predictions(scene.services, scene.key, [rows.whole_task(task)], answer)
    rows.add_prediction(task, answer.items[0]["result"], answer.items[0]["score"], version)
    before = numbers(scene, 7)
    refresh_next(scene.services, scene.key)
    assert deduplicate(scene.services, scene.key) + versions(scene, 7).count(TODAY) >= 1
    assert sorted(versions(scene, 7)) == [version, TODAY]
    assert numbers(scene, 7) == before
    assert rows.predictions[before[0]]["score"] is None
    with scene.services.database.read() as session:
        assert duplicated_tasks(session, scene.key, 1e12) == []


@pytest.mark.parametrize("prefix", ["outdated since", "superseded"])
def test_what_was_superseded_long_ago_is_deleted_in_bulk(scene: Scene, prefix: str) -> None:
    rows, task = scene.label_studio.rows, scene.tasks[0]
    days = scene.services.settings.superseded_predictions_days
    old = f"{prefix} {datetime.now(UTC).date() - timedelta(days=days + 1)}"
    for name in (old, old, TODAY, "logmel-v1", "superseded by hand"):
        rows.add_prediction(task, [], None, name)
    assert delete_superseded(scene.services, scene.key) == [old]
    assert versions(scene, 0) == [TODAY, "logmel-v1", "superseded by hand"]


def test_a_prediction_that_somebody_deleted_is_written_anew(scene: Scene) -> None:
    trained(scene, 0, 1, 2, 3)
    refresh_predictions(scene.services, scene.key)
    version = trained(scene, 4)
    rows, project = scene.label_studio.rows, scene.project()
    client = client_for(scene.services.settings, project)
    writer = PredictionWriter(scene.services, client, project, {"logmel-v1", version})
    task = rows.whole_task(scene.tasks[7])
    rows.predictions.remove(numbers(scene, 7)[0])
    written = writer.write(version, [(task, {"result": [], "score": 0.5})])
    assert (written.tasks, written.deferred) == ([scene.tasks[7]], [])
    assert versions(scene, 7) == [version]


def test_where_label_studio_fails_the_claims_are_given_back(scene: Scene) -> None:
    project = scene.project()

    class Failing:
        class projects:  # noqa: N801
            @staticmethod
            def import_predictions(**_: object) -> None:
                raise ConnectionError("gone")

    items = [({"id": scene.tasks[7]}, {"result": [], "score": 0.5})]
    writer = PredictionWriter(scene.services, Failing, project, set())
    with pytest.raises(ConnectionError):
        writer.write("logmel-v1", items)
    client = client_for(scene.services.settings, project)
    written = PredictionWriter(scene.services, client, project, set()).write("logmel-v1", items)
    assert written.tasks == [scene.tasks[7]]
    again = PredictionWriter(scene.services, client, project, set()).write("logmel-v1", items)
    assert (again.tasks, again.deferred) == ([], [scene.tasks[7]])


@given(st.lists(st.dates() | st.text(max_size=20), max_size=10), st.dates(date(2000, 1, 1)))
def test_only_old_names_of_ours_are_chosen_for_deletion(names: list[date | str], today: date) -> None:
    texts = [f"superseded {name}" if isinstance(name, date) else name for name in names]
    chosen = superseded_before(texts, today, 15)
    for name, text in zip(names, texts, strict=True):
        assert (text in chosen) == (isinstance(name, date) and name < today - timedelta(days=15))
    assert superseded_before(["superseded 2026-13-45"], today, 15) == []
