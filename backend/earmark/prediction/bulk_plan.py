"""Planning of bulk predictions: which tasks need one, stored as a run in chunks for all workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from earmark.chunks import weighted_chunks
from earmark.encoders.registry import with_classes
from earmark.errors import NotEnoughAnnotationsError
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.task_pages import OPEN, Filter, Listing
from earmark.prediction.task_selection import Selection
from earmark.services import Services
from earmark.store.models import Preannotation, Project
from earmark.store.preannotations import create_run, planned_tasks

log = structlog.get_logger(__name__)

CHUNK_SECONDS = 240.0
"""Sound in a chunk: takes CNN14 a second or two on a fast machine, a minute on a slow one."""
CHUNK_TASKS = 50
UNKNOWN_SECONDS = 10.0
"""Assumed duration of a sound whose task has none."""
PAGE_TASKS = 500


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
    version = services.serving_version(project.key)
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
        project.project_id, *task_filters(selection), page_tasks=PAGE_TASKS, include=include
    ):
        read += len(page)
        needed.tasks.update(
            (t["id"], _seconds(t)) for t in page if needs_prediction(t, selection, needed.version)
        )
        if on_page:
            on_page(read, len(needed.tasks))
    return needed


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
    for chunk in weighted_chunks(tasks, lambda task: task[1], CHUNK_TASKS, CHUNK_SECONDS):
        yield [number for number, _ in chunk]


def task_filters(selection: Selection) -> tuple[Filter, ...]:
    """Return Label Studio's filters that list the selection's tasks."""
    return (OPEN,) if selection is Selection.UNLABELLED else ()


def needs_prediction(task: dict[str, Any], selection: Selection, version: str) -> bool:
    """Whether a listed task is in the selection and has no prediction of the version."""
    versions = {name.strip() for name in str(task.get("predictions_model_versions") or "").split(",")} - {""}
    if version in versions or (selection is Selection.UNLABELLED and task.get("is_labeled")):
        return False
    return bool(versions) or selection is not Selection.OUTDATED


def _seconds(task: dict[str, Any]) -> float:
    data = task.get("data")
    duration = data.get("duration") if isinstance(data, dict) else None
    return float(duration) if isinstance(duration, int | float) and duration > 0 else UNKNOWN_SECONDS
