"""Shared options of the commands, and look-up of their backend and project."""

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
    """Open the services of a command's backend, whose database this release has made."""
    from earmark.logs import configure_logging
    from earmark.processes.discovery import command_settings, demo_hint, say_aside
    from earmark.services import Services

    settings = command_settings(data_dir)
    configure_logging("ERROR")  # the command prints its results itself, and failures are exceptions
    with Services(settings) as services:
        services.database.require_current()
        if (hint := demo_hint(settings)) and not _named_projects(services):
            say_aside(hint)
        yield services


def find(services: Services, name: str) -> Project:
    """Find a project by key, id or title.

    The database has titles from webhooks. If none matches, or several do, the current titles are read
    from Label Studio, if it can be reached.

    Raises
    ------
    ProjectNameError
        No project matches, or several do.
    """
    from earmark.store.project_names import matching, only_one
    from earmark.store.projects import unknown_project

    projects = _named_projects(services)
    if len(matches := matching(name, projects)) == 1:
        return matches[0].item
    deleted = _refresh_titles(services, projects)
    projects = [project for project in _named_projects(services) if project.key not in deleted]
    if matches := matching(name, projects):
        return only_one(name, matches)
    _explain_unconnected(services, name)
    raise unknown_project(name, projects)


def _named_projects(services: Services) -> list[Named[Project]]:
    from earmark.store.projects import named_projects

    with services.database.read() as session:
        return named_projects(session)


def _refresh_titles(services: Services, projects: Sequence[Named[Project]]) -> set[str]:
    """Store the current titles in Label Studio; return the keys of projects that were deleted there."""
    from earmark.errors import LabelStudioError
    from earmark.labelstudio.client import client_for
    from earmark.labelstudio.projects import current_title
    from earmark.store.projects import remember_project

    deleted: set[str] = set()
    unreachable: set[str] = set()
    for project in projects:
        url = services.settings.label_studio_url or project.hostname
        if url in unreachable:
            continue
        try:
            title = current_title(client_for(services.settings, project.item), url, project.key)
        except LabelStudioError:  # keep the titles in the database
            unreachable.add(url)
            continue
        if title is None:
            deleted.add(project.key)
        elif title != project.title:
            with services.database.write() as session:
                remember_project(session, project.key, title=title)
    return deleted


def _explain_unconnected(services: Services, name: str) -> None:
    """Raise ProjectNameError if the project exists in Label Studio but is not connected to this backend."""
    from earmark.errors import LabelStudioError, ProjectNameError
    from earmark.labelstudio.client import client_for
    from earmark.labelstudio.projects import find_project

    url = services.settings.label_studio_url
    if not (url and services.settings.api_key):
        return
    try:
        project = find_project(client_for(services.settings), url, name)
    except LabelStudioError:  # the caller raises its own message
        return
    if project is not None:
        raise ProjectNameError(
            f"Project {project.id} ({project.title}) of {url} has not connected to this backend: "
            f"run 'earmark connect {project.id}'."
        )


def joined_paragraphs(text: str) -> str:
    """Join the lines of each paragraph of a help text, so that the terminal alone decides where they end.

    Paragraphs with indented lines, such as examples, stay as they are.
    """
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        paragraph if any(line.startswith(" ") for line in lines) else " ".join(lines)
        for paragraph in paragraphs
        for lines in [paragraph.strip("\n").split("\n")]
    )


def print_json(value: object) -> None:
    """Print one JSON object on one line."""
    typer.echo(dumps(value, ensure_ascii=False))
