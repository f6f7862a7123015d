"""``earmark assist`` command: switch suggestions for drawn regions on or off for a project."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from earmark.commands.common import AsJson, DataDir, ProjectName, find, opened, print_json


class Switch(StrEnum):
    """Argument of the command: switch on, switch off, or show the state."""

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
        project_row = find(services, project)
        with services.database.write() as session:
            lock_project(session, project_row.key)
            row = session.get_one(Project, project_row.key)
            if switch is not Switch.STATUS:
                row.assist = switch is Switch.ON
            on = row.assist
    if as_json:
        print_json({"project": project_row.key, "assist": on})
        return
    title = f"project {project_row.project_id} ({project_row.title or 'untitled'})"
    say(f"Suggestions for drawn regions are {'on' if on else 'off'} for {title}.")
