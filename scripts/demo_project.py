"""A Label Studio project that holds the demo's clips, connected to a backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from earmark.importing.audio_checks import read_facts
from earmark.importing.destinations import Uploads
from earmark.importing.importer import Importer
from earmark.importing.models import Sound
from earmark.labelstudio.client import explained
from earmark.labelstudio.connection import Login, connect_backend
from scripts.demo_check import Loop
from scripts.demo_clips import DemoClip

PAGE_TASKS = 100
RETRIEVE_SECONDS = 120.0
"""Longest wait for predictions of all clips; Label Studio itself waits 100 s for a backend."""
LEAST_CERTAIN = "Least certain first"
"""Title of the Data Manager's tab with the open tasks, sorted by prediction score."""
_HIDDEN_BY_DEFAULT = (
    *("inner_id", "annotations_results", "annotations_ids", "predictions_score"),
    *("predictions_model_versions", "predictions_results", "file_upload", "storage_filename"),
    *("created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists"),
)
"""Columns of the Data Manager that Label Studio's own first tab does not show."""
_SELDOM_READ = (
    *("completed_at", "total_annotations", "cancelled_annotations", "total_predictions", "annotators"),
    "data.sha256",
)
_SHOWN = {"predictions_score", "predictions_model_versions"}


def find_or_create(client: Any, url: str, title: str, label_config: str) -> Any:
    """The project of that title, made when there is none."""
    with explained(url):
        for project in client.projects.list():
            if project.title == title:
                return project
        return client.projects.create(title=title, label_config=label_config)


def serve_least_certain_first(client: Any, url: str, project_id: int) -> int:
    """Have the least certain tasks served first, and listed in a tab of the Data Manager.

    What was changed by hand since is left alone.

    Returns
    -------
    Number of the tab.
    """
    with explained(url):
        tabs = client.views.list(project=project_id)
        for tab in tabs:
            if (tab.data or {}).get("title") == LEAST_CERTAIN:
                return int(tab.id)
        if not tabs:  # Label Studio makes its own first tab only where there is none
            client.views.create(project=project_id, data=_tab("Default", _HIDDEN_BY_DEFAULT))
        is_open = {
            "filter": "filter:tasks:total_annotations",
            "operator": "equal",
            "type": "Number",
            "value": 0,
        }
        hidden = [name for name in _HIDDEN_BY_DEFAULT + _SELDOM_READ if name not in _SHOWN]
        made = _tab(
            LEAST_CERTAIN,
            hidden,
            ordering=["tasks:predictions_score"],
            filters={"conjunction": "and", "items": [is_open]},
        )
        client.projects.update(id=project_id, sampling="Uncertainty sampling")
        return int(client.views.create(project=project_id, data=made).id)


def _tab(title: str, hidden: Sequence[str], **more: Any) -> dict[str, Any]:
    columns = [f"tasks:{name}" for name in hidden]
    return {
        "title": title,
        "type": "list",
        "target": "tasks",
        "hiddenColumns": {"explore": columns, "labeling": columns},
        **more,
    }


def import_clips(
    client: Any,
    url: str,
    token: str,
    project_id: int,
    folder: Path,
    clips: Sequence[DemoClip],
    on_progress: Callable[[int], None] | None = None,
) -> dict[int, DemoClip]:
    """Upload the clips that the project does not hold yet; returns every clip by its task id.

    Raises
    ------
    EarmarkError
        A clip cannot be read, or Label Studio does not take it.
    """
    sounds = [
        Sound(folder / clip.name, clip.name, read_facts(folder / clip.name, clip.name)) for clip in clips
    ]
    place = Uploads(url, token, project_id)
    importer = Importer(client, url, project_id, "audio", place, folder / ".import")
    importer.run(*importer.plan(sounds), on_progress=on_progress)
    by_name = {clip.name: clip for clip in clips}
    with explained(url):
        tasks = list(client.tasks.list(project=project_id, fields="all", page_size=PAGE_TASKS))
    return {task.id: by_name[task.data["fname"]] for task in tasks if task.data.get("fname") in by_name}


def retrieve_predictions(url: str, token: str, project_id: int) -> None:
    """Have Label Studio fetch predictions for all tasks, as "Retrieve Predictions" in the Data Manager does.

    Raises
    ------
    LabelStudioError
        Label Studio refuses, or does not answer.
    """
    with explained(url):
        httpx.post(
            f"{url}/api/dm/actions",
            params={"id": "retrieve_tasks_predictions", "project": project_id},
            json={"selectedItems": {"all": True, "excluded": []}},
            headers={"Authorization": f"Token {token}"},
            timeout=RETRIEVE_SECONDS,
        ).raise_for_status()


def connect(
    client: Any, url: str, project: Any, api: str, clips: dict[int, DemoClip], login: Login | None = None
) -> Loop:
    """Connect the backend at ``api`` to the project, in place of one that an earlier run connected.

    Parameters
    ----------
    login
        User name and password that the backend asks for, or None.
    """
    key = f"{project.id}.{int(project.created_at.timestamp())}"
    loop = Loop(client, project.id, key, project.label_config, api, clips, login)
    connect_backend(client, url, project.id, api, loop.version(), login)
    return loop
