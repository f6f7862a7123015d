"""``earmark backup`` command: a consistent copy of the SQLite database, also while a backend runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earmark.commands.common import DataDir


def backup(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the copy; it must not exist")],
    data_dir: DataDir = None,
) -> None:
    """Write a copy of the database: annotations, versions with their heads, settings of projects.

    It may be made while the backend runs. Copying earmark.db by other means then loses what is in its log
    (earmark.db-wal). Sounds and frames are not in it: they are fetched and computed again.

    To bring it back: stop the backend, delete earmark.db-wal and earmark.db-shm in DATA_DIR, and put the
    copy in the place of earmark.db. Label Studio's tokens in it need the same SECRET_KEY, or the file
    secret.key of DATA_DIR. A database on PostgreSQL is copied with pg_dump.
    """
    from earmark.commands.tables import say
    from earmark.processes.discovery import command_settings
    from earmark.storage.token_cipher import KEY_FILE
    from earmark.store.database import Database

    settings = command_settings(data_dir)
    database = Database(settings.sqlalchemy_url)
    try:
        database.copy_to(path)
    finally:
        database.close()
    say(f"{path} holds the database ({path.stat().st_size / 1e6:.1f} MB).")
    key_file = settings.data_dir / KEY_FILE
    if settings.secret_key or key_file.exists():  # else no token is stored
        say(f"Keep {'SECRET_KEY' if settings.secret_key else key_file} with it, in a safe place.")
