"""Refresh: the active version's predictions for the tasks that are still open, and its name in Label Studio.

A refresh has two parts. The tasks that Label Studio serves next are given new predictions at once, and our
backend is renamed to the version, which Label Studio copies to the project's model version: then uncertainty
sampling serves by the new scores, and live predictions of that name go on. All other open tasks follow when
no newer version has come for a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from earmark.errors import LabelStudioError
from earmark.labelstudio.client import client_for, explained
from earmark.labelstudio.task_pages import OPEN, PAGE_TASKS, Listing
from earmark.prediction.predictor import Predictor
from earmark.prediction.write_windows import is_write_window, is_write_window_at_pace
from earmark.prediction.writer import PredictionWriter
from earmark.services import Services
from earmark.store.models import Project
from earmark.store.projects import remember_project
from earmark.store.registry import version_names

log = structlog.get_logger(__name__)

NEXT_TASKS = 6
"""Tasks that are refreshed at once after a training: more than annotators open before the next one."""
WRITTEN_AT_ONCE = 8
"""Tasks between two looks at whether a newer version was trained meanwhile."""
LONGEST_PAUSE_SECONDS = 1.0
SEQUENTIAL = "Sequential sampling"
IN_ORDER = "tasks:id"
LEAST_CERTAIN_FIRST = "tasks:predictions_score"
"""Tasks without any prediction come before all others."""


@dataclass
class Refreshed:
    """``written``: tasks that have the version's prediction now. ``failed``: why others have none, which keep
    what they have, and are predicted when they are opened. ``complete``: nothing is left for later, as no
    newer version has come meanwhile, and the write window has not closed.
    """

    written: int = 0
    failed: list[str] = field(default_factory=list)
    complete: bool = True


def refresh_next(services: Services, key: str) -> int:
    """Give the tasks that are served next the active version's predictions, and show its name.

    Returns
    -------
    Number of tasks that were given one; 0 when no Label Studio can be called back.
    """
    refreshed = _refresh(services, key, _next_tasks, pauses=False)
    return refreshed.written if refreshed else 0


def refresh_predictions(services: Services, key: str) -> int:
    """Give all open tasks the active version's predictions, the next ones and the least certain ones first.

    Returns
    -------
    As above.
    """
    limit = services.settings.refresh_limit_tasks

    def tasks(listing: Listing, project_id: int) -> list[dict[str, Any]]:
        first = _next_tasks(listing, project_id) if limit else []
        numbers = {task["id"] for task in first}
        others = _open_tasks(listing, project_id, LEAST_CERTAIN_FIRST, limit)
        return (first + [task for task in others if task["id"] not in numbers])[:limit]

    refreshed = _refresh(services, key, tasks, pauses=True)
    if refreshed is None or not refreshed.complete:
        return 0
    if refreshed.failed and not refreshed.written:
        log.warning("open tasks keep their old predictions", project=key, detail=refreshed.failed[0])
        _put_off(services, key)
        return 0
    log.info("open tasks refreshed", project=key, tasks=refreshed.written, failed=len(refreshed.failed))
    return refreshed.written


def _refresh(
    services: Services,
    key: str,
    choose: Callable[[Listing, int], list[dict[str, Any]]],
    pauses: bool,
) -> Refreshed | None:
    """Predict and write what a function chooses of the open tasks; None where Label Studio prevents it.

    ``pauses``: leave Label Studio as much time for others as the writing takes.
    """
    active = services.activated(key)
    version = services.answering(active)
    if active is None:
        return None
    if version is None:  # its head is damaged, and the start before any training answers
        _put_off(services, key)
        return None
    if not is_write_window(services.database, key):
        return Refreshed(complete=False)  # the dispatcher asks again
    with services.database.read() as session:
        project = session.get_one(Project, key)
        ours = version_names(session, key) | {services.untrained_name()}
    refreshed = Refreshed()
    try:
        client = client_for(services.settings, project)
        listing = Listing(services.access.required(project))
        writer = PredictionWriter(services, client, project, ours)
        tasks = choose(listing, project.project_id)
        stale = [task for task in tasks if not _is_current(writer, task, version.name)]
        with explained(services.settings.label_studio_url or project.hostname):
            for first in range(0, len(stale), WRITTEN_AT_ONCE):
                started = time.monotonic()
                some = stale[first : first + WRITTEN_AT_ONCE]
                if not _write(services, writer, project, version.name, some, refreshed):
                    refreshed.complete = False
                    return refreshed  # its own refresh follows
                if refreshed.written and project.shown_version != version.name:
                    _show_version(services, client, project, version.name, ours)
                if pauses:
                    time.sleep(min(LONGEST_PAUSE_SECONDS, time.monotonic() - started))
            if (
                project.shown_version != version.name
                and not refreshed.failed
                and is_write_window(services.database, key)
            ):
                _show_version(services, client, project, version.name, ours)
    except LabelStudioError as error:
        log.warning("open tasks keep their old predictions", project=key, detail=str(error))
        _put_off(services, key)
        return None
    except Exception:  # an unexpected error, too, must not be tried again and again at once
        _put_off(services, key)
        raise
    if pauses and (refreshed.written or not refreshed.failed):
        with services.database.write() as session:
            remember_project(session, key).refreshed_version = active.name
    return refreshed


def _write(
    services: Services,
    writer: PredictionWriter,
    project: Project,
    version: str,
    tasks: list[dict[str, Any]],
    refreshed: Refreshed,
) -> bool:
    """Predict some tasks and write what comes of it; False when a newer version answers by now, or the write
    window has closed.
    """
    asked = [{"id": task["id"], "data": task.get("data")} for task in tasks]
    answer = Predictor(services).predict(asked, project.key, project.label_config)
    if answer.version != version:
        return False
    refreshed.failed += answer.failed.values()
    items = [
        (task, item)
        for position, (task, item) in enumerate(zip(tasks, answer.items, strict=True))
        if position not in answer.failed
    ]
    written = writer.write(version, items, lambda: is_write_window_at_pace(services.database, project.key))
    refreshed.written += len(written.tasks) + len(written.deferred)
    return not written.stopped


def _put_off(services: Services, key: str) -> None:
    with services.database.write() as session:
        pause = services.settings.refresh_retry_seconds
        remember_project(session, key).refresh_after = time.time() + pause


def _next_tasks(listing: Listing, project_id: int) -> list[dict[str, Any]]:
    """The open tasks that Label Studio serves next, as far as the project's sampling tells."""
    sampling = listing.project(project_id).get("sampling")
    ordering = IN_ORDER if sampling == SEQUENTIAL else LEAST_CERTAIN_FIRST
    page = listing.page(project_id, OPEN, ordering=ordering, page_tasks=NEXT_TASKS)
    return [task for task in page if not task.get("is_labeled")]


