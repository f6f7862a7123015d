"""What the commands about a project share: which backend, and which project, they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.storage.finite_json import dumps

if TYPE_CHECKING:
    from earmark.services import Services
    from earmark.store.models import Project
    from earmark.store.project_names import Named

ABOUT_PROJECT = "Title, number in Label Studio, or key of the project"
ProjectName = Annotated[str, typer.Argument(metavar="PROJECT", help=ABOUT_PROJECT)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for scripts")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        help="Data folder of the backend [default: DATA_DIR, else that of the backend that runs from here]",
    ),
]


@contextmanager
def opened(data_dir: Path | None = None) -> Iterator[Services]:
    """The services of the backend that a command is about, on an up-to-date database."""
    from earmark.logs import configure_logging
    from earmark.processes.discovery import command_settings
    from earmark.services import Services

    settings = command_settings(data_dir)
    configure_logging("ERROR")  # what goes well is said by the command, and faults are exceptions
    with Services(settings) as services:
        services.database.upgrade()
        yield services


def find(services: Services, name: str) -> Project:
    """The project with a key, a number or a title.

    The database knows titles from webhooks. Where none fits, or several do, Label Studio is asked for
    the titles of now, if it can be reached.

    Raises
    ------
    ProjectNameError
        There is none, or several.
    """
    from earmark.store.project_names import matching, only_one
    from earmark.store.projects import unknown_project

    known = _known(services)
    if len(found := matching(name, known)) == 1:
        return found[0].item
    gone = _refresh_titles(services, known)
    known = [project for project in _known(services) if project.key not in gone]
    if found := matching(name, known):
        return only_one(name, found)
    _explain_unconnected(services, name)
    raise unknown_project(name, known)


def _known(services: Services) -> list[Named[Project]]:
    from earmark.store.projects import named_projects

    with services.database.read() as session:
        return named_projects(session)


def _refresh_titles(services: Services, known: Sequence[Named[Project]]) -> set[str]:
    """Store the titles that Label Studio has now; returns the keys of projects that are no longer there."""
    from earmark.errors import LabelStudioError
    from earmark.labelstudio.client import client_for
    from earmark.labelstudio.projects import current_title
    from earmark.store.projects import remember_project

    gone: set[str] = set()
    silent: set[str] = set()
    for project in known:
        url = services.settings.label_studio_url or project.hostname
        if url in silent:
            continue
        try:
            title = current_title(client_for(services.settings, project.item), url, project.key)
        except LabelStudioError:  # the titles that the database knows must do
            silent.add(url)
            continue
        if title is None:
            gone.add(project.key)
        elif title != project.title:
            with services.database.write() as session:
                remember_project(session, project.key, title=title)
    return gone


def _explain_unconnected(services: Services, name: str) -> None:
    """Raise ProjectNameError where Label Studio has the project and it has not connected to this backend."""
    from earmark.errors import LabelStudioError, ProjectNameError
    from earmark.labelstudio.client import client_for
    from earmark.labelstudio.projects import find_project

    url = services.settings.label_studio_url
    if not (url and services.settings.api_key):
        return
    try:
        project = find_project(client_for(services.settings), url, name)
    except LabelStudioError:  # the message that follows does without it
        return
    if project is not None:
        raise ProjectNameError(
            f"Project {project.id} ({project.title}) of {url} has not connected to this backend: "
            f"run 'earmark connect {project.id}'."
        )


def print_json(value: object) -> None:
    """Print one JSON object on one line."""
    typer.echo(dumps(value, ensure_ascii=False))
