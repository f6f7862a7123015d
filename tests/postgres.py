"""A real PostgreSQL for tests: a private cluster in a temporary folder, ended with the tests.

``tests/conftest.py`` takes the fixture ``postgres_cluster`` over, so that all tests of a session share one.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

ORDINARY_USER = "postgres"
"""PostgreSQL refuses to run as root; Debian's package makes this user."""
SUPERUSER = "earmark"
"""Of the cluster, without a password."""


def find_programs() -> Path | None:
    """Folder of the newest PostgreSQL's programs, as Debian lays them out, or where the PATH says."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if folders:
        return folders[-1]
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
    user, group = who.get("user"), who.get("group")
    # Not below pytest's own folder, which is closed to other users
    folder = Path(tempfile.mkdtemp(prefix="earmark-postgres-"))
    if who:
        os.chown(folder, who["user"], who["group"])
    data, log = folder / "data", folder / "log"
    initdb = [
        str(programs / "initdb"),
        "--pgdata",
        str(data),
        "--username",
        SUPERUSER,
        "--auth",
        "trust",
        "--no-sync",
    ]
    subprocess.run(
        [*initdb, "--encoding", "UTF8", "--locale", "C"],
        check=True,
        capture_output=True,
        user=user,
        group=group,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(programs / "postgres"),
        "-D",
        str(data),
        "-p",
        str(port),
        "-c",
        "listen_addresses=127.0.0.1",
    ]
    command += ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, user=user, group=group)
        try:
            ready = [
                str(programs / "pg_isready"),
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--timeout",
                "1",
            ]
            while subprocess.run(ready, capture_output=True, check=False).returncode != 0:
                assert server.poll() is None, log.read_text()
            yield port
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
            server.wait(30)
            shutil.rmtree(folder)


def make_database(port: int, content: Path | None = None) -> str:
    """Make a database in the cluster at a port, empty or with what `dump` wrote; returns its name."""
    name = f"t{uuid.uuid4().hex}"
    address = f"host=127.0.0.1 port={port} user={SUPERUSER} dbname=postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    if content is not None:
        _run("psql", port, name, "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(content))
    return name


def dump(port: int, name: str, path: Path) -> None:
    """Write the content of a database to a file."""
    _run("pg_dump", port, name, "--file", str(path))


def _run(program: str, port: int, database: str, *options: str) -> None:
    programs = find_programs()
    assert programs is not None
    where = ["--host", "127.0.0.1", "--port", str(port), "--username", SUPERUSER, "--dbname", database]
    subprocess.run([str(programs / program), *where, *options], check=True, stdout=subprocess.DEVNULL)
