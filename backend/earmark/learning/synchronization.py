"""Comparing what is known of a project with what Label Studio holds, and repairing the difference.

Label Studio sends a webhook once and waits one second for it; imports with annotations send none. So
its tasks are read from time to time, and whatever differs is written down as if a webhook had said
so: from there on everything goes its usual way, and nothing is lost when this is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.errors import LabelStudioError
from earmark.labels.config_changes import receive_webhook
from earmark.labelstudio.task_pages import ANNOTATED, SKIPPED, Listing
from earmark.services import Services
from earmark.store.annotations import differs, known_annotations
from earmark.store.events import ANNOTATIONS_SYNCED, DELETED
from earmark.store.models import Annotation, Project, Task
from earmark.store.projects import project_key, remember_project

log = structlog.get_logger(__name__)

REST_SHARE = 20
"""After a comparison, Label Studio is left alone for so many times as long as it took."""
SHORTEST_REST_SECONDS = 60.0
ASKED_REST_SHARE, SHORTEST_ASKED_REST_SECONDS = 2, 5.0
"""The same where somebody asks for it: a project can be set to ask with every annotation."""
DELETED_AT_ONCE = 500


@dataclass
class Difference:
    """What Label Studio holds and was not known, in numbers of annotations; ``tasks``: those read."""

    tasks: int = 0
    annotations: int = 0
    missed: int = 0
    changed: int = 0
    deleted: int = 0
    label_config: bool = False
    seconds: float = field(default=0.0, compare=False)

    @property
    def found(self) -> bool:
        """Whether there was any."""
        return bool(self.missed or self.changed or self.deleted or self.label_config)


def sync(services: Services, key: str, on_page: Callable[[Difference], None] | None = None) -> Difference:
    """Compare a project with Label Studio, and write down the difference as events.

    Memory does not grow with the project, but for one number for each annotation. Annotations that
    come, change or go meanwhile are left to their webhooks, or to the next time.

    Parameters
    ----------
    on_page
        Called after each page of tasks with the difference so far.

    Raises
    ------
    LabelStudioError
        No Label Studio is known for the project, it refuses or cannot be reached, or it has another
        project under this number by now. What was found until then is written down.
    """
    started_at = time.time()
    with services.database.read() as session:
        project = session.get(Project, key)
        known = known_annotations(session, key)
    try:
        listing = Listing(services.access.required(project))
        difference = _compare(services, key, listing, known, on_page or (lambda _: None))
    except Exception:  # also what nobody expected must not be tried again and again at once
        with services.database.write() as session:
            row = remember_project(session, key)
            row.sync_after, row.sync_seconds = time.time() + services.settings.sync_retry_seconds, 0.0
        raise
    difference.seconds = time.time() - started_at
    with services.database.write() as session:
        row = remember_project(session, key)
        # What happened while it ran is for the next time
        row.synced_at, row.sync_seconds = started_at, difference.seconds
        row.sync_after = time.time() + max(SHORTEST_REST_SECONDS, REST_SHARE * difference.seconds)
    log.info(
        "compared with Label Studio",
        project=key,
        tasks=difference.tasks,
        missed=difference.missed,
        changed=difference.changed,
        deleted=difference.deleted,
        label_config_changed=difference.label_config,
        seconds=round(difference.seconds, 3),
    )
    return difference


def sync_when_rested(services: Services, key: str, asked_for: bool = False) -> None:
    """``sync``, unless that was done, or failed, a short while ago; what hinders it is only logged.

    ``asked_for``: somebody wants to be sure of it now, and a timer's rest is too long.
    """
    with services.database.read() as session:
        project = session.get(Project, key)
    if project is None or not may_sync(services, project):
        return
    rested_at, seconds = project.sync_after, project.sync_seconds
    if asked_for and seconds > 0:
        rested_at = project.synced_at + seconds + max(SHORTEST_ASKED_REST_SECONDS, ASKED_REST_SHARE * seconds)
    if time.time() < rested_at:
        return
    try:
        sync(services, key)
    except LabelStudioError as error:
        log.warning("not compared with Label Studio", project=key, detail=str(error))


def may_sync(services: Services, project: Project) -> bool:
    """Whether a Label Studio with a token is known for a project."""
    access = services.access.for_project(project)
    return access is not None and access.has_token


def _compare(
    services: Services,
    key: str,
    listing: Listing,
    known: set[int],
    on_page: Callable[[Difference], None],
) -> Difference:
    difference, number = Difference(), int(key.partition(".")[0])
    project = listing.project(number)
    if project_key(project) != key:
        raise LabelStudioError(
            f"Project {number} in Label Studio is another one than {key}: it was made anew. Open its page "
            "Settings, Model once, and it is known here."
        )
    about = {name: project.get(name) for name in ("id", "created_at", "updated_at", "title", "label_config")}
    _note_config(services, key, about, difference)
    for which in (ANNOTATED, SKIPPED):
        pages = listing.tasks(number, which)
        while True:
            observed_at = time.time()  # before the page is asked for
            page = next(pages, None)
            if page is None:
                break
            known -= {annotation["id"] for task in page for annotation in _annotations(task)}
            _note_page(services, key, about, page, observed_at, difference)
            on_page(difference)
    # What was not listed may have come to another task, or an older Label Studio may filter otherwise
    gone = [number for number in sorted(known) if not listing.annotation_exists(number)]
    difference.deleted = len(gone)
    for first in range(0, len(gone), DELETED_AT_ONCE):
        ids = [{"id": number} for number in gone[first : first + DELETED_AT_ONCE]]
        _write(services, {"action": DELETED, "project": about, "annotations": ids})
    return difference


def _note_config(services: Services, key: str, about: dict[str, Any], difference: Difference) -> None:
    with services.database.read() as session:
        project = session.get_one(Project, key)
    if about["label_config"] and about["label_config"] != project.label_config:
        difference.label_config = True
        _write(services, {"action": "PROJECT_UPDATED", "project": about})


def _note_page(
    services: Services,
    key: str,
    about: dict[str, Any],
    page: list[dict[str, Any]],
    observed_at: float,
    difference: Difference,
) -> None:
    """Write down what is not known of the tasks of one page."""
    found = {annotation["id"]: annotation for task in page for annotation in _annotations(task)}
    with services.database.read() as session:
        rows = _rows(session, Annotation, Annotation.annotation_id, key, found)
        tasks = _rows(session, Task, Task.task_id, key, {task["id"]: task for task in page})
    news = [
        annotation
        for number, annotation in found.items()
        if differs(rows.get(number), annotation, observed_at)
    ]
    concerned = {annotation.get("task") for annotation in news}
    changed_tasks = [
        {"id": task["id"], "data": task.get("data")}
        for task in page
        if task["id"] in concerned
        or task["id"] not in tasks
        or tasks[task["id"]].data != task.get("data")
        or (tasks[task["id"]].deleted and observed_at > tasks[task["id"]].deleted_at)
    ]
    difference.tasks += len(page)
    difference.annotations += len(found)
    missed = sum(number not in rows for number in (annotation["id"] for annotation in news))
    difference.missed += missed
    difference.changed += len(news) - missed
    if news or changed_tasks:
        _write(
            services,
            {
                "action": ANNOTATIONS_SYNCED,
                "project": about,
                "tasks": changed_tasks,
                "annotations": news,
                "observed_at": observed_at,
            },
        )


def _rows(session: Session, table: Any, column: Any, key: str, ids: dict[int, Any]) -> dict[int, Any]:
    query = select(table).where(table.project_key == key, column.in_(list(ids)))
    return {getattr(row, column.key): row for row in session.scalars(query)}


def _annotations(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that were submitted or skipped; a list of anything else is none."""
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        return []
    return [
        annotation
        for annotation in annotations
        if isinstance(annotation, dict) and isinstance(annotation.get("id"), int)
    ]


def _write(services: Services, payload: dict[str, Any]) -> None:
    with services.database.write() as session:
        receive_webhook(session, payload)
