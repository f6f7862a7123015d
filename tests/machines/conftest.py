"""A real PostgreSQL of our own: a private cluster in a temporary folder, ended with the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from earmark.jobs.redis_server import answers, server_command
from earmark.processes.supervisor import Child, supervised
from earmark.services import Services
from earmark.settings import Settings

ORDINARY_USER = "postgres"
"""PostgreSQL refuses to run as root; Debian's package makes this user."""


def find_programs() -> Path | None:
    """Folder of the newest PostgreSQL's programs, as Debian lays them out, or where the PATH says."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def ordinary_user() -> dict[str, int]:
    """Arguments for ``subprocess`` that lead to a user who may run PostgreSQL."""
    if os.getuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(ORDINARY_USER)
    except KeyError:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {ORDINARY_USER}")
    return {"user": entry.pw_uid, "group": entry.pw_gid}


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[int]:
    """Port of a running cluster on the loopback address, where everybody may be its superuser."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    who = ordinary_user()
    # Not below pytest's own folder, which is closed to other users
    folder = Path(tempfile.mkdtemp(prefix="earmark-postgres-"))
    if who:
        os.chown(folder, who["user"], who["group"])
    data, log = folder / "data", folder / "log"
    initdb = [programs / "initdb", "--pgdata", data, "--username", "earmark", "--auth", "trust", "--no-sync"]
    subprocess.run([*initdb, "--encoding", "UTF8", "--locale", "C"], check=True, capture_output=True, **who)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [programs / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    command += ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, **who)
        try:
            ready = [programs / "pg_isready", "--host", "127.0.0.1", "--port", str(port), "--timeout", "1"]
            while subprocess.run(ready, capture_output=True, check=False).returncode != 0:
                assert server.poll() is None, log.read_text()
            yield port
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
            server.wait(30)
            shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_cluster: int, tmp_path: Path) -> str:
    """A new, empty database."""
    name = f"t{abs(hash(tmp_path))}"
    with psycopg.connect(
        f"host=127.0.0.1 port={postgres_cluster} user=earmark dbname=postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://earmark@127.0.0.1:{postgres_cluster}/{name}"


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
