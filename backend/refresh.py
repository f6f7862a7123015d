"""After a training: fresh predictions for the tasks that are still open, and the version's name.

The least certain tasks come first. As soon as some of them have predictions of the new version, our
backend in Label Studio is renamed to it, which Label Studio copies to the project's model version: then
uncertainty sampling serves by the new scores, and live predictions of that name go on. So it never
looks at a version without predictions. What the new predictions supersede is deleted last.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import structlog

from backend.errors import LabelStudioError
from backend.labelstudio.client import client_for, explained
from backend.labelstudio.listing import OPEN, PAGE_TASKS, Listing
from backend.labelstudio.once import import_predictions
from backend.prediction import Predictor
from backend.services import Services
from backend.store.projects import remember_project
from backend.store.registry import list_versions, version_name
from backend.store.tables import Project

log = structlog.get_logger(__name__)

WRITTEN_AT_ONCE = 50
"""Tasks whose predictions are made and written together; after the first, the new version is shown."""
LEAST_CERTAIN_FIRST = "tasks:predictions_score"
"""Tasks without any prediction come before all others."""


def refresh_predictions(services: Services, key: str) -> int:
    """Write the active version's predictions to a project's open tasks, and show its name.

    Returns
    -------
    Number of tasks that got a prediction; 0 when no Label Studio can be called back.
    """
    version = services.active(key)
    if version is None:
        return 0
    with services.database.read() as session:
        project = session.get_one(Project, key)
        ours = {known.name for known in list_versions(session, key)}
    ours.add(version_name(services.encoder_identity().partition("-")[0], 0))
    url = services.settings.label_studio_url or project.hostname
    try:
        client = client_for(services.settings, project)
        listing = Listing(services.access.required(project))
        tasks = _open_tasks(listing, project.project_id, services.settings.refresh_limit_tasks)
        with explained(url):
            refreshed = _write_predictions(services, client, project, version.name, tasks, ours)
            if refreshed is None:
                return 0
            _delete_predictions(services, client, key, version.name, refreshed.superseded)
    except LabelStudioError as error:
        log.warning("open tasks keep their old predictions", project=key, detail=str(error))
        _put_off(services, key)
        return 0
    except Exception:  # also what nobody expected must not be tried again and again at once
        _put_off(services, key)
        raise
    if refreshed.failed and not refreshed.written:
        log.warning("open tasks keep their old predictions", project=key, detail=refreshed.failed[0])
        _put_off(services, key)
        return 0
    with services.database.write() as session:
        remember_project(session, key).refreshed_version = version.name
    log.info(
        "open tasks refreshed",
        project=key,
        version=version.name,
        tasks=refreshed.written,
        failed=len(refreshed.failed),
        superseded=len(refreshed.superseded),
    )
    return refreshed.written


def _put_off(services: Services, key: str) -> None:
    with services.database.write() as session:
        pause = services.settings.refresh_retry_seconds
        remember_project(session, key).refresh_after = time.time() + pause


def _open_tasks(listing: Listing, project_id: int, limit: int) -> list[dict[str, Any]]:
    """The tasks that nobody has labelled or skipped, the least certain first, at most so many.

    Read as a whole before anything is written, as what is written changes the order.
    """
    tasks: dict[int, dict[str, Any]] = {}
    number = 1
    while len(tasks) < limit:
        page = listing.page(project_id, OPEN, ordering=LEAST_CERTAIN_FIRST, number=number)
        tasks.update((task["id"], task) for task in page if not task.get("is_labeled"))
        if len(page) < PAGE_TASKS:
            break
        number += 1
    return list(tasks.values())[:limit]


@dataclass
class _Refreshed:
    """``written``: tasks with a new prediction. ``failed``: why others have none, which keep what they have,
    and are predicted when they are opened. ``superseded``: numbers of predictions of ours.
    """

    written: int = 0
    failed: list[str] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)


def _write_predictions(
    services: Services,
    client: Any,
    project: Project,
    version: str,
    tasks: list[dict[str, Any]],
    ours: set[str],
) -> _Refreshed | None:
    """Predict and write; None when a newer version was trained meanwhile."""
    predictor, refreshed, kept = Predictor(services), _Refreshed(), set[int]()
    stale = [task for task in tasks if version not in _versions(task)]
    for first in range(0, len(stale), WRITTEN_AT_ONCE):
        some = stale[first : first + WRITTEN_AT_ONCE]
        asked = [{"id": task["id"], "data": task.get("data")} for task in some]
        answer = predictor.predict(asked, project.key, project.label_config)
        if answer.version != version:
            return None  # its own refresh follows
        kept |= {some[position]["id"] for position in answer.failed}
        refreshed.failed += answer.failed.values()
        predictions = [
            {"task": task["id"], "result": item["result"], "score": item["score"], "model_version": version}
            for task, item in zip(some, answer.items, strict=True)
            if task["id"] not in kept
        ]
        if predictions:
            import_predictions(client, project.project_id, predictions)
            if not refreshed.written:
                _show_version(client, project, version, ours)
            refreshed.written += len(predictions)
    if not stale:
        _show_version(client, project, version, ours)
    for task in tasks:
        if task["id"] not in kept:
            old = [p for p in _predictions(task) if p.get("model_version") in ours - {version}]
            refreshed.superseded += [p["id"] for p in old if isinstance(p.get("id"), int)]
    return refreshed


def _delete_predictions(
    services: Services, client: Any, key: str, version: str, predictions: list[int]
) -> None:
    """Delete predictions one by one, as Label Studio has no other way to leave those of others alone."""
    from label_studio_sdk.core.api_error import ApiError

    for number in predictions:
        active = services.active(key)
        if active is None or active.name != version:
            return
        try:
            client.predictions.delete(id=number)
        except ApiError as error:
            if error.status_code != 404:  # gone already, with its task perhaps
                raise


def _show_version(client: Any, project: Project, version: str, ours: set[str]) -> None:
    """Rename our backend in Label Studio to the version, whatever name it was connected under.

    It is ours if it answers with one of our versions. A name of somebody's own choice would be taken
    for the project's model version, of which there are no predictions.
    """
    for backend in client.ml.list(project=project.project_id):
        answers_as_us = backend.title in ours or backend.model_version in ours
        if answers_as_us and backend.title != version:
            client.ml.update(id=backend.id, url=backend.url, project=project.project_id, title=version)


def _versions(task: dict[str, Any]) -> set[object]:
    return {prediction.get("model_version") for prediction in _predictions(task)}


def _predictions(task: dict[str, Any]) -> list[dict[str, Any]]:
    predictions = task.get("predictions")
    return [p for p in predictions if isinstance(p, dict)] if isinstance(predictions, list) else []