def _open_tasks(listing: Listing, project_id: int, ordering: str, limit: int) -> list[dict[str, Any]]:
    """The tasks that are neither labelled nor skipped, at most so many.

    Read as a whole before anything is written, as what is written changes the order.
    """
    tasks: dict[int, dict[str, Any]] = {}
    number = 1
    while len(tasks) < limit:
        page = listing.page(project_id, OPEN, ordering=ordering, number=number)
        tasks.update((task["id"], task) for task in page if not task.get("is_labeled"))
        if len(page) < PAGE_TASKS:
            break
        number += 1
    return list(tasks.values())[:limit]


def _is_current(writer: PredictionWriter, task: dict[str, Any], version: str) -> bool:
    held = writer.held(task.get("predictions"))
    return len(held) == 1 and held[0].get("model_version") == version


def _show_version(services: Services, client: Any, project: Project, version: str, ours: set[str]) -> None:
    """Rename our backend in Label Studio to the version, whatever name it was connected under.

    It is ours if it answers with one of our versions. A name of the operator's own choice would be taken
    for the project's model version, of which there are no predictions.
    """
    for backend in client.ml.list(project=project.project_id):
        answers_as_us = backend.title in ours or backend.model_version in ours
        if answers_as_us and backend.title != version:
            client.ml.update(id=backend.id, url=backend.url, project=project.project_id, title=version)
    with services.database.write() as session:
        remember_project(session, project.key).shown_version = version
    project.shown_version = version
