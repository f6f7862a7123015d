"""Synchronization of stored annotations with Label Studio, which repairs lost webhooks.

Label Studio sends a webhook once and waits one second for it; imports with annotations send none. So
its tasks are read from time to time, and each difference is stored as an event, as if a webhook had
reported it: the usual processing follows, and nothing is lost when this process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.errors import LabelStudioError, ProjectGoneError
from earmark.labels.config_changes import receive_webhook
from earmark.labelstudio.task_pages import ANNOTATED, SKIPPED, Listing
from earmark.learning.annotator_names import annotator_names, remember_names
from earmark.services import Services
from earmark.store.annotations import differs, stored_annotation_ids
from earmark.store.events import ANNOTATIONS_SYNCED, DELETED
from earmark.store.models import Annotation, Project, Task
from earmark.store.projects import project_key, remember_project

log = structlog.get_logger(__name__)

REST_SHARE = 20
"""Pause after a comparison, as a multiple of the time that it took."""
SHORTEST_REST_SECONDS = 60.0
REQUESTED_REST_SHARE, SHORTEST_REQUESTED_REST_SECONDS = 2, 5.0
"""The same for requested comparisons: a project can be set to request one with every annotation."""
GONE_REST_SECONDS = 86_400.0
"""Pause after Label Studio was seen to have the project no longer; a webhook of it ends the pause."""
DELETED_AT_ONCE = 500


@dataclass
class Difference:
    """Differences between Label Studio and the database, in numbers of annotations.

    ``tasks``: number of tasks read. ``names``: of annotators, by user id.
    """

    tasks: int = 0
    annotations: int = 0
    missed: int = 0
    changed: int = 0
    deleted: int = 0
    label_config: bool = False
    seconds: float = field(default=0.0, compare=False)
    names: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether there is no difference."""
        return not (self.missed or self.changed or self.deleted or self.label_config)


def sync(services: Services, key: str, on_page: Callable[[Difference], None] | None = None) -> Difference:
    """Compare a project with Label Studio, and store the difference as events.

    Memory does not grow with the project, but for one number for each annotation. Annotations that
    are created, changed or deleted meanwhile are left to their webhooks, or to the next comparison.

    Parameters
    ----------
    on_page
        Called after each page of tasks with the difference so far.

    Raises
    ------
    LabelStudioError
        No Label Studio is configured for the project, it refuses or cannot be reached. Differences found
        until then are stored.
    ProjectGoneError
        It has the project no longer, or another one under this number.
    """
    started_at = time.time()
    with services.database.read() as session:
        project = session.get(Project, key)
        known_ids = stored_annotation_ids(session, key)
    try:
        listing = Listing(services.access.required(project))
        difference = _compare(services, key, listing, known_ids, on_page or (lambda _: None))
    except Exception as error:  # after an unexpected failure, too, the next attempt must wait
        with services.database.write() as session:
            row = remember_project(session, key)
            is_gone = isinstance(error, ProjectGoneError)
            rest = GONE_REST_SECONDS if is_gone else services.settings.sync_retry_seconds
            row.sync_after, row.sync_seconds = time.time() + rest, 0.0
            row.gone_at = (row.gone_at or time.time()) if is_gone else row.gone_at
        raise
    difference.seconds = time.time() - started_at
    with services.database.write() as session:
        row = remember_project(session, key)
        # Changes during the comparison are left to the next one
        remember_names(row, difference.names)
        row.synced_at, row.sync_seconds, row.gone_at = started_at, difference.seconds, 0.0
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


def sync_if_due(services: Services, key: str, requested: bool = False) -> None:
    """`sync`, unless the pause since the last one, done or failed, is not over; errors are only logged.

    ``requested``: an operator asked for it, so the pause is shorter than for the timer.
    """
    with services.database.read() as session:
        project = session.get(Project, key)
    if project is None or not may_sync(services, project):
        return
    rested_at, seconds = project.sync_after, project.sync_seconds
    if requested and seconds > 0:
        rested_at = (
            project.synced_at + seconds + max(SHORTEST_REQUESTED_REST_SECONDS, REQUESTED_REST_SHARE * seconds)
        )
    if time.time() < rested_at:
        return
    try:
        sync(services, key)
    except LabelStudioError as error:
        log.warning("not compared with Label Studio", project=key, detail=str(error))


