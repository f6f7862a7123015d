"""Webhooks in any order and number leave the latest state of each annotation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from earmark.services import Services
from earmark.store.annotations import apply_event, count_annotations, live_annotations, stored_annotation_ids
from earmark.store.database import Database
from earmark.store.events import record_event
from earmark.store.models import Annotation, Base

PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}
KEY = "1.1795198673"


def webhook(action: str, annotation: Any, **more: Any) -> dict[str, Any]:
    return {"action": action, "annotation": annotation, "project": PROJECT, "task": _task(2), **more}


def _task(number: int) -> dict[str, Any]:
    return {"id": number, "data": {"audio": f"/data/upload/1/{number}.wav"}}


def _annotation(number: int = 1, second: int = 1, **more: Any) -> dict[str, Any]:
    fields = {"id": number, "task": 2, "result": [{"id": "a", "second": second}], "was_cancelled": False}
    return {**fields, "updated_at": f"2026-11-20T18:19:{second:02d}.044103Z", **more}


CREATED = webhook("ANNOTATION_CREATED", _annotation(second=1))
UPDATED = webhook("ANNOTATION_UPDATED", _annotation(second=2))
DELETED = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 1}], "project": PROJECT}


@pytest.fixture
def database(services: Services) -> Database:
    return services.database


def apply(database: Database, *payloads: dict[str, Any]) -> None:
    for payload in payloads:
        with database.write() as session:
            apply_event(session, record_event(session, payload))


def held(database: Database) -> list[tuple[int, Any]]:
    with database.read() as session:
        return [(a.annotation_id, a.result) for a, _ in live_annotations(session, KEY)]


def test_what_somebody_saved_again_is_known_as_such(database: Database) -> None:
    """However its change is heard of; what is only heard of again was not touched."""
    imported = _annotation(second=1, lead_time=9.0)
    synced = {"action": "ANNOTATIONS_SYNCED", "annotations": [imported], "tasks": [_task(2)]}

    def worked_on(*payloads: dict[str, Any]) -> bool:
        apply(database, *({"project": PROJECT, **payload} for payload in payloads))
        with database.read() as session:
            return session.get_one(Annotation, (KEY, 1)).worked_on

    assert not worked_on(synced, synced)
    truth = {**synced, "annotations": [{**imported, "ground_truth": True}]}
    assert worked_on(truth)
    assert worked_on(truth, UPDATED, CREATED)


@pytest.mark.parametrize("moment", [10**400, 1e308, float("inf"), float("nan"), -1, "now", None])
def test_a_look_at_an_impossible_time_raises_nobody_from_the_dead(database: Database, moment: Any) -> None:
    synced = {"action": "ANNOTATIONS_SYNCED", "annotations": [_annotation(second=9)], "tasks": [_task(2)]}
    apply(database, CREATED, DELETED, {**synced, "project": PROJECT, "observed_at": moment})
    assert held(database) == []


def test_an_update_is_somebodys_work(database: Database) -> None:
    same = webhook("ANNOTATION_UPDATED", _annotation(second=1))
    apply(database, CREATED)
    with database.read() as session:
        assert not session.get_one(Annotation, (KEY, 1)).worked_on
    apply(database, same)
    with database.read() as session:
        assert session.get_one(Annotation, (KEY, 1)).worked_on


def test_latest_update_is_held_in_any_order(database: Database) -> None:
    apply(database, UPDATED, CREATED, UPDATED)
    assert held(database) == [(1, [{"id": "a", "second": 2}])]


@pytest.mark.parametrize("order", list(itertools.permutations([CREATED, UPDATED, DELETED])))
def test_a_deletion_is_final_in_any_order(database: Database, order: tuple[dict[str, Any], ...]) -> None:
    apply(database, *order)
    assert held(database) == []


def test_skipped_tasks_teach_nothing(database: Database) -> None:
    apply(database, webhook("ANNOTATION_CREATED", _annotation(result=[], was_cancelled=True)))
    assert held(database) == []
    with database.read() as session:
        assert count_annotations(session, KEY) == 0


def test_an_annotation_may_become_skipped_and_come_back(database: Database) -> None:
    apply(database, CREATED, webhook("ANNOTATION_UPDATED", _annotation(second=2, was_cancelled=True)))
    assert held(database) == []
    apply(database, webhook("ANNOTATION_UPDATED", _annotation(second=3)))
    assert held(database) == [(1, [{"id": "a", "second": 3}])]


def test_lists_of_annotations_and_tasks(database: Database) -> None:
    annotations = [_annotation(1), _annotation(2, task=3)]
    apply(database, webhook("ANNOTATIONS_CREATED", annotations, task=[_task(2), _task(3)]))
    assert [number for number, _ in held(database)] == [1, 2]


def test_annotations_of_a_deleted_task_teach_nothing(database: Database) -> None:
    apply(database, CREATED, {"action": "TASKS_DELETED", "tasks": [{"id": 2}], "project": PROJECT})
    assert held(database) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=4,
)
odd_annotation = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values,
        "task": json_values,
        "result": json_values,
        "was_cancelled": json_values,
        "updated_at": json_values,
        "completed_by": json_values,
    },
)


@pytest.fixture(scope="module")
def empty() -> Iterator[Database]:
    """Tables without a row."""
    database = Database("sqlite://")
    with database.engine.begin() as connection:
        Base.metadata.create_all(connection)
    yield database
    database.close()


@given(
    st.sampled_from(["ANNOTATION_CREATED", "ANNOTATIONS_DELETED", "TASKS_CREATED", "TASKS_DELETED", "?"]),
    st.dictionaries(
        st.sampled_from(["annotation", "annotations", "task", "tasks"]),
        odd_annotation | st.lists(odd_annotation, max_size=3) | json_values,
    ),
)
def test_no_payload_breaks_the_state(empty: Database, action: str, fields: dict[str, Any]) -> None:
    with empty.engine.connect() as connection, Session(connection) as session:  # rolled back at the end
        for payload in (CREATED, {"action": action, "project": PROJECT, **fields}):
            apply_event(session, record_event(session, payload))
        # An odd webhook may rightly change annotation 1; every stored annotation can be learned from.
        for annotation, task in live_annotations(session, KEY):
            assert all(isinstance(item, dict) for item in annotation.result)
            assert isinstance(task.data, dict)


def test_what_waits_is_known(database: Database) -> None:
    """As it will be when it is applied: what a waiting deletion takes is known no longer."""
    with database.write() as session:
        for event in [record_event(session, webhook("ANNOTATION_CREATED", _annotation(n))) for n in (1, 2)]:
            apply_event(session, event)
            event.handled_at = 1.0
        skipped = {"action": "ANNOTATIONS_CREATED", "annotations": [_annotation(4, was_cancelled=True)]}
        for payload in (
            DELETED,
            webhook("ANNOTATION_CREATED", _annotation(3)),
            {**skipped, "project": PROJECT},
            webhook("ANNOTATION_CREATED", _annotation(5)),
            {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 5}], "project": PROJECT},
            {"action": "START_TRAINING", "project": PROJECT},
        ):
            record_event(session, payload)
    with database.read() as session:
        assert stored_annotation_ids(session, KEY) == {2, 3, 4}
