"""A copy of an SQLite database in use is whole, private, and replaces nothing."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from earmark.errors import ConfigurationError
from earmark.services import Services
from earmark.store.projects import remember_project


def test_a_copy_holds_what_is_still_in_the_log(services: Services, tmp_path: Path) -> None:
    with services.database.write() as session:
        remember_project(session, "1.2", title="Town")
    copy = tmp_path / "copy.db"
    services.database.copy_to(copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT title FROM projects").fetchall() == [("Town",)]
    with pytest.raises(ConfigurationError, match="cannot be made"):
        services.database.copy_to(copy)
