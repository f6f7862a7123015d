"""``earmark assist``: suggestions for drawn regions, on or off for a project."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from earmark.commands.common import AsJson, DataDir, ProjectName, find, opened, print_json


class Switch(StrEnum):
    """What to do with a project's assistance."""

    ON = "on"
    OFF = "off"
    STATUS = "status"


def assist(
    switch: Annotated[Switch, typer.Argument(help="Turn it on, off, or tell which it is")],
    project: ProjectName,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Suggest label and edges for drawn regions, or stop it; every process follows at once."""
    from earmark.commands.tables import say
    from earmark.store.models import Project
    from earmark.store.projects import lock_project

    with opened(data_dir) as services:
        found = find(services, project)
        with services.database.write() as session:
            lock_project(session, found.key)
            row = session.get_one(Project, found.key)
            if switch is not Switch.STATUS:
                row.assist = switch is Switch.ON
            on = row.assist
    if as_json:
        print_json({"project": found.key, "assist": on})
        return
    title = f"project {found.project_id} ({found.title or 'untitled'})"
    say(f"Suggestions for drawn regions are {'on' if on else 'off'} for {title}.")
