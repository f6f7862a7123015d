"""The model registry: trained heads as numbered versions, one of them active.

Which one is active is read from the database by every process at every prediction, so a promotion
or a rollback takes effect everywhere with the next request.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from earmark.errors import HeadDroppedError, VersionError
from earmark.store.models import Activation, Version, VersionHead
from earmark.store.projects import lock_project
from earmark.store.retention import has_head, prune_heads

Cause = Literal["trained", "promoted", "rolled back"]
NAMED_AT_MOST = 10
DIGITS = 9
"""Of the largest version number that a database can hold."""


def register_version(
    session: Session,
    key: str,
    encoder_name: str,
    encoder_identity: str,
    head: bytes,
    metrics: dict[str, Any],
    annotations: int,
    folds: bytes | None = None,
    rejection_reason: str = "",
    digest: str = "",
    correction: dict[str, Any] | None = None,
) -> Version:
    """Store a head under the project's next number and make it the active one.

    Numbers count all encoders of a project, so that a name such as ``logmel-v3`` is never reused
    with another meaning. Versions that this one supersedes lose their fold heads; see ``prune_heads``.

    Parameters
    ----------
    folds
        Its fold heads, for comparing it with other versions.
    rejection_reason
        Why it is not served; the active version then stays active.
    digest
        Digest of its training data.
    correction
        What correcting its suggestions costs, by control.
    """
    lock_project(session, key)
    last = session.scalar(select(func.max(Version.number)).where(Version.project_key == key)) or 0
    version = Version(
        project_key=key,
        encoder=encoder_identity,
        number=last + 1,
        name=version_name(encoder_name, last + 1),
        digest=digest,
        metrics=metrics,
        correction=correction or {},
        annotations=annotations,
        created_at=time.time(),
        status="rejected" if rejection_reason else "accepted",
        reason=rejection_reason,
    )
    session.add(version)
    session.flush()
    session.add(
        VersionHead(
            version_id=version.id,
            project_key=key,
            head_bytes=len(head),
            fold_bytes=len(folds or b""),
            head=head,
            folds=folds,
        )
    )
    session.flush()
    if not rejection_reason:
        activate(session, version, "trained")
    prune_heads(session, key)
    return version


def activate(session: Session, version: Version, cause: Cause) -> None:
    """Make a version the active one of its project and encoder, and record the activation."""
    session.execute(
        update(Version)
        .where(
            Version.project_key == version.project_key,
            Version.encoder == version.encoder,
            Version.active.is_(True),  # an update writes all rows that it matches, changed or not
        )
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
    """Make a version of the present encoder the active one, whether it was rejected or superseded.

    Raises
    ------
    VersionError
        There is no such version, it belongs to another encoder, or its head was deleted.
    """
    lock_project(session, key)
    version = find_version(session, key, name)
    if version.encoder != encoder_identity:
        raise VersionError(
            f"{name} was trained with {version.encoder} and the encoder is now {encoder_identity}: "
            "set ENCODER back, then promote it."
        )
    if not has_head(session, version.id):
        raise VersionError(_dropped(version.name))
    if not version.active:
        activate(session, version, "promoted")
    return version


def roll_back(session: Session, key: str, encoder_identity: str) -> Version:
    """Make `previous_version` active; a second time goes one further back.

    Raises
    ------
    VersionError
        There is no earlier version.
    """
    lock_project(session, key)
    version = previous_version(session, key, encoder_identity)
    activate(session, version, "rolled back")
    return version


def previous_version(session: Session, key: str, encoder_identity: str) -> Version:
    """The version that was active before the active one.

    Versions that were rolled back are skipped: after ``v1, v2, v3``, two rollbacks and a training, a
    rollback from ``v4`` ends at ``v1``. Versions whose heads were deleted are skipped, too.

    Raises
    ------
    VersionError
        There is no earlier version.
    """
    query = (
        select(Activation.version_id, Activation.cause)
        .where(Activation.project_key == key, Activation.encoder == encoder_identity)
        .order_by(Activation.id)
    )
    path: list[int] = []
    for version_id, cause in session.execute(query):
        if cause == "rolled back":
            path.pop()
            while path and path[-1] != version_id:  # skip those whose head was deleted
                path.pop()
        elif path[-1:] != [version_id]:
            path.append(version_id)
    while len(path) > 1 and not has_head(session, path[-2]):
        del path[-2]
    if len(path) < 2:
        state = "this is the first version that answers" if path else "no version was trained yet"
        raise VersionError(
            f"There is no earlier version to go back to: {state} with the encoder "
            f"{encoder_identity.rpartition('-')[0].replace('.', '+')}. 'earmark versions' lists them, "
            "'earmark promote' takes any of them."
        )
    return session.get_one(Version, path[-2])


def find_version(session: Session, key: str, name: str) -> Version:
    """A project's version by its name, such as ``cnn14-v3``, or by its number, with or without the v.

    Raises
    ------
    VersionError
        There is no such version; the message lists the project's versions.
    """
    conditions = [Version.name == name]
    number = name.removeprefix("v")
    if number.isascii() and number.isdecimal() and len(number) <= DIGITS:
        conditions.append(Version.number == int(number))
    version = session.scalars(select(Version).where(Version.project_key == key, or_(*conditions))).first()
    if version is not None:
        return version
    newest = list_versions(session, key, NAMED_AT_MOST + 1)
    names = ", ".join(listed.name for listed in newest[:NAMED_AT_MOST]) or "none"
    names += " and older ones" if len(newest) > NAMED_AT_MOST else ""
    raise VersionError(f"The project has no version “{name}”: name one of its versions ({names}).")


def version_name(encoder_name: str, number: int) -> str:
    """Name of a version as Label Studio shows it; number 0 is the untrained one."""
    return f"{encoder_name}-v{number}"


def active_version(session: Session, key: str, encoder_identity: str) -> Version | None:
    """The active version of a project and encoder, without its head's bytes."""
    return session.scalar(
        select(Version).where(
            Version.project_key == key, Version.encoder == encoder_identity, Version.active.is_(True)
        )
    )


