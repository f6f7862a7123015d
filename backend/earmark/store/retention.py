"""Retention of heads: which superseded versions keep their fold heads, their head, or their figures alone.

Figures are kept for good. Fold heads, five times as large as the head, are needed to compare two versions:
the active version and the newest few have them. Heads are kept while those of a project take little space
together. Beyond that, the versions whose neighbours in time are closest, relative to their age squared, are
deleted: half of the space holds the newest without a gap, the other half older ones, the sparser the older.
"""

from __future__ import annotations

from sqlalchemy import Row, delete, select, update
from sqlalchemy.orm import Session

from earmark.store.models import Activation, Version, VersionHead

FOLDS_KEPT = 5
"""Newest versions of a project that keep their fold heads, so that a rollback or two can be measured."""
HEADS_KEPT = 50
"""Newest versions that keep their heads, however large these are."""
HEAD_BYTES = 64 * 1024**2
"""Limit of all superseded heads of a project together: some 600 versions of two controls with six labels."""
PRUNED_AT_ONCE = 4
"""Deletions per transaction: a registration adds one version, and webhooks wait for SQLite's one writer."""

Stored = Row[tuple[int, int, float, bool, int, int]]
"""Row of a version with a head: id, number, creation time, whether it is active, bytes of head and folds."""


def prune_heads(session: Session, key: str) -> None:
    """Delete heads and fold heads of superseded versions of a project; a few of them at a time."""
    stored = _stored(session, key)
    newest = max((row.number for row in stored), default=0)
    folds = [
        row.id for row in stored if row.fold_bytes and not row.active and row.number <= newest - FOLDS_KEPT
    ]
    _drop_folds(session, folds[:PRUNED_AT_ONCE])
    heads = _heads_to_delete(session, key, stored, newest)
    if heads:
        session.execute(delete(VersionHead).where(VersionHead.version_id.in_(heads)))


def has_head(session: Session, version_id: int) -> bool:
    """Whether a version's head is stored."""
    query = select(VersionHead.version_id).where(VersionHead.version_id == version_id)
    return session.scalar(query) is not None


def _stored(session: Session, key: str) -> list[Stored]:
    """Versions of a project that have a head, in order of their numbers."""
    query = (
        select(
            Version.id,
            Version.number,
            Version.created_at,
            Version.active,
            VersionHead.head_bytes,
            VersionHead.fold_bytes,
        )
        .join(VersionHead, VersionHead.version_id == Version.id)
        .where(VersionHead.project_key == key)
        .order_by(Version.number)
    )
    return list(session.execute(query))


def _drop_folds(session: Session, versions: list[int]) -> None:
    if versions:
        chosen = VersionHead.version_id.in_(versions)
        session.execute(update(VersionHead).where(chosen).values(folds=None, fold_bytes=0))


def _heads_to_delete(session: Session, key: str, stored: list[Stored], newest: int) -> list[int]:
    """Versions whose heads to delete, at most `PRUNED_AT_ONCE`, until all take no more than `HEAD_BYTES`.

    The oldest, the newest, active ones, and those that a user made active by hand are kept.
    """
    excess = sum(row.head_bytes for row in stored if not row.active) - HEAD_BYTES
    if excess <= 0:
        return []
    by_hand = select(Activation.version_id).where(
        Activation.project_key == key, Activation.cause != "trained"
    )
    chosen_by_hand = set(session.scalars(by_hand.distinct()))
    now = max(row.created_at for row in stored)
    remaining, dropped = list(stored), list[int]()
    while excess > 0 and len(dropped) < PRUNED_AT_ONCE:
        candidate = min(
            (
                (
                    (remaining[place + 1].created_at - remaining[place - 1].created_at) / _age(row, now) ** 2,
                    place,
                )
                for place, row in enumerate(remaining)
                if 0 < place < len(remaining) - 1
                and row.number <= newest - HEADS_KEPT
                and not row.active
                and row.id not in chosen_by_hand
            ),
            default=None,
        )
        if candidate is None:
            break
        row = remaining.pop(candidate[1])
        dropped.append(row.id)
        excess -= row.head_bytes
    return dropped


def _age(row: Stored, now: float) -> float:
    return max(1.0, now - float(row.created_at))
