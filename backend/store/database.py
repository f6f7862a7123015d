"""Connections, transactions and migrations: SQLite in WAL mode by default, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

SQLITE_BUSY_TIMEOUT_SECONDS = 30
"""How long a writer waits for another one; each holds the lock for milliseconds."""


class Database:
    """One database, many short transactions.

    Parameters
    ----------
    url
        SQLAlchemy URL. The folder of an SQLite file is made when it is missing.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._sqlite = self.url.get_backend_name() == "sqlite"
        if self._sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"pool_pre_ping": True}
        if self._sqlite:
            options["connect_args"] = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
        self.engine: Engine = create_engine(self.url, **options)
        if self._sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction that may write: committed on the way out, rolled back on an exception."""
        with (
            self.engine.connect().execution_options(earmark_write=True) as connection,
            Session(connection, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view of the data, which never waits for a writer."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def upgrade(self) -> None:
        """Bring the schema to this release. Processes that start together do it once."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        if self._sqlite and self.url.database:
            with FileLock(f"{self.url.database}.migration.lock"):
                self._upgrade(config)
        else:
            self._upgrade(config)

    def _upgrade(self, config: Config) -> None:
        with self.engine.connect().execution_options(earmark_write=True) as connection, connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling begins too late for a consistent read-then-write.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # an answered webhook survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: upgrading a read lock later fails instead of waiting.
    write = connection.get_execution_options().get("earmark_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