def accepted_before(session: Session, version: Version) -> list[Version]:
    """Accepted versions of the same project and encoder with lower numbers, the newest first."""
    query = select(Version).where(
        Version.project_key == version.project_key,
        Version.encoder == version.encoder,
        Version.number < version.number,
        Version.status == "accepted",
    )
    return list(session.scalars(query.order_by(Version.number.desc())))


def active_at(session: Session, key: str, encoder_identity: str, timestamp: float) -> Version | None:
    """The version that was active at a time (seconds since the epoch), without its head's bytes."""
    query = (
        select(Version)
        .join(Activation, Activation.version_id == Version.id)
        .where(
            Activation.project_key == key,
            Activation.encoder == encoder_identity,
            Activation.activated_at <= timestamp,
        )
        .order_by(Activation.id.desc())
        .limit(1)
    )
    return session.scalar(query)


def needs_version(session: Session, key: str, encoder_identity: str) -> bool:
    """Whether a project has versions, but none of this encoder, as after a switch of encoders."""
    trained = select(Version.id).where(Version.project_key == key)
    if session.scalar(trained.where(Version.encoder == encoder_identity).limit(1)) is not None:
        return False
    return session.scalar(trained.limit(1)) is not None


def newest_version(session: Session, key: str, encoder_identity: str) -> Version | None:
    """The version that was trained last with an encoder, active or not."""
    query = select(Version).where(Version.project_key == key, Version.encoder == encoder_identity)
    return session.scalar(query.order_by(Version.number.desc()).limit(1))


def active_versions(session: Session) -> list[Version]:
    """Every project's active versions, one for each of its encoders, the newest first."""
    query = select(Version).where(Version.active.is_(True))
    return list(session.scalars(query.order_by(Version.created_at.desc(), Version.id.desc())))


def load_head(session: Session, version_id: int) -> bytes:
    """Safetensors bytes of a version's head.

    Raises
    ------
    HeadDroppedError
        The head was deleted, and only the figures are stored.
    """
    head = session.scalar(select(VersionHead.head).where(VersionHead.version_id == version_id))
    if head is None:
        raise HeadDroppedError(_dropped(session.get_one(Version, version_id).name))
    return head


def load_folds(session: Session, version_id: int) -> bytes | None:
    """Safetensors bytes of a version's fold heads; None where they were deleted, or never stored."""
    return session.scalar(select(VersionHead.folds).where(VersionHead.version_id == version_id))


def version_names(session: Session, key: str) -> set[str]:
    """Names of all versions of a project, of any status."""
    return set(session.scalars(select(Version.name).where(Version.project_key == key)))


def versions_with_heads(session: Session, key: str | None = None) -> set[int]:
    """Ids of the versions, of a project or of all, whose heads are stored: these can be promoted."""
    query = select(VersionHead.version_id)
    return set(session.scalars(query if key is None else query.where(VersionHead.project_key == key)))


def list_versions(session: Session, key: str | None = None, most: int | None = None) -> list[Version]:
    """Versions of one project, or of all, the newest first, at most ``most``."""
    query = select(Version).order_by(Version.created_at.desc(), Version.id.desc())
    if key is not None:
        query = select(Version).where(Version.project_key == key).order_by(Version.number.desc())
    return list(session.scalars(query.limit(most)))


def _dropped(name: str) -> str:
    return (
        f"{name} has kept its figures alone: its head was deleted to save space, as newer versions had taken "
        "its place ('earmark versions' lists those that can be promoted)."
    )
