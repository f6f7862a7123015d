"""Fixtures: the API with a project of sixty tasks and thirty versions, and one without anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from benchmarks.page_data import seed_project
from earmark.api.app import create_app
from earmark.services import Services
from earmark.settings import Settings


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A client of the API, from which no project is known yet."""
    with TestClient(create_app(settings), headers={"Sec-Fetch-Site": "same-origin"}) as client:
        yield client


@pytest.fixture
def project(services: Services, tmp_path: Path) -> str:
    """Key of a project in the same database."""
    return seed_project(services, tmp_path / "made", tasks=60, versions=30)
