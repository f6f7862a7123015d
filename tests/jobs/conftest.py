"""Fixtures: a private Redis server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from earmark.jobs.redis_server import answers, connect, server_command
from earmark.processes.supervisor import Child, supervised
from earmark.settings import Settings


@pytest.fixture
def redis_server(settings: Settings) -> Iterator[redis.Redis]:
    """A client of a private Redis in the test's data folder, which starts empty."""
    with supervised(settings.data_dir / "run") as supervisor:
        child = Child("redis", server_command(settings), {}, settings.data_dir / "redis.log", restart=False)
        supervisor.start(child)
        supervisor.wait_until(child, lambda: answers(settings), 20)
        client = connect(settings)
        assert client.dbsize() == 0
        yield client
        client.close()
