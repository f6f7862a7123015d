"""Database connections, transactions and migrations: SQLite in WAL mode by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

from earmark.extras import require_extra
from earmark.storage.atomic_files import ensure_dir, keep_private
from earmark.storage.finite_json import dumps, loads

SQLITE_BUSY_TIMEOUT_SECONDS = 30
"""Longest wait for the write lock, which each writer holds for milliseconds."""
SQLITE_POLL_SECONDS = 0.001
"""Polling interval of a waiting writer. SQLite's own grows to 0.1 s, which would delay webhooks."""


class Database:
    """Database with short read and write transactions.

    Parameters
    ----------
    url
        SQLAlchemy URL. The folder of an SQLite file is created when it is missing.
    auto_checkpoint
        Whether a commit now and then checkpoints SQLite's write-ahead log, and waits for the disk. Otherwise
        the caller calls ``checkpoint``.
    encrypt
        How ``upgrade`` encrypts the tokens of a release that stored them in plain text; None leaves them.

    Raises
    ------
    ConfigurationError
        The folder cannot be created.
    MissingExtraError
        The driver for PostgreSQL is not installed.
    """

    def __init__(
        self, url: str, auto_checkpoint: bool = True, encrypt: Callable[[str], str] | None = None
    ) -> None:
        self.url, self._encrypt = make_url(url), encrypt
        self._sqlite = self.url.get_backend_name() == "sqlite"
        if self._sqlite and self.url.database:
            with ensure_dir(Path(self.url.database).parent):
                pass  # only created
            _restrict_to_owner(Path(self.url.database))
        if self.url.drivername == "postgresql+psycopg":
            require_extra("psycopg", "DATABASE_URL with PostgreSQL")
        options: dict[str, Any] = {
            "pool_pre_ping": True,
            # PostgreSQL refuses NaN, SQLite would store it, and responses made of it would be invalid JSON
            "json_serializer": dumps,
            "json_deserializer": loads,
        }
        if self._sqlite:
            options["connect_args"] = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
        self.engine: Engine = create_engine(self.url, **options)
        # By PostgreSQL's default each query has a snapshot of its own; read-only transactions cannot conflict
        self._reading = (
            self.engine if self._sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        if self._sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            if not auto_checkpoint:
                event.listen(self.engine, "connect", _disable_auto_checkpoint)
            event.listen(self.engine, "begin", _begin_sqlite)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Write transaction: committed at the end of the block, rolled back on an exception."""
        with (
            self.engine.connect().execution_options(earmark_write=True) as connection,
            Session(connection, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Read transaction: one consistent snapshot, which never waits for a writer."""
        with Session(self._reading, expire_on_commit=False) as session:
            yield session

    def upgrade(self) -> None:
        """Migrate the schema to this release. Processes that start together do it once.

        Raises
        ------
        ConfigurationError
            The folder of an SQLite file cannot be written.
        """
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        if self._sqlite and self.url.database:
            path = Path(self.url.database)
            with ensure_dir(path.parent), FileLock(f"{path}.migration.lock"):
                self._upgrade(config)
        else:
            self._upgrade(config)

    def _upgrade(self, config: Config) -> None:
        with self.engine.connect().execution_options(earmark_write=True) as connection, connection.begin():
            config.attributes.update(connection=connection, encrypt=self._encrypt)
            command.upgrade(config, "head")

    def checkpoint(self) -> None:
        """Checkpoint SQLite's write-ahead log without blocking readers or writers (PASSIVE)."""
        if self._sqlite:
            with self.engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _restrict_to_owner(database: Path) -> None:
    """Let only the owner read the database; SQLite gives its log the same permissions."""
    with suppress(OSError):  # reported where the database is used
        database.touch(mode=0o600)
        for name in (database.name, f"{database.name}-wal", f"{database.name}-shm"):
            keep_private(database.with_name(name), 0o600)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling begins too late for a consistent read-then-write.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Commits survive a killed process. A power cut may lose the last commits, never a part of one; Label
    # Studio's export has what they held. FULL would wait for the disk each time.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _disable_auto_checkpoint(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA wal_autocheckpoint=0")


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("earmark_write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # A writer takes its lock at once: a later upgrade of a read lock would fail instead of waiting.
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA busy_timeout=0")
    try:
        deadline = time.monotonic() + SQLITE_BUSY_TIMEOUT_SECONDS
        while not _try_begin(driver) and time.monotonic() < deadline:
            time.sleep(SQLITE_POLL_SECONDS)
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails again, as SQLAlchemy's own error
    finally:
        driver.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_SECONDS * 1000}")


def _try_begin(driver: Any) -> bool:
    """Whether to stop polling: the lock is acquired, or another error occurred, which the caller meets."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
    return True
