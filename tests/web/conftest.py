"""Fixtures: the API with a project of sixty tasks and thirty versions, and one without anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from benchmarks.page_data import KEY, seed_project
from earmark.api.app import create_app
from earmark.services import Services
from earmark.settings import Settings


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A client of the API, from which no project is known yet."""
    with TestClient(create_app(settings), headers={"Sec-Fetch-Site": "same-origin"}) as client:
        yield client


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a project, to copy."""
    folder = tmp_path_factory.mktemp("seeded")
    with Services(Settings(_env_file=None, data_dir=folder / "data", encoder="logmel")) as services:
        services.database.upgrade()
        seed_project(services, folder / "made", tasks=60, versions=30)
        services.database.copy_to(folder / "seeded.db")
    return folder / "seeded.db"


@pytest.fixture
def project(services: Services, seeded: Path) -> str:
    """Key of a project in the same database."""
    database = services.database.url.database
    assert database is not None
    with closing(sqlite3.connect(seeded)) as source, closing(sqlite3.connect(database)) as target:
        source.backup(target)
    return KEY
