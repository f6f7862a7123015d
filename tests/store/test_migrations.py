"""Migrations: a database of an earlier release is upgraded with all of its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

import earmark.store.database
from earmark.store.annotations import live_annotations
from earmark.store.database import Database
from earmark.store.models import Base
from earmark.store.registry import active_at, active_version, list_versions, load_folds, load_head, roll_back

KEY = "1.1795198673"
ENCODER = "logmel-1"


def migrate(
    database: Database, revision: str, direction: Callable[[Config, str], None] = command.upgrade
) -> None:
    config = Config()
    folder = Path(earmark.store.database.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    with database.engine.connect().execution_options(earmark_write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        direction(config, revision)


def fill_first_release(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO projects (key, label_config, title, hostname, access_token, lease_until, failures,"
            " retry_after, refreshed_version, refresh_after)"
            " VALUES (:key, '<View/>', 'Owls', '', '', 0, 0, 0, 'logmel-v2', 0)"
        ),
        {"key": KEY},
    )
    connection.execute(
        text(
            "INSERT INTO tasks (project_key, task_id, data, deleted)"
            ' VALUES (:key, 2, \'{"audio": "a"}\', :no)'
        ),
        {"key": KEY, "no": False},
    )
    connection.execute(
        text(
            "INSERT INTO annotations (project_key, annotation_id, task_id, result, was_cancelled,"
            " ground_truth, completed_by, updated_at, deleted)"
            " VALUES (:key, 1, 2, '[]', :no, :yes, 3, 5.0, :no)"
        ),
        {"key": KEY, "no": False, "yes": True},
    )
    for number, active in ((1, False), (2, True)):
        connection.execute(
            text(
                "INSERT INTO versions (project_key, encoder, number, name, head, metrics, annotations,"
                " created_at, active) VALUES (:key, :encoder, :number, :name, :head, '{}', 1, :at, :active)"
            ),
            {
                "key": KEY,
                "encoder": ENCODER,
                "number": number,
                "name": f"logmel-v{number}",
                "head": b"head%d" % number,
                "at": 100.0 * number,
                "active": active,
            },
        )


def check_first_release(database: Database) -> None:
    """What ``fill_first_release`` wrote is there, and has what later releases added."""
    with database.read() as session:
        ((annotation, task),) = live_annotations(session, KEY)
        assert (annotation.ground_truth, annotation.completed_by, task.data) == (True, 3, {"audio": "a"})
        assert (annotation.reviewed, annotation.shown_at, annotation.shown) == (False, 0.0, None)
        versions = list_versions(session, KEY)
        assert [(v.name, v.active, v.status, v.reason) for v in versions] == [
            ("logmel-v2", True, "accepted", ""),
            ("logmel-v1", False, "accepted", ""),
        ]
        assert load_head(session, versions[0].id) == b"head2"
        assert load_folds(session, versions[0].id) is None
        # What was active when is known from when it was trained
        active_versions = [active_at(session, KEY, ENCODER, moment) for moment in (50.0, 150.0, 250.0)]
        assert [version and version.name for version in active_versions] == [None, "logmel-v1", "logmel-v2"]
    with database.write() as session:
        assert roll_back(session, KEY, ENCODER).name == "logmel-v1"
    with database.read() as session:
        active = active_version(session, KEY, ENCODER)
        assert active is not None
        assert active.name == "logmel-v1"


def fill_versions_with_folds(connection: Connection, count: int, active: int) -> None:
    """Versions as releases up to 0007 stored them, all with fold heads."""
    query = text(
        "INSERT INTO versions (project_key, encoder, number, name, head, folds, metrics, annotations,"
        " created_at, active, status, reason) VALUES (:key, :encoder, :number, :name, :head, :folds, '{}', 1,"
        " :at, :active, 'accepted', '')"
    )
    for number in range(1, count + 1):
        row = {"key": KEY, "encoder": ENCODER, "number": number, "name": f"logmel-v{number}", "at": number}
        arrays = {"head": b"head%d" % number, "folds": b"folds%d" % number}
        connection.execute(query, {**row, **arrays, "active": number == active})


def check_versions_with_folds(database: Database) -> None:
    """All of twelve versions have their heads, the newest five and the active one their folds."""
    with database.read() as session:
        versions = {version.number: version for version in list_versions(session, KEY)}
        assert {n: load_head(session, v.id) for n, v in versions.items()} == {
            number: b"head%d" % number for number in range(1, 13)
        }
        with_folds = {n: folds for n, v in versions.items() if (folds := load_folds(session, v.id))}
        assert with_folds == {number: b"folds%d" % number for number in (3, 8, 9, 10, 11, 12)}
        assert {version.digest for version in versions.values()} == {""}


def test_migrations_end_where_a_new_database_begins(tmp_path: Path) -> None:
    migrated, new = (Database(f"sqlite:///{tmp_path / name}") for name in ("migrated.db", "new.db"))
    migrate(migrated, "0001")
    schemas = []
    for database in (migrated, new):
        database.upgrade()
        assert database.schema_state() == "current"
        with database.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
            schemas.append(schema_of(connection))
        database.close()
    assert schemas[0] == schemas[1]


def schema_of(connection: Connection) -> dict[str, object]:
    """Columns, in any order, and indexes of each table, as SQLite itself describes them."""
    tables = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars()
    return {
        table: (
            {
                (row.name, row.type, row.notnull, row.pk)
                for row in connection.execute(text(f"PRAGMA table_info('{table}')"))
            },
            {
                (row.unique, row.partial, columns_of(connection, row.name))
                for row in connection.execute(text(f"PRAGMA index_list('{table}')"))
            },
        )
        for table in tables
    }


def columns_of(connection: Connection, index: str) -> tuple[str, ...]:
    return tuple(row.name for row in connection.execute(text(f"PRAGMA index_info('{index}')")))


def test_versions_that_were_called_kept_are_rejected(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'earmark.db'}")
    migrate(database, "0007")
    with database.engine.begin() as connection:
        fill_versions_with_folds(connection, 2, active=1)
        connection.execute(
            text("UPDATE versions SET status = 'kept', reason = 'It is worse.' WHERE number = 2")
        )
    database.upgrade()
    with database.read() as session:
        statuses = {
            version.number: (version.status, version.reason) for version in list_versions(session, KEY)
        }
    assert statuses == {1: ("accepted", ""), 2: ("rejected", "It is worse.")}
    migrate(database, "0013", command.downgrade)
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM versions WHERE number = 2")) == "kept"
    database.close()


def test_superseded_versions_lose_their_folds_and_a_downgrade_brings_heads_back(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'earmark.db'}")
    migrate(database, "0007")
    with database.engine.begin() as connection:
        fill_versions_with_folds(connection, 12, active=3)
    database.upgrade()
    check_versions_with_folds(database)
    migrate(database, "0007", command.downgrade)
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT number, head, folds FROM versions ORDER BY number")).all()
    assert rows[0] == (1, b"head1", None)
    assert rows[2] == (3, b"head3", b"folds3")
    database.close()
