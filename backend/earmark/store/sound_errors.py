"""Sounds that could not be loaded or decoded, or have too many regions, for doctor, metrics and pages."""

from __future__ import annotations

import time

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from earmark.audio.addresses import shown
from earmark.errors import EarmarkError, RegionsLeftOutError
from earmark.store.models import SoundFault

_ADDRESS_CHARACTERS = 1024
_CROWDED = SoundFault.reason == RegionsLeftOutError.reason


def remember_fault(
    session: Session, address: str, error: EarmarkError, key: str | None = None, task: int | None = None
) -> None:
    """Upsert the latest error of a sound that could not be loaded or decoded; the address without secrets.

    ``key``, ``task``: the project and its task that pointed to it, where they are known.
    """
    session.merge(
        SoundFault(
            address=shown(address)[:_ADDRESS_CHARACTERS],
            reason=error.reason,
            detail=str(error),
            seen_at=time.time(),
            project_key=key,
            task_id=task,
        )
    )


def fault_counts(session: Session) -> dict[str, int]:
    """Number of sounds that failed, by reason."""
    query = select(SoundFault.reason, func.count()).where(~_CROWDED)
    rows = session.execute(query.group_by(SoundFault.reason))
    return {reason: count for reason, count in rows}


def latest_faults(session: Session, limit: int, key: str | None = None) -> list[SoundFault]:
    """The sounds that failed last, of one project or of all, the newest first."""
    return _latest(session, ~_CROWDED, limit, key)


def latest_truncated(session: Session, limit: int, key: str | None = None) -> list[SoundFault]:
    """The sounds of which regions were left out last, of one project or of all, the newest first."""
    return _latest(session, _CROWDED, limit, key)


def _latest(
    session: Session, condition: ColumnElement[bool], limit: int, key: str | None
) -> list[SoundFault]:
    query = select(SoundFault).where(condition).order_by(SoundFault.seen_at.desc())
    if key is not None:
        query = query.where(SoundFault.project_key == key)
    return list(session.scalars(query.limit(limit)))
