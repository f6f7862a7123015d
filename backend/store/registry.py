"""The model registry: trained heads as numbered versions, one of them active."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, undefer

from backend.store.tables import Version


def register_version(
    session: Session,
    key: str,
    encoder_name: str,
    encoder_identity: str,
    head: bytes,
    metrics: dict[str, Any],
    annotations: int,
) -> Version:
    """Store a head under the project's next number and make it the active one.

    Numbers count all encoders of a project, so that a name such as ``logmel-v3`` never returns
    with another meaning.
    """
    last = session.scalar(select(func.max(Version.number)).where(Version.project_key == key)) or 0
    session.execute(
        update(Version)
        .where(Version.project_key == key, Version.encoder == encoder_identity)
        .values(active=False)
    )
    version = Version(
        project_key=key,
        encoder=encoder_identity,
        number=last + 1,
        name=version_name(encoder_name, last + 1),
        head=head,
        metrics=metrics,
        annotations=annotations,
        created_at=time.time(),
        active=True,
    )
    session.add(version)
    session.flush()
    return version


def version_name(encoder_name: str, number: int) -> str:
    """Name of a version as Label Studio shows it; number 0 is before any training."""
    return f"{encoder_name}-v{number}"


def active_version(session: Session, key: str, encoder_identity: str) -> Version | None:
    """The version that answers for a project with this encoder, without its head's bytes."""
    return session.scalar(
        select(Version).where(
            Version.project_key == key, Version.encoder == encoder_identity, Version.active.is_(True)
        )
    )


def needs_version(session: Session, key: str, encoder_identity: str) -> bool:
    """Whether a project has versions, but none of this encoder: it was switched since."""
    trained = select(Version.id).where(Version.project_key == key)
    if session.scalar(trained.where(Version.encoder == encoder_identity).limit(1)) is not None:
        return False
    return session.scalar(trained.limit(1)) is not None


def load_head(session: Session, version_id: int) -> bytes:
    """Safetensors bytes of a version's head."""
    return (
        session.scalars(select(Version).where(Version.id == version_id).options(undefer(Version.head)))
        .one()
        .head
    )


def list_versions(session: Session, key: str | None = None) -> list[Version]:
    """Versions of one project, or of all, the newest first."""
    query = select(Version).order_by(Version.created_at.desc(), Version.id.desc())
    return list(session.scalars(query if key is None else query.where(Version.project_key == key)))
