"""SQLite: setting up connections, waiting for the write lock, file permissions and online backup."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from earmark.errors import ConfigurationError
from earmark.storage.atomic_files import atomic_write, keep_private

BUSY_TIMEOUT_SECONDS = 30
"""Longest wait for the write lock, which each writer holds for milliseconds."""
_POLL_SECONDS = 0.001
"""Polling interval of a waiting writer. SQLite's own grows to 0.1 s, which would delay webhooks."""
_PAGES_OF_A_STEP = 2560
"""Pages that a step of a backup copies: 10 MB."""


def restrict_to_owner(database: Path) -> None:
    """Let only the owner read the database; SQLite gives its log the same permissions."""
    with suppress(OSError):  # reported where the database is used
        database.touch(mode=0o600)
        for name in (database.name, f"{database.name}-wal", f"{database.name}-shm"):
            keep_private(database.with_name(name), 0o600)


def prepare_connection(connection: Any, _record: Any) -> None:
    """Set up a new connection: write-ahead log, foreign keys, and transactions that SQLAlchemy begins."""
    # The driver's own transaction handling begins too late for a consistent read-then-write.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Commits survive a killed process. A power cut may lose the last commits, never a part of one; Label
    # Studio's export has what they held. FULL would wait for the disk each time.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def disable_auto_checkpoint(connection: Any, _record: Any) -> None:
    """Let commits on a new connection never checkpoint the write-ahead log."""
    connection.execute("PRAGMA wal_autocheckpoint=0")


def begin_transaction(connection: Connection) -> None:
    """Begin a read transaction, or a write transaction once the write lock is free."""
    if not connection.get_execution_options().get("earmark_write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # A writer takes its lock at once: a later upgrade of a read lock would fail instead of waiting.
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA busy_timeout=0")
    try:
        deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
        while not _try_begin(driver) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails again, as SQLAlchemy's own error
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")


def _try_begin(driver: Any) -> bool:
    """Whether to stop polling: the lock is acquired, or another error occurred, which the caller meets."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
    return True


def copy_file(database: Path, path: Path) -> None:
    """Write a consistent copy of a database in use to a new file, which only its owner may read.

    Atomic: an error or Ctrl-C leaves no file.

    Raises
    ------
    ConfigurationError
        The file exists, or it cannot be written.
    """
    if os.path.lexists(path) or not path.parent.is_dir():
        raise _not_made(path, "it exists" if os.path.lexists(path) else "there is no such folder")
    try:
        with (
            atomic_write(path) as part,
            closing(sqlite3.connect(str(database), timeout=BUSY_TIMEOUT_SECONDS)) as source,
            closing(sqlite3.connect(part)) as target,
        ):
            keep_private(part, 0o600)
            # One snapshot for all steps: what is written meanwhile would start the copy again
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_schema")
            # Without a callback, Ctrl-C would wait for the end
            source.backup(target, pages=_PAGES_OF_A_STEP, progress=lambda *_: None)
    except OSError as error:
        raise _not_made(path, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error}): see whether its disk has room."
        ) from error


def _not_made(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be made ({reason}): name a file that does not exist, in a folder of yours."
    )
