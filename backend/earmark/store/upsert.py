"""INSERT statements with ``ON CONFLICT``, which SQLAlchemy has for each database apart."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from earmark.store.models import Base

ROWS_AT_ONCE = 500
"""Rows of one statement: databases limit its parameters."""


def upsert(session: Session, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT into a table for the session's database, with its ``on_conflict_…`` methods."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    return insert(table)
