"""Next steps after an import: the commands that bring predictions to the project."""

from __future__ import annotations

import shlex
from typing import Any

from earmark.labelstudio.client import explained
from earmark.wording import program


def next_steps(client: Any, url: str, project_id: int, title: str, *, annotated: bool) -> list[str]:
    """Return lines with the next commands for a project that sounds were imported into.

    Parameters
    ----------
    annotated
        Whether the import created annotations, for which Label Studio sends no webhook.

    Raises
    ------
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    with explained(url):
        connected = bool(client.ml.list(project=project_id))
    commands: tuple[str, ...]
    if not connected:
        heading, commands = "next, while the backend runs ('make run'):", ("connect", "preannotate")
    elif annotated:
        heading, commands = "next, to learn from the annotations at once:", ("sync", "preannotate")
    else:
        heading, commands = "next:", ("preannotate",)
    return [heading, *(f"  {program()} {command} {shlex.quote(title)}" for command in commands)]
