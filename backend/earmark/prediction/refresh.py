"""Refresh of open tasks in Label Studio with predictions of the active version, and of the backend's title.

A refresh has two parts. The tasks that Label Studio serves next get new predictions at once, and our
backend is renamed to the version, which Label Studio copies to the project's model version: then uncertainty
sampling uses the new scores, and live predictions under that name continue. All other open tasks follow when
no newer version has come for a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from earmark.errors import LabelStudioError
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
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
"""Tasks refreshed immediately after a training: more than annotators open before the next training."""
WRITTEN_AT_ONCE = 8
"""Batch size: after each batch, the refresh checks whether a newer version answers."""
LONGEST_PAUSE_SECONDS = 1.0
SEQUENTIAL = "Sequential sampling"
IN_ORDER = "tasks:id"
LEAST_CERTAIN_FIRST = "tasks:predictions_score"
"""Ordering by score; tasks without any prediction come first."""


@dataclass
class Refreshed:
    """Outcome of a refresh.

    ``written``: number of tasks that have the version's prediction now. ``failed``: errors of the others,
    which keep their old predictions until they are opened. ``complete``: False where a newer version answers
    meanwhile, or the write window has closed.
    """

    written: int = 0
    failed: list[str] = field(default_factory=list)
    complete: bool = True


def refresh_next(services: Services, key: str) -> int:
    """Refresh the tasks that Label Studio serves next, and the backend's title.

    Returns
    -------
    Number of tasks written; 0 when Label Studio cannot be reached.
    """
    refreshed = _refresh(services, key, _next_tasks, pauses=False)
    return refreshed.written if refreshed else 0


def refresh_predictions(services: Services, key: str) -> int:
    """Refresh all open tasks, the next ones and the least certain ones first.

    Returns
    -------
    Number of tasks written; 0 if Label Studio cannot be reached, or a newer version took over.
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
        _postpone(services, key)
        return 0
    log.info("open tasks refreshed", project=key, tasks=refreshed.written, failed=len(refreshed.failed))
    return refreshed.written


def _refresh(
    services: Services,
    key: str,
    choose: Callable[[Listing, int], list[dict[str, Any]]],
    pauses: bool,
) -> Refreshed | None:
    """Predict and write the open tasks that ``choose`` returns; None where Label Studio cannot be written to.

    ``pauses``: after each batch, sleep as long as it took, to leave Label Studio time for other requests.
    """
    active = services.active_version(key)
    version = services.serving_for(active)
    if active is None:
        return None
    if version is None:  # its head is damaged, and the untrained head answers
        _postpone(services, key)
        return None
    if not is_write_window(services.database, key):
        return Refreshed(complete=False)  # the dispatcher enqueues it again
    with services.database.read() as session:
        project = session.get_one(Project, key)
        own_versions = version_names(session, key) | {services.untrained_name()}
    refreshed = Refreshed()
    try:
        client = client_for(services.settings, project)
        listing = Listing(services.access.required(project))
        writer = PredictionWriter(services, client, project, own_versions)
        tasks = choose(listing, project.project_id)
        controls = parse_label_config(project.label_config)
        stale = [task for task in tasks if not _is_current(writer, task, version.name, controls)]
        with explained(services.settings.label_studio_url or project.hostname):
            for start in range(0, len(stale), WRITTEN_AT_ONCE):
                started = time.monotonic()
                batch = stale[start : start + WRITTEN_AT_ONCE]
                if not _predict_and_write(services, writer, project, version.name, batch, refreshed):
                    refreshed.complete = False
                    return refreshed  # another refresh follows
                if refreshed.written and project.shown_version != version.name:
                    _show_version(services, client, project, version.name, own_versions)
                if pauses:
                    time.sleep(min(LONGEST_PAUSE_SECONDS, time.monotonic() - started))
            if (
                project.shown_version != version.name
                and not refreshed.failed
                and is_write_window(services.database, key)
            ):
                _show_version(services, client, project, version.name, own_versions)
    except LabelStudioError as error:
        log.warning("open tasks keep their old predictions", project=key, detail=str(error))
        _postpone(services, key)
        return None
    except Exception:  # an unexpected error must not be retried in a tight loop either
        _postpone(services, key)
        raise
    if pauses and (refreshed.written or not refreshed.failed):
        with services.database.write() as session:
            row = remember_project(session, key)
            if row.label_config == project.label_config:  # else some predictions may show removed labels
                row.refreshed_version = active.name
    return refreshed


def _predict_and_write(
    services: Services,
    writer: PredictionWriter,
    project: Project,
    version: str,
    tasks: list[dict[str, Any]],
    refreshed: Refreshed,
) -> bool:
    """Predict a batch of tasks and write the results; False when a newer version answers by now, or the write
    window has closed.
    """
    requests = [{"id": task["id"], "data": task.get("data")} for task in tasks]
    answer = Predictor(services).predict(requests, project.key, project.label_config)
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


def _postpone(services: Services, key: str) -> None:
    with services.database.write() as session:
        pause = services.settings.refresh_retry_seconds
        remember_project(session, key).refresh_after = time.time() + pause


def _next_tasks(listing: Listing, project_id: int) -> list[dict[str, Any]]:
    """Return the open tasks that Label Studio serves next, by the project's sampling."""
    sampling = listing.project(project_id).get("sampling")
    ordering = IN_ORDER if sampling == SEQUENTIAL else LEAST_CERTAIN_FIRST
    page = listing.page(project_id, OPEN, ordering=ordering, page_tasks=NEXT_TASKS)
    return [task for task in page if not task.get("is_labeled")]


def _open_tasks(listing: Listing, project_id: int, ordering: str, limit: int) -> list[dict[str, Any]]:
    """Return at most ``limit`` tasks that are neither labelled nor skipped.

    All are read before anything is written, because writing changes the order.
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


def _is_current(
    writer: PredictionWriter, task: dict[str, Any], version: str, controls: Sequence[Control]
) -> bool:
    """Whether a task has one prediction of ours, by this version and without labels that were removed."""
    predictions = writer.own_predictions(task.get("predictions"))
    if len(predictions) != 1 or predictions[0].get("model_version") != version:
        return False
    return has_present_labels(task, predictions[0], controls)


def has_present_labels(
    task: Mapping[str, Any], prediction: Mapping[str, Any], controls: Sequence[Control]
) -> bool:
    """Whether the label config still has all labels of a prediction; both as Label Studio lists them.

    ``controls``: those of the label config.
    """
    of_task = {control.from_name: control.for_task(task.get("data")) for control in controls}
    return all(_has_its_labels(item, of_task) for item in prediction.get("result") or ())


def _has_its_labels(item: Mapping[str, Any], controls: Mapping[str, Control]) -> bool:
    """Whether the control of a result item is in the label config, with all of the item's labels."""
    control, value = controls.get(item.get("from_name", "")), item.get("value", {})
    return control is not None and len(control.read_labels(value, {})) >= len(control.type.read_paths(value))


def _show_version(
    services: Services, client: Any, project: Project, version: str, own_versions: set[str]
) -> None:
    """Rename our backend in Label Studio to the version, whatever title it was connected under.

    A backend is ours if its model version is one of ours. With a title that the operator chose, Label Studio
    would use that as the project's model version, which has no predictions.
    """
    for backend in client.ml.list(project=project.project_id):
        is_ours = backend.title in own_versions or backend.model_version in own_versions
        if is_ours and backend.title != version:
            client.ml.update(id=backend.id, url=backend.url, project=project.project_id, title=version)
    with services.database.write() as session:
        remember_project(session, project.key).shown_version = version
    project.shown_version = version
