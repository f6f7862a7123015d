"""Paginated reading of a project's tasks from Label Studio, as the JSON that it sends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from earmark.audio.addresses import shown
from earmark.audio.source import LabelStudioAccess
from earmark.errors import LabelStudioError, ProjectGoneError
from earmark.tls import tls_context

PAGE_TASKS = 200
REQUEST_TIMEOUT_SECONDS = 100.0
"""A page with long results takes seconds on a busy Label Studio with SQLite."""

Filter = tuple[str, str, str, Any]
"""Column, operator, type and value, as the data manager names them: ``("id", "greater", "Number", 7)``."""

ANNOTATED: Filter = ("total_annotations", "greater", "Number", 0)
SKIPPED: Filter = ("cancelled_annotations", "greater", "Number", 0)
OPEN: Filter = ("total_annotations", "equal", "Number", 0)


class Listing:
    """Reader for one Label Studio: each page is a separate request, and only that page is in memory."""

    def __init__(self, access: LabelStudioAccess) -> None:
        self._access = access

    def project(self, project_id: int) -> dict[str, Any]:
        """Return a project as in webhooks: ``id``, ``created_at``, ``label_config``, ``title`` …

        Raises
        ------
        LabelStudioError
            Label Studio refuses or cannot be reached.
        ProjectGoneError
            It has no such project.
        """
        answer = self._get(f"/api/projects/{project_id}/", {}, allowed=404)
        if answer.status_code == 404 and isinstance(self._parse_json(answer, "a project"), dict):
            raise ProjectGoneError(
                f"Label Studio at {shown(self._access.url)} has no project {project_id}, or does not show it "
                "to this token: it was deleted, or LABEL_STUDIO_API_KEY is of a user without access."
            )
        project = self._parse_json(answer, "a project")
        if not isinstance(project, dict):
            raise self._unexpected_answer("a project")
        return project

    def tasks(
        self,
        project_id: int,
        *filters: Filter,
        page_tasks: int = PAGE_TASKS,
        include: Sequence[str] = (),
    ) -> Iterator[list[Any]]:
        """Yield pages of tasks in order of their ids (keyset pagination); see ``page``.

        Each page starts after the last id of the previous one, so that no task is skipped when others are
        created, are deleted or stop matching the filter meanwhile.

        Raises
        ------
        LabelStudioError
            As above.
        """
        last = 0
        while True:
            following = (*filters, ("id", "greater", "Number", last))
            page = self.page(project_id, *following, page_tasks=page_tasks, include=include)
            if not page:
                return
            yield page
            last = max(task["id"] for task in page)

    def page(
        self,
        project_id: int,
        *filters: Filter,
        ordering: str = "tasks:id",
        page_tasks: int = PAGE_TASKS,
        number: int = 1,
        include: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return a page of tasks that match all filters, in an order of the data manager (``-``: descending).

        A page after the last one is empty. ``include``: fields in addition to ``id``, where not all are
        needed; without annotations and predictions a page takes a fifth of the time.

        Raises
        ------
        LabelStudioError
            As above.
        """
        query = {"filters": {"conjunction": "and", "items": _filter_items(filters)}, "ordering": [ordering]}
        parameters: dict[str, Any] = {
            "project": project_id,
            "fields": "all",
            "page": number,
            "page_size": page_tasks,
            "query": json.dumps(query),
        }
        if include:
            parameters["include"] = ",".join(("id", *include))
        answer = self._get("/api/tasks/", parameters, allowed=404 if number > 1 else 200)
        if answer.status_code == 404:
            return []
        content = self._parse_json(answer, "a list of tasks")
        tasks = content.get("tasks") if isinstance(content, dict) else None
        if not isinstance(tasks, list) or not all(
            isinstance(task, dict) and isinstance(task.get("id"), int) for task in tasks
        ):
            raise self._unexpected_answer("a list of tasks")
        return tasks

    def annotation_exists(self, annotation_id: int) -> bool:
        """Whether Label Studio still has an annotation.

        Raises
        ------
        LabelStudioError
            Label Studio refuses or cannot be reached.
        """
        return self._get(f"/api/annotations/{annotation_id}/", {}, allowed=404).status_code != 404

    def _get(self, path: str, parameters: dict[str, Any], allowed: int = 200) -> httpx.Response:
        url = self._access.url.rstrip("/")
        name = shown(url)
        try:
            answer = httpx.get(
                f"{url}{path}",
                params=parameters,
                headers=self._access.headers(),
                timeout=REQUEST_TIMEOUT_SECONDS,
                verify=tls_context(),
            )
        except httpx.HTTPError as error:
            raise LabelStudioError(
                f"Label Studio at {name} cannot be reached ({error}): check LABEL_STUDIO_URL and that it "
                "runs."
            ) from error
        if answer.status_code in (401, 403):
            raise LabelStudioError(
                f"Label Studio at {name} refuses the token (HTTP {answer.status_code}): make one under "
                "Account & Settings and set LABEL_STUDIO_API_KEY."
            )
        if answer.status_code not in (200, allowed):
            raise LabelStudioError(
                f"Label Studio at {name} answered HTTP {answer.status_code} to {path}: its log says why."
            )
        return answer

    def _parse_json(self, answer: httpx.Response, wanted: str) -> object:
        """Parse a JSON response; another server's page, such as a proxy's login page, is an error."""
        try:
            return answer.json()
        except ValueError as error:
            raise self._unexpected_answer(wanted) from error

    def _unexpected_answer(self, wanted: str) -> LabelStudioError:
        return LabelStudioError(
            f"Label Studio at {shown(self._access.url)} did not answer with {wanted}: check LABEL_STUDIO_URL."
        )


def sdk_pages(
    client: Any,
    project_id: int,
    after: int = 0,
    *,
    last: int | None = None,
    page_tasks: int = PAGE_TASKS,
    include: Sequence[str] = (),
) -> Iterator[list[Any]]:
    """Keyset pagination of a project's tasks through the SDK, in order of their ids.

    Each page starts after the last id of the previous one, as in `Listing.tasks`.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``, whose errors are raised.
    after, last
        Range of task ids, ``after`` excluded, ``last`` included.
    include
        Fields of the task itself in addition to ``id``; empty for all, with annotations and predictions.
    """
    end: tuple[Filter, ...] = () if last is None else (("id", "less_or_equal", "Number", last),)
    while True:
        query = {
            "filters": {
                "conjunction": "and",
                "items": _filter_items((("id", "greater", "Number", after), *end)),
            }
        }
        page = client.tasks.list(
            project=project_id,
            query=json.dumps({**query, "ordering": ["tasks:id"]}),
            fields="task_only" if include else "all",
            include=",".join(("id", *include)) if include else None,
            page=1,
            page_size=page_tasks,
        )
        tasks = list(page.items or ())
        if tasks:
            yield tasks
            after = max(int(task.id) for task in tasks)
        # The total is counted before the tasks are read: fewer tasks may only mean that some were deleted.
        if not tasks or page.response.total <= page_tasks:
            return


def _filter_items(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    return [
        {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
        for column, operator, kind, value in filters
    ]
