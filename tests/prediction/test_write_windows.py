"""Write windows: the first half of a single annotator's time on a task, or while all are idle."""

from __future__ import annotations

from typing import Any

import pytest

from earmark.prediction import write_windows
from earmark.prediction.deduplication import deduplicate
from earmark.prediction.refresh import refresh_next, refresh_predictions
from earmark.prediction.write_windows import (
    IDLE_PAUSE_SECONDS,
    LONGEST_IDLE_SECONDS,
    SHORTEST_IDLE_SECONDS,
    Activity,
    activity,
    is_write_window_at_pace,
)
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import record_event
from tests.lessons import KEY, PROJECT
from tests.postgres import SUPERUSER, make_database
from tests.scene import Scene

EVERY_FIVE = [100.0, 105.0, 110.0, 115.0]


@pytest.mark.parametrize(
    ("times", "annotators", "now", "expected"),
    [
        ([], 0, 0.0, True),
        (EVERY_FIVE, 1, 115.5, True),
        (EVERY_FIVE, 1, 117.4, True),
        (EVERY_FIVE, 1, 117.6, False),
        (EVERY_FIVE, 1, 120.0, False),
        (EVERY_FIVE, 1, 129.0, False),
        (EVERY_FIVE, 1, 130.0, True),
        (EVERY_FIVE, 2, 115.5, False),
        (EVERY_FIVE, 2, 130.0, True),
        # A script that annotates many tasks a second has ended
        ([100.0, 100.1, 100.2], 1, 100.2 + SHORTEST_IDLE_SECONDS, True),
        ([100.0, 100.1, 100.2], 1, 101.0, False),
        # One submit alone: ten seconds a task are taken for granted
        ([100.0], 1, 104.9, True),
        ([100.0], 1, 106.0, False),
        ([100.0, 1000.0], 1, 1000.0 + LONGEST_IDLE_SECONDS, True),
    ],
)
def test_a_window_follows_the_pace(times: list[float], annotators: int, now: float, expected: bool) -> None:
    assert Activity(times, annotators).is_window(now) == expected


def test_many_writes_wait_where_annotators_only_seem_to_have_stopped(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("earmark.prediction.write_windows.time.sleep", waited.append)
    for times, annotators, now, pauses in [
        ([], 0, 0.0, []),
        (EVERY_FIVE, 1, 116.0, []),
        (EVERY_FIVE, 1, 120.0, []),
        (EVERY_FIVE, 1, 131.0, [IDLE_PAUSE_SECONDS]),
    ]:
        latest = Activity(times, annotators)
        monkeypatch.setattr(write_windows, "activity", lambda *_, latest=latest: latest)
        monkeypatch.setattr("earmark.prediction.write_windows.time.time", lambda now=now: now)
        waited.clear()
        assert is_write_window_at_pace(services.database, KEY) == latest.is_window(now)
        assert waited == pauses


def test_the_pace_is_read_from_webhooks(services: Services) -> None:
    with services.database.write() as session:
        for number, person in ((1, 7), (2, {"id": 8})):
            annotation = {"id": number, "completed_by": person, "lead_time": 3.5}
            payload = {"action": "ANNOTATION_CREATED", "project": PROJECT, "annotation": annotation}
            last = record_event(session, payload).received_at
        record_event(session, {"action": "PROJECT_UPDATED", "project": PROJECT})
        of_a_script = {"id": 3, "completed_by": 9, "lead_time": None}
        payload = {"action": "ANNOTATION_CREATED", "project": PROJECT, "annotation": of_a_script}
        record_event(session, payload)
    with services.database.read() as session:
        pace = activity(session, KEY, last + 1)
        assert (len(pace.times), pace.annotators, pace.times[-1]) == (2, 2, last)
        assert activity(session, KEY, last + 3600) == Activity([], 0)


def record_odd_submits(services: Services) -> float:
    """Store what only a broken or hostile program sends; returns the time of the last one."""
    odd_values: list[Any] = [[], {"id": {}}, "x", -1, 10**30]
    with services.database.write() as session:
        for odd in odd_values:
            annotation = {"id": 1, "completed_by": odd, "lead_time": odd}
            payload = {"action": "ANNOTATION_CREATED", "project": PROJECT, "annotation": annotation}
            last = record_event(session, payload).received_at
    return last


def test_odd_annotators_and_times_are_one_unknown_annotator(services: Services) -> None:
    last = record_odd_submits(services)
    with services.database.read() as session:
        assert activity(session, KEY, last + 1).annotators == 1


@pytest.mark.slow
def test_odd_annotators_and_times_on_postgresql(postgres_cluster: int, settings: Settings) -> None:
    name = make_database(postgres_cluster)
    url = f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{postgres_cluster}/{name}"
    with Services(settings.model_copy(update={"database_url": url})) as services:
        services.database.upgrade()
        last = record_odd_submits(services)
        with services.database.read() as session:
            assert activity(session, KEY, last + 1).annotators == 1


def test_nothing_is_written_outside_of_a_window(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    monkeypatch.setattr(Activity, "is_window", lambda *_: False)
    assert refresh_next(scene.services, scene.key) == 0
    assert refresh_predictions(scene.services, scene.key) == 0
    assert deduplicate(scene.services, scene.key) == 0
    assert [scene.shown(place) for place in range(4, 8)] == [[]] * 4
    assert (scene.title, scene.project().refreshed_version) == ("logmel-v0", "")


def test_a_window_that_closes_leaves_the_rest_for_the_next_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    assert refresh_predictions(scene.services, scene.key) == 4
    scene.annotate(4)
    version = scene.learn()
    assert version is not None
    answers = iter([True, True, True, False])
    monkeypatch.setattr(Activity, "is_window", lambda *_: next(answers, False))
    refresh_predictions(scene.services, scene.key)
    versions = [held[0][0] for held in map(scene.shown, range(5, 8))]
    assert versions.count(version) == 2
    assert scene.project().refreshed_version == "logmel-v1"
    monkeypatch.undo()
