"""What the commands about a project share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backend.services import Services
    from backend.store.tables import Project

ProjectName = Annotated[
    str, typer.Argument(metavar="PROJECT", help="Label Studio's number of the project, or the full key")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for scripts")]


@contextmanager
def opened() -> Iterator[Services]:
    """The services of this installation, on an up-to-date database."""
    from backend.logs import configure_logging
    from backend.services import Services
    from backend.settings import get_settings

    settings = get_settings()
    configure_logging("ERROR")  # what goes well is said by the command, and faults are exceptions
    with Services(settings) as services:
        services.database.upgrade()
        yield services


def find(services: Services, name: str) -> Project:
    """The project that was named; see ``find_project``."""
    from backend.store.projects import find_project

    with services.database.read() as session:
        return find_project(session, name)


def print_json(value: object) -> None:
    """Print one JSON object on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))
