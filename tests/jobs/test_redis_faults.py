"""Each way in which Redis cannot be used is one sentence of its own, without the password."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.jobs import redis_server
from earmark.jobs.redis_server import connect, redis_fault, server_command, socket_path
from earmark.processes.supervisor import Child, supervised
from earmark.settings import Settings

PASSWORD = "s3cret"


def at(url: str) -> Settings:
    return Settings(_env_file=None, redis_url=url)


@pytest.fixture
def locked(settings: Settings) -> Iterator[Path]:
    """The socket of a Redis that asks for a password, has one database and takes few connections."""
    command = [*server_command(settings), "--requirepass", PASSWORD, "--databases", "1", "--maxclients", "5"]
    path = socket_path(settings.data_dir)
    with supervised(settings.data_dir / "run") as supervisor:
        child = Child("redis", command, dict(os.environ), settings.data_dir / "redis.log", restart=False)
        supervisor.start(child)
        supervisor.wait_until(child, lambda: not redis_fault(at(f"unix://:{PASSWORD}@{path}")), 20)
        yield path


def test_password_user_and_database(locked: Path) -> None:
    assert redis_fault(at(f"unix://:{PASSWORD}@{locked}?db=0")) == ""
    faults = {
        "none": redis_fault(at(f"unix://{locked}")),
        "wrong": redis_fault(at(f"unix://:wr0ng@{locked}")),
        "user": redis_fault(at(f"unix://me:{PASSWORD}@{locked}")),
        "database": redis_fault(at(f"unix://:{PASSWORD}@{locked}?db=7")),
    }
    for name in ("none", "wrong", "user"):
        assert "password" in faults[name]
    assert "database number" in faults["database"]
    for fault in faults.values():
        assert "\n" not in fault
        assert PASSWORD not in fault
        assert "wr0ng" not in fault


def test_its_connection_limit(locked: Path) -> None:
    url = f"unix://:{PASSWORD}@{locked}"
    clients = [connect(at(url), answer_seconds=5.0) for _ in range(5)]
    held = [client.connection_pool.get_connection() for client in clients]
    try:
        assert "maxclients" in redis_fault(at(url))
    finally:
        for client, connection in zip(clients, held, strict=True):
            client.connection_pool.release(connection)
            client.close()
    assert redis_fault(at(url)) == ""


def test_nothing_there_and_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "CONNECT_TIMEOUT_SECONDS", 0.2)
    assert "start it" in redis_fault(at("redis://127.0.0.1:9/0"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "hangs" in redis_fault(at(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
