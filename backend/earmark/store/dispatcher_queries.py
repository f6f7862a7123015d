"""State of all projects at once, in a few queries: what the dispatcher looks at several times a second."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from earmark.store.models import Activation, Training, Version


def answering_versions(session: Session, encoder_identity: str) -> dict[str, Version]:
    """By project, the version that answers with this encoder, without its head's bytes."""
    query = select(Version).where(Version.encoder == encoder_identity, Version.active.is_(True))
    return {version.project_key: version for version in session.scalars(query)}


def last_activations(session: Session, encoder_identity: str) -> dict[str, Activation]:
    """By project, how the version that answers with this encoder became active."""
    last = select(func.max(Activation.id)).where(Activation.encoder == encoder_identity)
    query = select(Activation).where(Activation.id.in_(last.group_by(Activation.project_key)))
    return {activation.project_key: activation for activation in session.scalars(query)}


def projects_without_version(session: Session, encoder_identity: str) -> set[str]:
    """Projects that have versions, but none of this encoder: it was switched since."""
    trained = set(session.scalars(select(Version.project_key).distinct()))
    return trained - set(
        session.scalars(select(Version.project_key).where(Version.encoder == encoder_identity).distinct())
    )


def training_seconds(session: Session, keys: Sequence[str]) -> dict[str, float]:
    """By project, how long the last training took that made a version."""
    last = select(func.max(Training.id)).where(
        Training.project_key.in_(keys), Training.outcome.in_(("registered", "rejected"))
    )
    query = select(Training).where(Training.id.in_(last.group_by(Training.project_key)))
    return {t.project_key: t.finished_at - t.started_at for t in session.scalars(query)} if keys else {}
