"""Queries of the dispatcher over all projects at once, which it runs several times a second."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from earmark.store.models import Activation, Training, Version


def active_versions_by_project(session: Session, encoder_identity: str) -> dict[str, Version]:
    """The active version of this encoder by project, without its head's bytes."""
    query = select(Version).where(Version.encoder == encoder_identity, Version.active.is_(True))
    return {version.project_key: version for version in session.scalars(query)}


def last_activations(session: Session, encoder_identity: str) -> dict[str, Activation]:
    """The activation of this encoder's active version, by project."""
    last = select(func.max(Activation.id)).where(Activation.encoder == encoder_identity)
    query = select(Activation).where(Activation.id.in_(last.group_by(Activation.project_key)))
    return {activation.project_key: activation for activation in session.scalars(query)}


def projects_without_version(session: Session, encoder_identity: str) -> set[str]:
    """Projects that have versions, but none of this encoder, as after a switch of encoders."""
    trained = set(session.scalars(select(Version.project_key).distinct()))
    return trained - set(
        session.scalars(select(Version.project_key).where(Version.encoder == encoder_identity).distinct())
    )


def training_seconds(session: Session, keys: Sequence[str]) -> dict[str, float]:
    """Duration in seconds of the last training that made a version, by project."""
    last = select(func.max(Training.id)).where(
        Training.project_key.in_(keys), Training.outcome.in_(("registered", "rejected"))
    )
    query = select(Training).where(Training.id.in_(last.group_by(Training.project_key)))
    return {t.project_key: t.finished_at - t.started_at for t in session.scalars(query)} if keys else {}
