"""Check of stored heads: whether each project's active version can be used, and which one replaces it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.head.version_fallback import answering_version
from earmark.monitoring.doctor.finding import Finding
from earmark.monitoring.doctor.stored_rows import read_rows
from earmark.settings import Settings
from earmark.store.models import Project, Version


def heads(settings: Settings) -> Iterator[Finding]:
    """Report active versions whose heads are damaged or contain NaN; no finding where there is none."""
    for version, project_id, fault in read_rows(settings, _active_versions) or ():
        if fault:
            remedy = "Press Start Training in Label Studio, or annotate one more task."
            yield Finding("fault", f"project {project_id} {version.name}", fault, remedy)


def _active_versions(session: Session) -> list[tuple[Version, int | str, str]]:
    """Active versions, each with its project's number in Label Studio and why it cannot be used, if so."""
    active = session.scalars(select(Version).where(Version.active.is_(True)).order_by(Version.id))
    project_ids = {project.key: project.project_id for project in session.scalars(select(Project))}
    return [
        (
            version,
            project_ids.get(version.project_key, version.project_key),
            answering_version(session, version)[1],
        )
        for version in active
    ]
