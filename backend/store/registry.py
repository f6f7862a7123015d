"""The model registry: trained heads as numbered versions, one of them active.

Which one is active is read from the database by every process at every prediction, so a promotion
or a rollback takes effect everywhere with the next request.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, undefer

from backend.errors import VersionError
from backend.store.projects import lock_project
from backend.store.tables import Activation, Training, Version

Cause = Literal["trained", "promoted", "rolled back"]


def register_version(
    session: Session,
    key: str,
    encoder_name: str,
    encoder_identity: str,
    head: bytes,
    metrics: dict[str, Any],
    annotations: int,
    folds: bytes | None = None,
    kept_because: str = "",
) -> Version:
    """Store a head under the project's next number and make it the active one.

    Numbers count all encoders of a project, so that a name such as ``logmel-v3`` never returns
    with another meaning.

    Parameters
    ----------
    folds
        What comparing it with other versions takes.
    kept_because
        Why it is not to be served; the active version then stays the active one.
    """
    lock_project(session, key)
    last = session.scalar(select(func.max(Version.number)).where(Version.project_key == key)) or 0
    version = Version(
        project_key=key,
        encoder=encoder_identity,
        number=last + 1,
        name=version_name(encoder_name, last + 1),
        head=head,
        folds=folds,
        metrics=metrics,
        annotations=annotations,
        created_at=time.time(),
        status="kept" if kept_because else "accepted",
        reason=kept_because,
    )
    session.add(version)
    session.flush()
    if not kept_because:
        activate(session, version, "trained")
    return version


def activate(session: Session, version: Version, cause: Cause) -> None:
    """Make a version the one that answers for its project and encoder, and write down that it was."""
    session.execute(
        update(Version)
        .where(Version.project_key == version.project_key, Version.encoder == version.encoder)
        .values(active=False)
    )
    version.active = True
    session.add(
        Activation(
            project_key=version.project_key,
            encoder=version.encoder,
            version_id=version.id,
            activated_at=time.time(),
            cause=cause,
        )
    )
    session.flush()


def promote(session: Session, key: str, name: str, encoder_identity: str) -> Version:
    """Make a version of the encoder that hears now the active one, whether it was kept or replaced.

    Raises
    ------
    VersionError
        There is no such version, or it belongs to another encoder.
    """
    lock_project(session, key)
    version = find_version(session, key, name)
    if version.encoder != encoder_identity:
        raise VersionError(
            f"{name} was trained with {version.encoder} and the encoder is now {encoder_identity}: "
            "set ENCODER back, then promote it."
        )
    if not version.active:
        activate(session, version, "promoted")
    return version


def roll_back(session: Session, key: str, encoder_identity: str) -> Version:
    """Make the version active that was so before the active one; a second time goes one further back.

    What was rolled back is out of the way: after ``v1, v2, v3``, two rollbacks and a training, a
    rollback from ``v4`` ends at ``v1``.

    Raises
    ------
    VersionError
        There is none before.
    """
    lock_project(session, key)
    query = (
        select(Activation.version_id, Activation.cause)
        .where(Activation.project_key == key, Activation.encoder == encoder_identity)
        .order_by(Activation.id)
    )
    path: list[int] = []
    for version_id, cause in session.execute(query):
        if cause == "rolled back":
            path.pop()
        elif path[-1:] != [version_id]:
            path.append(version_id)
    if len(path) < 2:
        state = "no earlier version was active" if path else "nothing was trained"
        raise VersionError(
            f"There is nothing to go back to with {encoder_identity}, {state}: "
            "'python -m backend versions' lists what there is to promote."
        )
    version = session.get_one(Version, path[-2])
    activate(session, version, "rolled back")
    return version


def find_version(session: Session, key: str, name: str) -> Version:
    """A project's version by its name, such as ``cnn14-v3``, or by its number, with or without the v.

    Raises
    ------
    VersionError
        There is no such version; the message lists those that there are.
    """
    versions = list_versions(session, key)
    for version in versions:
        if name in (version.name, f"v{version.number}", str(version.number)):
            return version
    known = ", ".join(version.name for version in versions) or "none"
    raise VersionError(f"The project has no version “{name}”: name one of its versions ({known}).")


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


def active_at(session: Session, key: str, encoder_identity: str, moment: float) -> Version | None:
    """The version that answered at a moment (seconds since the epoch), without its head's bytes."""
    query = (
        select(Version)
        .join(Activation, Activation.version_id == Version.id)
        .where(
            Activation.project_key == key,
            Activation.encoder == encoder_identity,
            Activation.activated_at <= moment,
        )
        .order_by(Activation.id.desc())
        .limit(1)
    )
    return session.scalar(query)


def needs_version(session: Session, key: str, encoder_identity: str) -> bool:
    """Whether a project has versions, but none of this encoder: it was switched since."""
    trained = select(Version.id).where(Version.project_key == key)
    if session.scalar(trained.where(Version.encoder == encoder_identity).limit(1)) is not None:
        return False
    return session.scalar(trained.limit(1)) is not None


def load_head(session: Session, version_id: int) -> bytes:
    """Safetensors bytes of a version's head."""
    query = select(Version).where(Version.id == version_id).options(undefer(Version.head))
    return session.scalars(query).one().head


def load_folds(session: Session, version_id: int) -> bytes | None:
    """Safetensors bytes of a version's fold heads; None for versions of the first release."""
    query = select(Version).where(Version.id == version_id).options(undefer(Version.folds))
    return session.scalars(query).one().folds


def version_names(session: Session, key: str) -> set[str]:
    """Names of all versions of a project, whatever became of them."""
    return set(session.scalars(select(Version.name).where(Version.project_key == key)))


def active_versions(session: Session, encoder_identity: str) -> dict[str, Version]:
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
        Training.project_key.in_(keys), Training.outcome.in_(("registered", "kept"))
    )
    query = select(Training).where(Training.id.in_(last.group_by(Training.project_key)))
    return {t.project_key: t.finished_at - t.started_at for t in session.scalars(query)} if keys else {}


def list_versions(session: Session, key: str | None = None) -> list[Version]:
    """Versions of one project, or of all, the newest first."""
    query = select(Version).order_by(Version.created_at.desc(), Version.id.desc())
    return list(session.scalars(query if key is None else query.where(Version.project_key == key)))
