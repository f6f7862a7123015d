"""Look-up of a command's project in the database and, if that does not suffice, in Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.simulated_label_studio import SimulatedLabelStudio
from earmark.commands.common import find
from earmark.errors import ProjectNameError
from earmark.labelstudio.client import client_for
from earmark.labelstudio.projects import find_project, key_of_project
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Project
from earmark.store.projects import remember_project

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def label_studio(tmp_path: Path) -> Iterator[SimulatedLabelStudio]:
    """A Label Studio with projects 1 Owls, 2 Frogs and 3 Käuze."""
    with SimulatedLabelStudio(tmp_path, TOKEN) as running:
        running.send = lambda _: None
        for title in ("Owls", "Frogs", "Käuze"):
            running.create_project(title, "<View/>")
        yield running


@pytest.fixture
def services(settings: Settings, label_studio: SimulatedLabelStudio) -> Iterator[Services]:
    changed = settings.model_copy(
        update={
            "label_studio_url": label_studio.url,
            "label_studio_api_key": Settings(label_studio_api_key=TOKEN).label_studio_api_key,
        }
    )
    with Services(changed) as built:
        built.database.upgrade()
        yield built


def key(services: Services, number: int) -> str:
    return key_of_project(client_for(services.settings).projects.get(id=number))


def remember(services: Services, key: str, title: str = "") -> None:
    with services.database.write() as session:
        remember_project(session, key, title=title)


def test_a_title_that_the_database_does_not_know_yet_is_asked_for(services: Services) -> None:
    remember(services, key(services, 1))
    assert find(services, "OWLS").key == key(services, 1)
    with services.database.read() as session:
        assert session.get_one(Project, key(services, 1)).title == "Owls"


def test_a_project_that_was_renamed_is_found_by_its_new_title(
    services: Services, label_studio: SimulatedLabelStudio
) -> None:
    remember(services, key(services, 1), "Birds")
    remember(services, key(services, 2), "Frogs")
    assert find(services, "owls").key == key(services, 1)


@pytest.mark.parametrize("name", ["1", "Owls"])
def test_a_project_that_was_deleted_in_label_studio_is_passed_over(name: str, services: Services) -> None:
    remember(services, "1.5", "Owls")
    remember(services, key(services, 1), "Owls")
    assert find(services, name).key == key(services, 1)
    assert find(services, "1.5").key == "1.5", "named by its key, it is found all the same"


def test_a_project_that_has_not_connected_is_told_from_one_that_is_not_there(services: Services) -> None:
    remember(services, key(services, 1), "Owls")
    with pytest.raises(ProjectNameError, match="connect 2"):
        find(services, "frogs")
    with pytest.raises(ProjectNameError, match="Owls"):
        find(services, "Newts")


def test_without_label_studio_the_database_answers(settings: Settings) -> None:
    away = settings.model_copy(update={"label_studio_url": "http://127.0.0.1:1"})
    with Services(away) as services:
        services.database.upgrade()
        remember(services, "1.5", "Owls")
        remember(services, "1.6", "Frogs")
        assert find(services, "frogs").key == "1.6"
        with pytest.raises(ProjectNameError, match=r"1\.5.*1\.6"):
            find(services, "1")


def test_label_studio_is_searched_by_key_number_and_title(services: Services) -> None:
    client, url = client_for(services.settings), services.settings.label_studio_url or ""
    project_key = key(services, 3)
    projects = {
        name: find_project(client, url, name) for name in ("3", project_key, "KÄUZE", "käuze", "3.5", "Kau")
    }
    assert {name: project.id if project else None for name, project in projects.items()} == {
        "3": 3,
        project_key: 3,
        "KÄUZE": 3,
        "käuze": 3,
        "3.5": None,
        "Kau": None,
    }


def test_without_any_project_the_way_to_the_first_is_named(settings: Settings) -> None:
    with Services(settings) as unconnected:
        unconnected.database.upgrade()
        with pytest.raises(ProjectNameError, match="earmark connect"):
            find(unconnected, "Owls")
