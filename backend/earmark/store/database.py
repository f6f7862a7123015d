"""Database connections, transactions and migrations: SQLite in WAL mode by default, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from earmark.errors import ConfigurationError, NewerDatabaseError
from earmark.storage.atomic_files import ensure_dir
from earmark.storage.finite_json import dumps, loads
from earmark.store.models import Base
from earmark.store.postgresql import connector
from earmark.store.sqlite import (
    BUSY_TIMEOUT_SECONDS,
    begin_transaction,
    copy_file,
    disable_auto_checkpoint,
    prepare_connection,
    restrict_to_owner,
)

_MIGRATION_LOCK = 728463517
"""Number of PostgreSQL's advisory lock."""
POSTGRESQL = "postgresql+psycopg"
ANSWER_SECONDS, BACKGROUND_ANSWER_SECONDS = 5.0, 60.0
"""Longest silence of PostgreSQL, for requests and for trainings."""
SchemaState = Literal["empty", "older", "current"]


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
    answer_seconds
        Longest silence of PostgreSQL while a statement runs.

    Raises
    ------
    ConfigurationError
        The folder cannot be created, or the URL is not usable.
    MissingExtraError
        The driver for PostgreSQL is not installed.
    """

    def __init__(
        self,
        url: str,
        auto_checkpoint: bool = True,
        encrypt: Callable[[str], str] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url, self._encrypt = parsed_url(url), encrypt
        self._sqlite = self.url.get_backend_name() == "sqlite"
        if self._sqlite and self.url.database:
            with ensure_dir(Path(self.url.database).parent):
                pass  # only created
            restrict_to_owner(Path(self.url.database))
        options: dict[str, Any] = {
            "pool_pre_ping": True,
            # PostgreSQL refuses NaN, SQLite would store it, and responses made of it would be invalid JSON
            "json_serializer": dumps,
            "json_deserializer": loads,
        }
        if self._sqlite:
            options["connect_args"] = {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
        else:
            options |= {"creator": connector(self.url, answer_seconds), "pool_timeout": answer_seconds}
        self.engine: Engine = create_engine(self.url, **options)
        # By PostgreSQL's default each query has a snapshot of its own; read-only transactions cannot conflict
        self._reading = (
            self.engine if self._sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        if self._sqlite:
            event.listen(self.engine, "connect", prepare_connection)
            if not auto_checkpoint:
                event.listen(self.engine, "connect", disable_auto_checkpoint)
            event.listen(self.engine, "begin", begin_transaction)

    @property
    def shown(self) -> str:
        """The URL without its password, for messages."""
        return self.url.render_as_string(hide_password=True)

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
        NewerDatabaseError
            A newer release has made the database.
        """
        if self._sqlite and self.url.database:
            path = Path(self.url.database)
            with ensure_dir(path.parent), FileLock(f"{path}.migration.lock"):
                self._upgrade(self.engine)
        elif self._sqlite:
            self._upgrade(self.engine)
        else:  # a migration may take longer than any statement afterwards
            patient = create_engine(self.url, creator=connector(self.url, None))
            try:
                self._upgrade(patient)
            finally:
                patient.dispose()

    def _upgrade(self, engine: Engine) -> None:
        with engine.connect().execution_options(earmark_write=True) as connection, connection.begin():
            if not self._sqlite:
                # One migration at a time, whichever machine it starts on; released with the transaction.
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            state = self._state(connection)
            if state == "empty":  # what all migrations end in, a quarter of a second sooner
                Base.metadata.create_all(connection)
                MigrationContext.configure(connection).stamp(_scripts(), "head")
            elif state == "older":
                config = _migrations()
                config.attributes.update(connection=connection, encrypt=self._encrypt)
                command.upgrade(config, "head")

    def schema_state(self) -> SchemaState:
        """Compare the schema with this release's, without changing it or creating a file.

        Raises
        ------
        NewerDatabaseError
            A newer release has made the database.
        """
        if self._sqlite and self.url.database and not _is_filled(Path(self.url.database)):
            return "empty"
        with self.engine.connect() as connection:
            return self._state(connection)

    def _is_empty(self) -> bool:
        try:
            return self.schema_state() == "empty"
        except NewerDatabaseError:
            return False

    def require_current(self) -> None:
        """Create the schema of an empty database; refuse one that another release has made.

        For commands, which must not migrate what a backend of another release uses.

        Raises
        ------
        ConfigurationError
            An earlier release has made it.
        NewerDatabaseError
            A newer release has made it.
        """
        state = self.schema_state()
        if state == "empty":
            self.upgrade()
        elif state == "older":
            raise ConfigurationError(
                f"The database {self.shown} is of an earlier release: make a copy of it ('earmark backup'), "
                "then start the backend, which brings it up to date."
            )

    def _state(self, connection: Connection) -> SchemaState:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            return "empty"
        scripts = _scripts()
        if revision not in {script.revision for script in scripts.walk_revisions()}:
            raise NewerDatabaseError(
                f"The database {self.shown} was made by a newer release of Earmark (schema {revision}): "
                "update this one, or bring back a copy of before that."
            )
        return "current" if revision == scripts.get_current_head() else "older"

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of an SQLite database to a new file, which only its owner may read.

        Atomic: an error or Ctrl-C leaves no file.

        Raises
        ------
        ConfigurationError
            The database is not SQLite or empty, the file exists, or it cannot be written.
        """
        if not self._sqlite:
            raise ConfigurationError(f"{self.shown} is not SQLite: copy it with PostgreSQL's pg_dump.")
        if self._is_empty():
            raise ConfigurationError(f"There is no database {self.shown}: check DATA_DIR and DATABASE_URL.")
        copy_file(Path(str(self.url.database)), path)

    def checkpoint(self) -> None:
        """Checkpoint SQLite's write-ahead log without blocking readers or writers (PASSIVE)."""
        if self._sqlite:
            with self.engine.connect() as connection:
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def parsed_url(url: str) -> URL:
    """Parse a database URL; ``postgres://`` and ``postgresql://`` mean the driver that is used here.

    Raises
    ------
    ConfigurationError
        It is no URL, or of another kind of database.
    """
    try:
        parsed = make_url(url)
        port_is_valid = parsed.port is None or 0 < parsed.port < 65536
    except (ArgumentError, ValueError):
        port_is_valid = False
    if port_is_valid and parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername=POSTGRESQL)
    if not port_is_valid or parsed.drivername not in ("sqlite", POSTGRESQL):
        raise ConfigurationError(
            "DATABASE_URL cannot be used: write postgresql+psycopg://user:password@host/database, with signs "
            "such as # and @ in the password as %23 and %40, or leave it empty for SQLite in DATA_DIR."
        )
    return parsed


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@cache
def _scripts() -> ScriptDirectory:
    """Return this release's migrations; to read their files takes longer than to create a database."""
    return ScriptDirectory.from_config(_migrations())


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
