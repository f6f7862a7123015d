"""Bulk predictions without a Label Studio: chunks, leases, attempts, and unreached tasks."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.prediction.bulk import MOST_ATTEMPTS, process_chunks
from earmark.prediction.bulk_plan import CHUNK_SECONDS, CHUNK_TASKS, plan_remaining, split_chunks
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import PreannotationChunk
from earmark.store.preannotations import (
    claim_chunk,
    create_run,
    planned_tasks,
    release_chunk,
    renew_chunk,
    run_progress,
)
from earmark.store.projects import UNKNOWN_PROJECT
from tests.lessons import KEY, know_project


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a Label Studio that nobody asks here."""
    return settings.model_copy(update={"label_studio_url": "http://127.0.0.1:9"})


@pytest.fixture
def knowing_services(services: Services) -> Services:
    """Knows one project, by the legacy token that Label Studio sent."""
    know_project(services)
    return services


@given(st.lists(st.floats(0.01, 2000), max_size=200))
def test_chunks_hold_every_task_once_and_little_each(seconds: list[float]) -> None:
    chunks = list(split_chunks(enumerate(seconds)))
    assert [number for chunk in chunks for number in chunk] == list(range(len(seconds)))
    for chunk in chunks:
        assert 1 <= len(chunk) <= CHUNK_TASKS
        assert len(chunk) == 1 or math.fsum(seconds[number] for number in chunk) <= CHUNK_SECONDS + 1e-6


@pytest.mark.parametrize("odd", [None, "7", [7], {"x": 7}, True, -1, 2.5])
def test_odd_tasks_of_a_request_are_left_out(knowing_services: Services, odd: Any) -> None:
    tasks = [{"id": odd, "data": {}}, {"id": 8, "data": {"duration": odd}}, odd]
    assert plan_remaining(knowing_services, KEY, "logmel-v1", tasks) == 1
    with knowing_services.database.read() as session:
        assert planned_tasks(session, KEY).keys() == {8}


def test_what_is_planned_already_is_not_planned_again(knowing_services: Services) -> None:
    for _ in range(2):
        assert plan_remaining(knowing_services, KEY, "logmel-v1", [{"id": 8}, {"id": 9}]) == 2
    with knowing_services.database.read() as session:
        assert session.query(PreannotationChunk).count() == 1


def test_a_project_that_nobody_knows_gets_no_run(knowing_services: Services) -> None:
    assert plan_remaining(knowing_services, UNKNOWN_PROJECT, "logmel-v0", [{"id": 8}]) == 0
    with knowing_services.database.read() as session:
        assert session.query(PreannotationChunk).count() == 0


def test_a_chunk_whose_workers_die_ends_with_a_sentence(knowing_services: Services) -> None:
    with knowing_services.database.write() as session:
        run = create_run(session, KEY, "all", "logmel-v1", [[1, 2]])
    for _ in range(MOST_ATTEMPTS):
        with knowing_services.database.write() as session:
            assert claim_chunk(session, run.id, "dies", -1.0) is not None
    assert process_chunks(knowing_services, run.id) == 1
    with knowing_services.database.read() as session:
        progress = run_progress(session, run.id)
    assert progress.chunks_left == 0
    assert progress.failed.keys() == {"1", "2"}
    assert "read the worker's log" in progress.failed["1"]


def test_an_absent_label_studio_is_no_attempt(knowing_services: Services) -> None:
    with knowing_services.database.write() as session:
        run = create_run(session, KEY, "all", "logmel-v1", [[1]])
        for _ in range(MOST_ATTEMPTS + 1):
            chunk = claim_chunk(session, run.id, "me", 60)
            assert chunk is not None
            assert chunk.attempts == 1
            release_chunk(session, chunk, "me", -1.0)


def test_a_chunk_belongs_to_one(knowing_services: Services) -> None:
    with knowing_services.database.write() as session:
        run = create_run(session, KEY, "all", "logmel-v1", [[1]])
        chunk = claim_chunk(session, run.id, "one", 60)
        assert chunk is not None
        assert claim_chunk(session, run.id, "two", 60) is None
        assert renew_chunk(session, chunk, "one", -1.0)
        assert claim_chunk(session, run.id, "two", 60) is not None
        assert not renew_chunk(session, chunk, "one", 60)
