"""Runs that ``preannotate`` waits for, next to unfinished ones; Label Studio's tasks are simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from rich.console import Console

from earmark.commands import preannotate
from earmark.prediction import bulk_plan as preannotation
from earmark.prediction.bulk_plan import TasksToPredict
from earmark.prediction.task_selection import Selection
from earmark.services import Services
from earmark.store.models import Project
from earmark.store.preannotations import (
    ChunkDone,
    cancel_run,
    claim_chunk,
    create_run,
    finish_chunk,
    run_progress,
    tasks_of,
)
from tests.lessons import KEY, know_project


@pytest.fixture
def project(services: Services) -> Project:
    know_project(services)
    with services.database.read() as session:
        return session.get_one(Project, KEY)


@pytest.fixture
def needed(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Simulated tasks that need a prediction; tests change them."""
    tasks: dict[int, float] = {}
    monkeypatch.setattr(preannotation, "find_tasks", lambda *_: TasksToPredict("v1", dict(tasks)))
    return tasks


def rounds(services: Services, project: Project, tasks: Selection) -> Iterator[Sequence[int]]:
    return preannotate._rounds(services, project, tasks, Console(quiet=True))


def plan(services: Services, selection: Selection, *tasks: int) -> int:
    with services.database.write() as session:
        return create_run(session, KEY, selection.value, "v1", [tasks]).id


def end(services: Services, runs: Sequence[int], **failed: str) -> None:
    with services.database.write() as session:
        for run in runs:
            while chunk := claim_chunk(session, run, "me", 60):
                finish_chunk(session, chunk, "me", ChunkDone(0, {}, failed))


def of(services: Services, run: int) -> set[int]:
    with services.database.read() as session:
        return tasks_of(session, [run])


def test_a_small_run_that_is_left_is_not_all_that_is_done(
    services: Services, project: Project, needed: dict[int, float]
) -> None:
    small = plan(services, Selection.ALL, 1, 2)
    needed |= dict.fromkeys((1, 2, 3), 1.0)
    steps = rounds(services, project, Selection.ALL)
    assert next(steps) == [small]
    end(services, [small], **{"2": "no sound"})
    del needed[1]
    (rest,) = next(steps)
    assert of(services, rest) == {3}, "what failed in the run that went on is not tried at once again"
    end(services, [rest])
    assert list(steps) == []


def test_a_run_of_other_tasks_is_waited_for_only_where_it_has_some(
    services: Services, project: Project, needed: dict[int, float]
) -> None:
    plan(services, Selection.ALL, 7)
    outdated = plan(services, Selection.OUTDATED, 1, 2)
    needed |= dict.fromkeys((1, 2, 3), 1.0)
    steps = rounds(services, project, Selection.UNLABELLED)
    others, new = next(steps)
    assert (others, of(services, new)) == (outdated, {3})
    end(services, [others, new], **{"2": "no sound"})
    (passed_over,) = next(steps)
    assert of(services, passed_over) == {1}, "the other run had left it out"
    assert list(steps) == []


def test_nothing_to_do_is_no_round(services: Services, project: Project, needed: dict[int, float]) -> None:
    plan(services, Selection.ALL, 7)
    assert list(rounds(services, project, Selection.UNLABELLED)) == []


def test_a_cancelled_run_is_waited_for_no_longer(services: Services, project: Project) -> None:
    run = plan(services, Selection.ALL, 1, 2)
    with services.database.write() as session:
        cancel_run(session, run)
    with services.database.read() as session:
        progress = run_progress(session, run)
    assert (progress.chunks_left, progress.cancelled) == (0, 2)
