"""Claims on tasks, recorded answers and marks of duplicates, on a real database."""

from __future__ import annotations

import pytest

from earmark.services import Services
from earmark.store import prediction_writes
from earmark.store.prediction_writes import (
    claim_writes,
    duplicated_tasks,
    mark_deduplicated,
    projects_with_duplicates,
    record_answers,
    release_writes,
)
from tests.lessons import KEY

LATER = 1e12


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the module under test, in its only place."""
    moment = [1000.0]
    monkeypatch.setattr("earmark.store.prediction_writes.time.time", lambda: moment[0])
    return moment


def marked(services: Services) -> list[int]:
    with services.database.read() as session:
        return [number for number, _ in duplicated_tasks(session, KEY, LATER)]


def test_only_one_worker_gets_a_task_until_its_claim_is_old(services: Services, clock: list[float]) -> None:
    with services.database.write() as session:
        assert claim_writes(session, KEY, "v1", range(1, 1202)) == set(range(1, 1202))
        assert claim_writes(session, KEY, "v1", [1, 1201, 1202]) == {1202}
        assert claim_writes(session, KEY, "v2", [1]) == {1}
        assert claim_writes(session, "2.3", "v1", [1]) == {1}
    clock[0] += prediction_writes.CLAIM_SECONDS + 1
    with services.database.write() as session:
        assert claim_writes(session, KEY, "v1", [1201]) == {1201}


def test_a_claim_that_was_given_back_is_free_at_once(services: Services, clock: list[float]) -> None:
    with services.database.write() as session:
        claim_writes(session, KEY, "v1", [1, 2])
        release_writes(session, KEY, [2])
        assert claim_writes(session, KEY, "v1", [1, 2]) == {2}


def test_what_label_studio_was_answered_is_not_written_as_well(
    services: Services, clock: list[float]
) -> None:
    with services.database.write() as session:
        record_answers(session, KEY, "v1", [1, 2])
        assert claim_writes(session, KEY, "v1", [1, 2, 3]) == {3}
        assert claim_writes(session, KEY, "v2", [1]) == {1}
    assert marked(services) == []


def test_an_answer_that_meets_a_write_or_another_answer_marks_the_task(
    services: Services, clock: list[float]
) -> None:
    with services.database.write() as session:
        claim_writes(session, KEY, "v1", [1])
        record_answers(session, KEY, "v1", [1, 2, 3])
        clock[0] += 1
        record_answers(session, KEY, "v1", [2])
        record_answers(session, KEY, "v2", [3])
        record_answers(session, KEY, "v2", [4], superseding=[4])
    assert marked(services) == [1, 2, 4]


def test_old_writes_and_answers_of_another_version_mark_nothing(
    services: Services, clock: list[float]
) -> None:
    with services.database.write() as session:
        claim_writes(session, KEY, "v1", [1])
        record_answers(session, KEY, "v1", [2])
        clock[0] += prediction_writes.CLAIM_SECONDS + 1
        record_answers(session, KEY, "v1", [1, 2])
    assert marked(services) == []


def test_a_mark_stays_where_another_answer_came_since(services: Services, clock: list[float]) -> None:
    with services.database.write() as session:
        record_answers(session, KEY, "v1", [1, 2], superseding=[1, 2])
    with services.database.read() as session:
        duplicated = duplicated_tasks(session, KEY, clock[0] + 1)
        assert projects_with_duplicates(session, clock[0] + 1) == {KEY}
        assert projects_with_duplicates(session, clock[0]) == set()
    clock[0] += 1
    with services.database.write() as session:
        record_answers(session, KEY, "v1", [2])
        mark_deduplicated(session, KEY, duplicated)
    assert marked(services) == [2]


def test_a_later_claim_leaves_the_mark(services: Services, clock: list[float]) -> None:
    """The task still holds two predictions, when one of them is written."""
    with services.database.write() as session:
        record_answers(session, KEY, "v1", [1], superseding=[1])
        claim_writes(session, KEY, "v2", [1])
    assert marked(services) == [1]
