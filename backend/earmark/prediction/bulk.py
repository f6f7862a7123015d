"""Bulk predictions: runs over many tasks, split into chunks for all workers, written to Label Studio.

A chunk has a few minutes of sound, and a lease. Processing it twice is harmless: the second worker skips
tasks that have a prediction of the version already.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from earmark.encoders.registry import with_classes
from earmark.errors import LabelStudioError, NotEnoughAnnotationsError
from earmark.labels.controls import parse_label_config
from earmark.labelstudio.client import client_for, explained
from earmark.labelstudio.task_pages import OPEN, Filter, Listing
from earmark.prediction.predictor import Predictor
from earmark.prediction.write_windows import wait_for_window
from earmark.prediction.writer import PredictionWriter
from earmark.services import Services
from earmark.store.lease_renewal import heartbeat
from earmark.store.models import Preannotation, PreannotationChunk, Project
from earmark.store.preannotations import (
    ChunkDone,
    claim_chunk,
    create_run,
    finish_chunk,
    planned_tasks,
    release_chunk,
    renew_chunk,
)
from earmark.store.registry import version_names

log = structlog.get_logger(__name__)

CHUNK_SECONDS = 240.0
"""Sound in a chunk: takes CNN14 a second or two on a fast machine, a minute on a slow one."""
CHUNK_TASKS = 50
UNKNOWN_SECONDS = 10.0
"""Assumed duration of a sound whose task has none."""
LEASE_SECONDS = 15.0
SHIFT_SECONDS = 60.0
"""A job takes no further chunk after this time, so that other jobs get their turn; the next job continues."""
RETRY_SECONDS = 15.0
LONGEST_WINDOW_WAIT_SECONDS = 30.0
"""Longest wait for a write window; after that, a run writes nevertheless."""
MOST_ATTEMPTS = 3
"""Attempts at a chunk; a file that crashes its worker must not prevent the end of a run."""
PAGE_TASKS = 500


class Selection(StrEnum):
    """Selection of tasks for a run; always only those without a prediction of the version."""

    ALL = "all"
    UNLABELLED = "unlabelled"
    OUTDATED = "outdated"
    """Tasks with a prediction, but of another version."""


@dataclass(frozen=True)
class TasksToPredict:
    """Tasks that need a prediction of ``version``, each with the seconds of its sound."""

    version: str
    tasks: dict[int, float]


OnPage = Callable[[int, int], None]
"""Progress callback: number of tasks read so far, and of those that need a prediction."""


def find_tasks(
    services: Services, project: Project, selection: Selection, on_page: OnPage | None = None
) -> TasksToPredict:
    """Return the tasks of a project that need a prediction.

    Raises
    ------
    LabelStudioError
        Label Studio refuses or cannot be reached.
    LabelConfigError
        The label config has no control to predict.
    NotEnoughAnnotationsError
        No head can predict yet.
    """
    version = services.active(project.key)
    controls = parse_label_config(project.label_config)
    if services.head_for(version, controls) is None:
        raise NotEnoughAnnotationsError(
            "Nothing can be predicted yet: annotate a few tasks and submit them, or use "
            f"{' or '.join(with_classes())} and labels that it has classes for ('earmark doctor' lists them)."
        )
    needed = TasksToPredict(version.name if version else services.untrained_name(), {})
    read = 0
    listing = Listing(services.access.required(project))
    include = ("data", "predictions_model_versions", "is_labeled")
    for page in listing.tasks(
        project.project_id, *_filters(selection), page_tasks=PAGE_TASKS, include=include
    ):
        read += len(page)
        needed.tasks.update((t["id"], _seconds(t)) for t in page if _needs(t, selection, needed.version))
        if on_page:
            on_page(read, len(needed.tasks))
    return needed


def plan_run(
    services: Services, project: Project, selection: Selection, on_page: OnPage | None = None
) -> Preannotation | None:
    """Store a run over the tasks of a project that need a prediction.

    Returns
    -------
    The run; None when unfinished runs have all tasks that need a prediction.

    Raises
    ------
    EarmarkError
        As ``find_tasks`` does.
    """
    needed = find_tasks(services, project, selection, on_page)
    return store_run(services, project.key, selection, needed.version, needed.tasks)


def store_run(
    services: Services, key: str, selection: Selection, version: str, tasks: Mapping[int, float]
) -> Preannotation | None:
    """Store a run over the tasks (id to seconds) that no unfinished run has; None if there are none."""
    with services.database.write() as session:
        planned = planned_tasks(session, key)
        new = [(number, seconds) for number, seconds in tasks.items() if number not in planned]
        return create_run(session, key, selection.value, version, split_chunks(new)) if new else None


def plan_remaining(services: Services, key: str, version: str, tasks: Iterable[object]) -> int:
    """Store a run over the tasks that a request did not reach in time, unless a run has them already.

    Returns
    -------
    Number of tasks now predicted in the background; 0 for an unknown project, or without access to its
    Label Studio.
    """
    with services.database.read() as session:
        project = session.get(Project, key)
    access = services.access.for_project(project)
    if project is None or access is None or not access.has_token:
        return 0
    # A request may contain anything; a task without a valid id cannot be written to Label Studio
    remaining = {
        task["id"]: _seconds(task)
        for task in tasks
        if isinstance(task, dict) and type(task.get("id")) is int and task["id"] > 0
    }
    store_run(services, key, Selection.ALL, version, dict(sorted(remaining.items())))
    log.info("predicted in the background", project=key, tasks=len(remaining))
    return len(remaining)


def split_chunks(tasks: Iterable[tuple[int, float]]) -> Iterator[list[int]]:
    """Split tasks, each with the seconds of its sound, into chunks."""
    chunk: list[int] = []
    seconds = 0.0
    for number, length in tasks:
        if chunk and (len(chunk) >= CHUNK_TASKS or seconds + length > CHUNK_SECONDS):
            yield chunk
            chunk, seconds = [], 0.0
        chunk.append(number)
        seconds += length
    if chunk:
        yield chunk


def process_chunks(services: Services, run_id: int) -> int:
    """Process chunks of a run, one after another, until none is left or `SHIFT_SECONDS` have passed.

    Returns
    -------
    Number of chunks that were finished.
    """
    owner, ends_at, finished = uuid.uuid4().hex, time.monotonic() + SHIFT_SECONDS, 0
    while finished == 0 or time.monotonic() < ends_at:
        with services.database.write() as session:
            chunk = claim_chunk(session, run_id, owner, LEASE_SECONDS)
            run = session.get(Preannotation, run_id)
        if chunk is None or run is None:
            break
        try:
            done = _exhausted_result(chunk) or _predict_chunk(services, run, chunk, owner)
        except LabelStudioError as error:
            log.warning("bulk predictions wait for Label Studio", run=run_id, detail=str(error))
            with services.database.write() as session:
                release_chunk(session, chunk, owner, RETRY_SECONDS)
            break
        if done is None:
            break
        with services.database.write() as session:
            finish_chunk(session, chunk, owner, done)
        finished += 1
    return finished


def _exhausted_result(chunk: PreannotationChunk) -> ChunkDone | None:
    """Return the failed result of a chunk with too many attempts; None while it may be tried."""
    if chunk.attempts <= MOST_ATTEMPTS:
        return None
    sentence = (
        f"Its worker died {MOST_ATTEMPTS} times over this task and its neighbours: read the worker's log, "
        "then run preannotate again."
    )
    return ChunkDone(0, {}, {str(number): sentence for number in chunk.tasks})


def _predict_chunk(
    services: Services, run: Preannotation, chunk: PreannotationChunk, owner: str
) -> ChunkDone | None:
    """Predict and write a chunk; None when another worker has its lease by now, or the run was cancelled."""
    with services.database.read() as session:
        project = session.get_one(Project, run.project_key)

    def renew_lease() -> bool:
        with services.database.write() as session:
            return renew_chunk(session, chunk, owner, LEASE_SECONDS)

    with heartbeat(renew_lease, LEASE_SECONDS / 4) as lost:
        selection = Selection(run.selection)
        version = services.active(project.key)
        name = version.name if version else services.untrained_name()
        tasks = [
            task
            for task in _tasks_of(Listing(services.access.required(project)), project, selection, chunk)
            if _needs(task, selection, name)
        ]
        requests = [{"id": task["id"], "data": task.get("data")} for task in tasks]
        answer = Predictor(services).predict(requests, project.key, project.label_config)
        if lost.is_set() or not renew_lease():
            return None
        items = [
            (task, item)
            for number, (task, item) in enumerate(zip(tasks, answer.items, strict=True))
            if number not in answer.failed
        ]
        with services.database.read() as session:
            own_versions = version_names(session, project.key) | {services.untrained_name()}
        with explained(services.settings.label_studio_url or project.hostname):
            client = client_for(services.settings, project)
            wait_for_window(services.database, project.key, LONGEST_WINDOW_WAIT_SECONDS, lost.is_set)
            written = PredictionWriter(services, client, project, own_versions).write(answer.version, items)
    if written.deferred:
        raise LabelStudioError(
            f"{len(written.deferred)} tasks are given the same prediction by another worker, or by Label "
            "Studio, at this moment: they are looked at again in a moment."
        )
    failed = {str(tasks[number]["id"]): sentence for number, sentence in answer.failed.items()}
    labels = Counter(label for _, item in items for label in _labels(item["result"]))
    return ChunkDone(len(items), dict(labels), failed)


def _tasks_of(
    listing: Listing, project: Project, selection: Selection, chunk: PreannotationChunk
) -> Iterator[dict[str, Any]]:
    """Yield the chunk's tasks from Label Studio, without those that the selection no longer includes."""
    wanted = set(chunk.tasks)
    between: tuple[Filter, ...] = (
        ("id", "greater_or_equal", "Number", min(wanted)),
        ("id", "less_or_equal", "Number", max(wanted)),
    )
    include = ("data", "predictions", "predictions_model_versions", "is_labeled")
    for page in listing.tasks(project.project_id, *_filters(selection), *between, include=include):
        yield from (task for task in page if task["id"] in wanted)


def _filters(selection: Selection) -> tuple[Filter, ...]:
    return (OPEN,) if selection is Selection.UNLABELLED else ()


def _needs(task: dict[str, Any], selection: Selection, version: str) -> bool:
    versions = {name.strip() for name in str(task.get("predictions_model_versions") or "").split(",")} - {""}
    if version in versions or (selection is Selection.UNLABELLED and task.get("is_labeled")):
        return False
    return bool(versions) or selection is not Selection.OUTDATED


def _seconds(task: dict[str, Any]) -> float:
    data = task.get("data")
    duration = data.get("duration") if isinstance(data, dict) else None
    return float(duration) if isinstance(duration, int | float) and duration > 0 else UNKNOWN_SECONDS


def _labels(result: list[dict[str, Any]]) -> set[str]:
    """Return the labels of one prediction, of regions and tags."""
    return {
        label
        for item in result
        for name in ("labels", "choices")
        for label in item.get("value", {}).get(name, [])
    }
