"""Queries of the last trainings."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from earmark.store.models import Training


def latest_trainings(session: Session) -> dict[str, Training]:
    """The last training of each project that was trained, by project key."""
    last = select(func.max(Training.id)).group_by(Training.project_key)
    return {row.project_key: row for row in session.scalars(select(Training).where(Training.id.in_(last)))}
