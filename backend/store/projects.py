"""Project rows: what Label Studio said of a project, and who may train it just now."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from backend.store.tables import Project

UNKNOWN_PROJECT = "unknown"
_KEY = re.compile(r"[0-9]{1,15}\.[0-9]{1,15}")


def project_key(project: object) -> str:
    """Key of a project from either form that Label Studio uses.

    ``/setup`` and ``/predict`` send ``"<id>.<created>"``, webhooks an object with ``id`` and
    ``created_at``. Anything else is ``"unknown"``.
    """
    if isinstance(project, str) and _KEY.fullmatch(project):
        return project
    if isinstance(project, dict):
        number, created = project.get("id"), epoch_seconds(project.get("created_at"))
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 10**15:
            return f"{number}.{int(created)}"
    return UNKNOWN_PROJECT


def epoch_seconds(timestamp: object) -> float:
    """ISO 8601 text to seconds since the epoch; 0.0 for anything else."""
    if not isinstance(timestamp, str):
        return 0.0
    try:
        return max(0.0, datetime.fromisoformat(timestamp).timestamp())
    except (ValueError, OverflowError, OSError):
        return 0.0


def remember_project(session: Session, key: str, **fields: Any) -> Project:
    """Insert or update a project row; fields that are None or empty leave what was known."""
    project = session.get(Project, key)
    if project is None:
        project = Project(key=key)
        session.add(project)
    for name, value in fields.items():
        if value and isinstance(value, str) and getattr(project, name) != value:
            setattr(project, name, value)
    session.flush()
    return project


def known_projects(session: Session) -> list[Project]:
    """Every project that ever connected, oldest first."""
    return list(session.scalars(select(Project).order_by(Project.key)))


def latest_key(session: Session, number: object) -> str:
    """Key of the newest known project with Label Studio's bare ``number``, else ``"<number>.0"``."""
    if isinstance(number, bool) or not re.fullmatch(r"[0-9]{1,15}", str(number)):
        return UNKNOWN_PROJECT
    keys = session.scalars(select(Project.key).where(Project.key.startswith(f"{number}.")))
    return max(keys, key=lambda key: int(key.partition(".")[2]), default=f"{number}.0")


def acquire_lease(session: Session, key: str, owner: str, seconds: float) -> bool:
    """Become the only one that trains a project, for ``seconds``; also prolongs one's own lease.

    A lease that was not prolonged in time belongs to a dead process and may be taken.
    """
    now = time.time()
    taken = session.execute(
        update(Project)
        .where(Project.key == key, or_(Project.lease_until < now, Project.lease_owner == owner))
        .values(lease_owner=owner, lease_until=now + seconds)
        .returning(Project.key)
    )
    return taken.first() is not None


def release_lease(session: Session, key: str, owner: str) -> None:
    """Give a lease back; nothing happens when another owner has it by now."""
    session.execute(
        update(Project)
        .where(Project.key == key, Project.lease_owner == owner)
        .values(lease_owner=None, lease_until=0.0)
    )
