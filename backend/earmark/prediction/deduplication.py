"""Deduplication of predictions in Label Studio: one of ours for each task; old duplicates are deleted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from earmark.encoders.registry import is_version_name
from earmark.errors import LabelStudioError
from earmark.labelstudio.client import client_for, explained
from earmark.labelstudio.model_versions import delete_model_version, list_model_versions
from earmark.prediction.predictor import Predictions
from earmark.prediction.write_windows import is_write_window
from earmark.prediction.writer import PredictionWriter, superseded_before
from earmark.services import Services
from earmark.store.annotations import add_unknown_tasks
from earmark.store.models import Project
from earmark.store.prediction_writes import duplicated_tasks, mark_deduplicated, record_answers
from earmark.store.registry import version_names

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 1.0
"""Label Studio has stored most answers of ``/predict`` after this time."""
LONGEST_SETTLE_SECONDS = 15.0
"""All answers are stored after this time, even of many tasks at once."""


def record_predictions(services: Services, key: str, tasks: Sequence[object], answer: Predictions) -> None:
    """Record the answers of ``/predict``, which Label Studio stores as predictions, to detect duplicates.

    Parameters
    ----------
    tasks
        As Label Studio sent them, with their ``predictions``.
    """
    answered: dict[int, Any] = {}
    scores: dict[int, float | None] = {}
    for task, item in zip(tasks, answer.items, strict=True):
        if "result" in item and (number := task_number(task)) is not None:
            answered[number], scores[number] = task, item.get("score")
    if not answered:
        return
    superseding = {number for number in answered if _has_ours(answered[number])}
    data = {number: task.get("data") for number, task in answered.items()}
    try:
        with services.database.write() as session:
            if session.get(Project, key) is not None:
                record_answers(session, key, answer.version, answered, superseding, scores)
                add_unknown_tasks(session, key, data)
    except SQLAlchemyError as error:  # the answer was sent; a task may get a second prediction
        log.warning("answers of /predict not recorded", project=key, error=str(error))


def task_number(task: object) -> int | None:
    """Return the id of a task that Label Studio sent, with ``predictions``; None for other clients' tasks."""
    if not isinstance(task, dict) or not isinstance(task.get("predictions"), list):
        return None
    number = task.get("id")
    return number if type(number) is int and 0 < number < 2**63 else None


def _has_ours(task: Any) -> bool:
    return any(_is_ours(prediction) for prediction in task["predictions"])


def _is_ours(prediction: object) -> bool:
    version = prediction.get("model_version") if isinstance(prediction, dict) else None
    return isinstance(version, str) and is_version_name(version)


def deduplicate(services: Services, key: str) -> int:
    """Supersede all but the newest of our predictions on each task that was marked as duplicated.

    Returns
    -------
    Number of predictions that were superseded; 0 where Label Studio cannot be reached.
    """
    with services.database.read() as session:
        project = session.get_one(Project, key)
        marked = duplicated_tasks(session, key, answered_before=time.time() - SETTLE_SECONDS)
        own_versions = version_names(session, key) | {services.untrained_name()}
    superseded, settled = 0, []
    try:
        client = client_for(services.settings, project)
        writer = PredictionWriter(services, client, project, own_versions)
        with explained(services.settings.label_studio_url or project.hostname):
            for task_id, answered_at in marked:
                rows = [_as_dict(row) for row in client.predictions.list(task=task_id)]
                own_predictions = writer.own_predictions(rows)
                if len(own_predictions) > 1 and not is_write_window(services.database, key):
                    break  # the dispatcher enqueues it again
                for row in own_predictions[:-1]:
                    writer.supersede(row["id"])
                superseded += max(0, len(own_predictions) - 1)
                if len(own_predictions) > 1 or time.time() - answered_at > LONGEST_SETTLE_SECONDS:
                    settled.append((task_id, answered_at))
    except LabelStudioError as error:
        log.warning("duplicated predictions stay for now", project=key, detail=str(error))
    with services.database.write() as session:
        mark_deduplicated(session, key, settled)
    if superseded:
        log.info("predictions deduplicated", project=key, superseded=superseded)
    return superseded


def delete_superseded(services: Services, key: str) -> list[str]:
    """Delete predictions that were superseded so long ago that no browser can have them open.

    Returns
    -------
    The deleted model versions, each with all of its predictions.
    """
    with services.database.read() as session:
        project = session.get_one(Project, key)
    try:
        access = services.access.required(project)
        versions = list_model_versions(access, project.project_id)
        days = services.settings.superseded_predictions_days
        expired = superseded_before(versions, datetime.now(UTC).date(), days)
        for name in expired:
            delete_model_version(access, project.project_id, name)
    except LabelStudioError as error:
        log.warning("superseded predictions stay for now", project=key, detail=str(error))
        return []
    if expired:
        log.info("superseded predictions deleted", project=key, versions=expired)
    return expired


def _as_dict(prediction: Any) -> dict[str, Any]:
    return {"id": prediction.id, "model_version": prediction.model_version}
