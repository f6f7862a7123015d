"""A PostgreSQL server that hangs is given up; one that takes its time while it sends is not."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from earmark.store.database import Database
from tests.postgres import SUPERUSER, make_database

pytestmark = pytest.mark.slow

SECONDS = 0.5


@pytest.fixture
def impatient(postgres_cluster: int) -> Iterator[Database]:
    name = make_database(postgres_cluster)
    url = f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{postgres_cluster}/{name}"
    database = Database(url, answer_seconds=SECONDS)
    yield database
    database.close()


def test_a_server_that_hangs_is_given_up_and_found_again(impatient: Database) -> None:
    impatient.upgrade()
    with impatient.read() as session:
        server = session.scalar(text("SELECT pg_backend_pid()"))
    os.kill(server, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with impatient.read() as session:  # on a new connection: the pool's does not answer
            assert session.scalar(text("SELECT 1")) == 1
        assert time.monotonic() - started < 20 * SECONDS
    finally:
        os.kill(server, signal.SIGCONT)


def test_a_statement_without_an_end_is_given_up(impatient: Database) -> None:
    started = time.monotonic()
    with pytest.raises(OperationalError, match="has not answered"), impatient.read() as session:
        session.execute(text("SELECT pg_sleep(60)"))
    assert time.monotonic() - started < 20 * SECONDS
    with impatient.read() as session:
        assert session.scalar(text("SELECT 1")) == 1


def test_a_migration_may_take_its_time(impatient: Database, postgres_cluster: int) -> None:
    """The lock that another machine holds while it migrates is waited for."""
    address = impatient.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(address)) as other:
        other.execute("SELECT pg_advisory_xact_lock(728463517)")
        other.execute(f"SET idle_in_transaction_session_timeout = {int(SECONDS * 3000)}")
        impatient.upgrade()
    assert impatient.schema_state() == "current"


def test_a_port_that_accepts_and_is_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none")
        started = time.monotonic()
        with pytest.raises(OperationalError), database.read() as session:
            session.execute(text("SELECT 1"))
        assert time.monotonic() - started < 20
