"""Check of stored heads: whether each project's active version can be used, and which one replaces it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from earmark.errors import ConfigurationError
from earmark.head.version_fallback import answering_version
from earmark.monitoring.doctor.finding import Finding
from earmark.settings import Settings
from earmark.store.database import Database
from earmark.store.models import Project, Version


def heads(settings: Settings) -> Iterator[Finding]:
    """Report active versions whose heads are damaged or contain NaN; no finding where there is none."""
    try:
        database = Database(settings.sqlalchemy_url)
    except ConfigurationError:
        return  # reported by the database check
    try:
        with database.read() as session:
            active = session.scalars(select(Version).where(Version.active.is_(True)).order_by(Version.id))
            version_faults = [(version, answering_version(session, version)[1]) for version in active]
            project_ids = {project.key: project.project_id for project in session.scalars(select(Project))}
    except SQLAlchemyError:
        return  # reported by the database check
    finally:
        database.close()
    for version, fault in version_faults:
        if fault:
            project_id = project_ids.get(version.project_key, version.project_key)
            remedy = "Press Start Training in Label Studio, or annotate one more task."
            yield Finding("fault", f"project {project_id} {version.name}", fault, remedy)
