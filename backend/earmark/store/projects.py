"""Project rows: keys, upserts from Label Studio's fields, lookup by name, and the training lease."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from earmark.audio.addresses import shown
from earmark.errors import ProjectNameError
from earmark.store.models import Project
from earmark.store.project_names import Named, matching, only_one
from earmark.store.upsert import upsert

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
    """Upsert a project row; fields without usable text keep their stored value."""
    project = session.get(Project, key)
    if project is None:
        _insert_project(session, key)
        project = session.get_one(Project, key)
    for name, value in fields.items():
        if is_storable(value) and getattr(project, name) != value:
            setattr(project, name, value)
    session.flush()
    return project


def lock_project(session: Session, key: str) -> None:
    """Lock a project's row until this transaction ends (``SELECT … FOR UPDATE``), and read it again.

    No effect on SQLite, which has one writer at a time anyway.
    """
    if session.get_bind().dialect.name != "sqlite":
        session.get(Project, key, populate_existing=True, with_for_update=True)


def _insert_project(session: Session, key: str) -> None:
    """Add a project's row, unless another process does so at the same moment."""
    columns = {c.name: c.default.arg for c in Project.__table__.columns if c.default is not None}
    session.execute(upsert(session, Project).values({**columns, "key": key}).on_conflict_do_nothing())


def is_storable(value: object) -> bool:
    """Whether a value is text, not empty, that every database can hold."""
    if not isinstance(value, str) or not value or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def known_projects(session: Session) -> list[Project]:
    """Every project that ever connected, oldest first."""
    return list(session.scalars(select(Project).order_by(Project.key)))


def latest_key(session: Session, number: object) -> str:
    """Key of the newest known project with Label Studio's bare ``number``, else ``"<number>.0"``."""
    if isinstance(number, bool) or not re.fullmatch(r"[0-9]{1,15}", str(number)):
        return UNKNOWN_PROJECT
    keys = session.scalars(select(Project.key).where(Project.key.startswith(f"{number}.")))
    return max(keys, key=lambda key: int(key.partition(".")[2]), default=f"{number}.0")


def named_projects(session: Session) -> list[Named[Project]]:
    """Every project that ever connected, with the fields that `matching` compares."""
    return [Named(row.key, row.title, row, shown(row.hostname)) for row in known_projects(session)]


def find_project(session: Session, name: str) -> Project:
    """The project in the database with a key, a number or a title; see ``matching``.

    Raises
    ------
    ProjectNameError
        There is none, or several: two Label Studios both have a project 1.
    """
    projects = named_projects(session)
    if matches := matching(name, projects):
        return only_one(name, matches)
    raise unknown_project(name, projects)


def unknown_project(name: str, projects: Sequence[Named[Project]]) -> ProjectNameError:
    """Return the error for a name that no project has, which lists the projects."""
    listed = ", ".join(map(str, projects))
    remedy = f"name one of {listed}" if projects else "run 'earmark connect PROJECT'"
    return ProjectNameError(f"No project “{name}” has connected: {remedy}.")


def acquire_lease(session: Session, key: str, owner: str, seconds: float) -> bool:
    """Acquire the training lease of a project for ``seconds``; False when another owner has it.

    A lease that was not renewed in time belongs to a process that died or hangs, and may be taken.
    """
    return _set_lease(session, key, owner, seconds, Project.lease_until < time.time())


def renew_lease(session: Session, key: str, owner: str, seconds: float) -> bool:
    """Renew one's own lease; False when another owner has had it since, even if it is free again.

    In the transaction that stores a training's results, this stops a process that hung and was replaced.
    """
    return _set_lease(session, key, owner, seconds, Project.lease_owner == owner)


def _set_lease(session: Session, key: str, owner: str, seconds: float, free: ColumnElement[bool]) -> bool:
    updated = session.execute(
        update(Project)
        .where(Project.key == key, free)
        .values(lease_owner=owner, lease_until=time.time() + seconds)
        .returning(Project.key)
    )
    return updated.first() is not None


def release_lease(session: Session, key: str, owner: str) -> None:
    """Release a lease; no effect when another owner has it by now."""
    session.execute(
        update(Project)
        .where(Project.key == key, Project.lease_owner == owner)
        .values(lease_owner=None, lease_until=0.0)
    )
