"""Fixtures: databases of both kinds, services on them, and a Redis that several data folders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.jobs.redis_server import answers, server_command
from earmark.processes.supervisor import Child, supervised
from earmark.services import Services
from earmark.settings import Settings
from tests.postgres import SUPERUSER, make_database


@pytest.fixture
def postgres_url(postgres_cluster: int) -> str:
    """A new, empty database."""
    name = make_database(postgres_cluster)
    return f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{postgres_cluster}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path / 'shared.db'}"


@pytest.fixture
def services(settings: Settings, database_url: str) -> Iterator[Services]:
    """Services on a migrated database of each kind."""
    with Services(settings.model_copy(update={"database_url": database_url})) as built:
        built.database.upgrade()
        yield built


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A real Redis that several data folders share."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "redis-data")
    with supervised(tmp_path / "run") as supervisor:
        child = Child("redis", server_command(settings), {}, tmp_path / "redis.log", restart=False)
        supervisor.start(child)
        supervisor.wait_until(child, lambda: answers(settings), 20)
        yield f"unix://{settings.data_dir.resolve() / 'redis' / 'redis.sock'}"
