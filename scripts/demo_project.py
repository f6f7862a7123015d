"""A Label Studio project that holds the demo's clips, connected to a backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backend.importing.checks import hear
from backend.importing.importer import Importer
from backend.importing.items import Sound
from backend.importing.places import Uploads
from backend.labelstudio.client import explained
from backend.labelstudio.connecting import Login, connect_backend
from scripts.demo_check import Loop
from scripts.demo_clips import DemoClip

PAGE_TASKS = 100


def find_or_create(client: Any, url: str, title: str, label_config: str) -> Any:
    """The project of that title, made when there is none."""
    with explained(url):
        for project in client.projects.list():
            if project.title == title:
                return project
        return client.projects.create(title=title, label_config=label_config)


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
    sounds = [Sound(folder / clip.name, clip.name, hear(folder / clip.name, clip.name)) for clip in clips]
    place = Uploads(url, token, project_id)
    importer = Importer(client, url, project_id, "audio", place, folder / ".import")
    importer.run(*importer.plan(sounds), on_progress=on_progress)
    by_name = {clip.name: clip for clip in clips}
    with explained(url):
        tasks = list(client.tasks.list(project=project_id, fields="all", page_size=PAGE_TASKS))
    return {task.id: by_name[task.data["fname"]] for task in tasks if task.data.get("fname") in by_name}


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