def may_sync(services: Services, project: Project) -> bool:
    """Whether a Label Studio with a token is configured for a project."""
    access = services.access.for_project(project)
    return access is not None and access.has_token


def _compare(
    services: Services,
    key: str,
    listing: Listing,
    unlisted_ids: set[int],
    on_page: Callable[[Difference], None],
) -> Difference:
    difference, number = Difference(), int(key.partition(".")[0])
    project = listing.project(number)
    if project_key(project) != key:
        raise ProjectGoneError(
            f"Project {number} in Label Studio is another one than {key}: it was made anew. Open its page "
            "Settings, Model once, and it is known here."
        )
    project_fields = {
        name: project.get(name) for name in ("id", "created_at", "updated_at", "title", "label_config")
    }
    _store_config_change(services, key, project_fields, difference)
    for which in (ANNOTATED, SKIPPED):
        pages = listing.tasks(number, which)
        while True:
            observed_at = time.time()  # before the page is requested
            page = next(pages, None)
            if page is None:
                break
            unlisted_ids -= {annotation["id"] for task in page for annotation in _annotations(task)}
            _store_page_changes(services, key, project_fields, page, observed_at, difference)
            on_page(difference)
    # An unlisted annotation may have moved to another task, or an older Label Studio may filter otherwise
    deleted_ids = [number for number in sorted(unlisted_ids) if not listing.annotation_exists(number)]
    difference.deleted = len(deleted_ids)
    for first in range(0, len(deleted_ids), DELETED_AT_ONCE):
        ids = [{"id": number} for number in deleted_ids[first : first + DELETED_AT_ONCE]]
        _store_event(services, {"action": DELETED, "project": project_fields, "annotations": ids})
    return difference


def _store_config_change(
    services: Services, key: str, project_fields: dict[str, Any], difference: Difference
) -> None:
    with services.database.read() as session:
        project = session.get_one(Project, key)
    if project_fields["label_config"] and project_fields["label_config"] != project.label_config:
        difference.label_config = True
        _store_event(services, {"action": "PROJECT_UPDATED", "project": project_fields})


def _store_page_changes(
    services: Services,
    key: str,
    project_fields: dict[str, Any],
    page: list[dict[str, Any]],
    observed_at: float,
    difference: Difference,
) -> None:
    """Store an event with the new and changed tasks and annotations of one page."""
    annotations = {annotation["id"]: annotation for task in page for annotation in _annotations(task)}
    with services.database.read() as session:
        rows = _rows(session, Annotation, Annotation.annotation_id, key, annotations)
        tasks = _rows(session, Task, Task.task_id, key, {task["id"]: task for task in page})
    new_or_changed = [
        annotation
        for number, annotation in annotations.items()
        if differs(rows.get(number), annotation, observed_at)
    ]
    changed_task_ids = {annotation.get("task") for annotation in new_or_changed}
    changed_tasks = [
        {"id": task["id"], "data": task.get("data")}
        for task in page
        if task["id"] in changed_task_ids
        or task["id"] not in tasks
        or tasks[task["id"]].data != task.get("data")
        or (tasks[task["id"]].deleted and observed_at > tasks[task["id"]].deleted_at)
    ]
    difference.names.update(annotator_names(annotations.values()))
    difference.tasks += len(page)
    difference.annotations += len(annotations)
    missed = sum(number not in rows for number in (annotation["id"] for annotation in new_or_changed))
    difference.missed += missed
    difference.changed += len(new_or_changed) - missed
    if new_or_changed or changed_tasks:
        _store_event(
            services,
            {
                "action": ANNOTATIONS_SYNCED,
                "project": project_fields,
                "tasks": changed_tasks,
                "annotations": new_or_changed,
                "observed_at": observed_at,
            },
        )


def _rows(session: Session, table: Any, column: Any, key: str, ids: dict[int, Any]) -> dict[int, Any]:
    query = select(table).where(table.project_key == key, column.in_(list(ids)))
    return {getattr(row, column.key): row for row in session.scalars(query)}


def _annotations(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Annotations of a task that were submitted or skipped; entries of another form are dropped."""
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        return []
    return [
        annotation
        for annotation in annotations
        if isinstance(annotation, dict) and isinstance(annotation.get("id"), int)
    ]


def _store_event(services: Services, payload: dict[str, Any]) -> None:
    with services.database.write() as session:
        receive_webhook(session, payload)
