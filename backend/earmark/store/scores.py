"""Scores of annotations against the predictions that their annotators were shown."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.store.models import PredictionScore
from earmark.store.outcomes import add_outcomes


def scored_annotations(session: Session, key: str) -> set[int]:
    """Ids of the annotations of a project that have a score."""
    query = select(PredictionScore.annotation_id).where(PredictionScore.project_key == key)
    return set(session.scalars(query))


def add_scores(session: Session, key: str, scores: Collection[PredictionScore]) -> None:
    """Store scores, and add them to the outcomes of their versions; an annotation that has one keeps it."""
    scored = scored_annotations(session, key) if scores else set()
    new = [score for score in scores if score.annotation_id not in scored]
    add_outcomes(session, key, new)
    session.add_all(new)
    session.flush()


def list_scores(session: Session, key: str) -> list[PredictionScore]:
    """Scores of a project, in the order in which the predictions were shown."""
    query = (
        select(PredictionScore)
        .where(PredictionScore.project_key == key)
        .order_by(PredictionScore.shown_at, PredictionScore.annotation_id)
    )
    return list(session.scalars(query))
