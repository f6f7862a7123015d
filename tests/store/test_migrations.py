"""A database of an earlier release is brought to this one with all that is in it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

import backend.store.database
from backend.store.annotations import live_annotations
from backend.store.database import Database
from backend.store.registry import active_at, active_version, list_versions, load_folds, load_head, roll_back
from backend.store.tables import Base

KEY = "1.1795198673"
ENCODER = "logmel-1"


def migrate(database: Database, revision: str) -> None:
    config = Config()
    folder = Path(backend.store.database.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    with database.engine.connect().execution_options(earmark_write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


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
        found = [active_at(session, KEY, ENCODER, moment) for moment in (50.0, 150.0, 250.0)]
        assert [version and version.name for version in found] == [None, "logmel-v1", "logmel-v2"]
    with database.write() as session:
        assert roll_back(session, KEY, ENCODER).name == "logmel-v1"
    with database.read() as session:
        active = active_version(session, KEY, ENCODER)
        assert active is not None
        assert active.name == "logmel-v1"


def test_migrations_end_where_the_tables_are(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'earmark.db'}")
    database.upgrade()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()
