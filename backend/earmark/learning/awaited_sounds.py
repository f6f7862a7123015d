"""Background fetch of the sounds that a training left out, because they did not arrive in time.

When some have arrived, an event in the database makes the project train anew. The others are retried after a
pause, without limit, as annotations without their sounds are worth nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import structlog
from sqlalchemy import select

from earmark.errors import LabelConfigError
from earmark.features.prefetch import Prefetch
from earmark.labels.label_config import parse_label_config
from earmark.prediction.predictor import sound_addresses
from earmark.services import Services
from earmark.store.events import SOUNDS_FETCHED, record_own_event
from earmark.store.models import Project, Task, Training
from earmark.store.projects import remember_project
from earmark.wording import first_named

log = structlog.get_logger(__name__)

NAMED_TASKS = 10


def await_sounds(
    project: Project, training: Training, awaited: Mapping[int, str], pause_seconds: float
) -> None:
    """Record the tasks whose sounds a training left out, and why; they are fetched after a pause."""
    project.sounds_awaited = sorted(awaited) or None
    project.fetch_after = time.time() + pause_seconds if awaited else 0.0
    training.detail = " ".join(filter(None, (training.detail, awaited_sentence(awaited))))


def awaited_sentence(awaited: Mapping[int, str]) -> str:
    """A sentence that names the tasks left out for want of their sounds, and why; empty where none."""
    if not awaited:
        return ""
    numbers = sorted(awaited)
    named = first_named(numbers, NAMED_TASKS)
    return f"Left out until their sounds can be had: those of tasks {named} ({awaited[numbers[0]]})"


def fetch_awaited(services: Services, key: str) -> int:
    """Fetch the sounds that a project's last training left out; return the number of tasks that are complete.

    Starts no further download after ``train_fetch_seconds``, so that other projects get their turn, and
    waits for those in progress, which either arrive or turn out to be too slow.
    """
    settings = services.settings
    with services.database.read() as session:
        project = session.get(Project, key)
        task_ids = list(project.sounds_awaited or ()) if project else []
        conditions = (Task.project_key == key, Task.task_id.in_(task_ids), Task.deleted.is_(False))
        tasks = list(session.scalars(select(Task).where(*conditions).order_by(Task.task_id)))
    if project is None or not task_ids:
        return 0
    arrived, missing = _fetch(services, project, tasks)
    with services.database.write() as session:
        row = remember_project(session, key)
        row.sounds_awaited = missing
        row.fetch_after = time.time() + settings.train_longest_retry_seconds
        if arrived:
            record_own_event(session, key, SOUNDS_FETCHED, tasks=arrived)
    log.info("awaited sounds fetched", project=key, arrived=len(arrived), left=len(missing))
    return len(arrived)


def _fetch(services: Services, project: Project, tasks: list[Task]) -> tuple[list[int], list[int]]:
    """Ids of the tasks whose sounds arrived, and of the others."""
    try:
        controls = parse_label_config(project.label_config)
    except LabelConfigError:
        return [], [task.task_id for task in tasks]
    access = services.access.for_project(project)
    addresses = [tuple(sound_addresses({"data": task.data}, controls).values()) for task in tasks]
    arrived: list[int] = []
    extractor, seconds = services.extractor(), services.settings.train_fetch_seconds
    with Prefetch(extractor, access, addresses, wait_seconds=seconds) as prefetch:
        for _ in prefetch:
            pass
        prefetch.finish()
    for task, task_addresses in zip(tasks, addresses, strict=True):
        if prefetch.all_here(task_addresses):
            arrived.append(task.task_id)
    return arrived, [task.task_id for task in tasks if task.task_id not in arrived]
