"""After a training: fresh predictions for the tasks that are still open, and the version's name."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import structlog

from backend.errors import LabelStudioError
from backend.labelstudio.client import client_for, explained
from backend.prediction import Predictor
from backend.services import Services
from backend.store.projects import remember_project
from backend.store.registry import list_versions, version_name
from backend.store.tables import Project

log = structlog.get_logger(__name__)

PAGE_TASKS = 100
RETRY_SECONDS = 60.0


def refresh_predictions(services: Services, key: str) -> int:
    """Write the active version's predictions to a project's unlabelled tasks, and show its name.

    The order matters: predictions first, then the backend's title, which Label Studio copies to
    the project's model version; so uncertainty sampling never looks at an empty version.

    Returns
    -------
    Number of tasks that got a prediction; 0 when no Label Studio can be called back.
    """
    version = services.active(key)
    if version is None:
        return 0
    with services.database.read() as session:
        project = session.get_one(Project, key)
    try:
        client = client_for(services.settings, project)
        with explained(services.settings.label_studio_url or project.hostname):
            written = _write_predictions(services, client, project, version.name)
            _show_version(services, client, project, version.name)
    except LabelStudioError as error:
        log.warning("open tasks keep their old predictions", project=key, detail=str(error))
        with services.database.write() as session:
            remember_project(session, key).refresh_after = time.time() + RETRY_SECONDS
        return 0
    with services.database.write() as session:
        remember_project(session, key).refreshed_version = version.name
    log.info("open tasks refreshed", project=key, version=version.name, tasks=written)
    return written


def _write_predictions(services: Services, client: Any, project: Project, version: str) -> int:
    predictor, written = Predictor(services), 0
    open_tasks = itertools.islice(
        _open_tasks(client, project.project_id, version), services.settings.refresh_limit_tasks
    )
    while page := list(itertools.islice(open_tasks, PAGE_TASKS)):
        answer = predictor.predict(page, project.key, project.label_config)
        if answer.version != version:
            # A newer version was trained meanwhile; its own refresh follows.
            return written
        predictions = [
            {"task": task["id"], "result": item["result"], "score": item["score"], "model_version": version}
            for task, item in zip(page, answer.items, strict=True)
        ]
        client.projects.import_predictions(id=project.project_id, request=predictions)
        written += len(predictions)
    return written


def _open_tasks(client: Any, project_id: int, version: str) -> Iterator[dict[str, Any]]:
    """Tasks without an annotation and without a prediction of ``version``."""
    for task in client.tasks.list(project=project_id, fields="all", page_size=PAGE_TASKS):
        done = task.is_labeled or task.total_annotations
        current = any(
            (p.get("model_version") if isinstance(p, dict) else p.model_version) == version
            for p in task.predictions or []
        )
        if not done and not current:
            yield {"id": task.id, "data": task.data}


def _show_version(services: Services, client: Any, project: Project, version: str) -> None:
    """Rename our backend in Label Studio to the version, if its title was one of our names."""
    with services.database.read() as session:
        ours = {v.name for v in list_versions(session, project.key)}
    ours.add(version_name(services.encoder_identity().partition("-")[0], 0))
    for backend in client.ml.list(project=project.project_id):
        if backend.title in ours and backend.title != version:
            client.ml.update(id=backend.id, url=backend.url, project=project.project_id, title=version)
