"""Rows of the database for the doctor's checks, read without changing or creating anything."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from earmark.errors import ConfigurationError
from earmark.settings import Settings
from earmark.store.database import Database

_Rows = TypeVar("_Rows")


def read_rows(settings: Settings, query: Callable[[Session], _Rows]) -> _Rows | None:
    """Return what ``query`` reads; None where the database is empty, or cannot be used.

    A fault of the database is left to the check of the database, which reports it.
    """
    try:
        with closing(Database(settings.sqlalchemy_url)) as database:
            if database.schema_state() == "empty":
                return None
            with database.read() as session:
                return query(session)
    except (ConfigurationError, SQLAlchemyError):
        return None
