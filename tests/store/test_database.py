"""Only the release that runs changes a database, and faults are one sentence."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from earmark.errors import ConfigurationError, NewerDatabaseError
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.database import Database, _migrations, parsed_url


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'earmark.db'}")


def migrate_down(database: Database, revision: str) -> None:
    config = _migrations()
    with database.engine.connect().execution_options(earmark_write=True) as connection, connection.begin():
        config.attributes.update(connection=connection, encrypt=None)
        command.downgrade(config, revision)


def set_revision(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_the_schema_is_compared_without_a_change(database: Database) -> None:
    assert database.schema_state() == "empty"
    database.require_current()
    assert database.schema_state() == "current"
    migrate_down(database, "0014")
    assert database.schema_state() == "older"
    with pytest.raises(ConfigurationError, match="earlier release"):
        database.require_current()
    assert database.schema_state() == "older"
    database.upgrade()
    assert database.schema_state() == "current"


def test_a_newer_database_is_left_alone(database: Database, tmp_path: Path) -> None:
    database.upgrade()
    set_revision(database, "9999")
    database.copy_to(tmp_path / "copy.db")
    for use in (database.upgrade, database.require_current, database.schema_state):
        with pytest.raises(NewerDatabaseError, match="9999"):
            use()


@pytest.mark.parametrize(
    "url",
    ["nonsense", "", "mysql://h/d", "postgresql+asyncpg://h/d", "postgresql+psycopg://h:port/d", "http://h"],
)
def test_what_is_no_database_url_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Database(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_has_several_names(scheme: str) -> None:
    url = parsed_url(f"{scheme}://me:p#ss@host:5432/earmark")
    assert (url.drivername, url.password, url.host) == ("postgresql+psycopg", "p#ss", "host")


def test_there_must_be_something_to_copy(database: Database, tmp_path: Path) -> None:
    for _ in range(2):  # as it is, and as a connection that only reads leaves it
        with pytest.raises(ConfigurationError, match="no database"):
            database.copy_to(tmp_path / "copy.db")
        assert not (tmp_path / "copy.db").exists()
        with database.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    postgres = Database("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(ConfigurationError, match="pg_dump"):
        postgres.copy_to(tmp_path / "copy.db")


def test_services_make_their_folder_wherever_the_database_is(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:9/none"})
    with Services(elsewhere):
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700


def test_a_postgresql_that_is_down_fails_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(Exception, match="refused"):
        Database("postgresql://nobody@127.0.0.1:9/none").upgrade()
    assert time.monotonic() - started < 30
