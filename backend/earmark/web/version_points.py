"""Versions as points of the learning curve: how good each was measured, and what annotators made of it."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.head.evaluation import MIN_GROUPS_PER_SIDE
from earmark.store.models import Version
from earmark.store.outcomes import NO_EDGES, EdgeMoves, OutcomeFigures, list_outcomes
from earmark.store.registry import version_name

CACHED_VERSIONS = 20_000
MEASURED_FROM = MIN_GROUPS_PER_SIDE
"""Recordings with a label from which on its quality is shown: that of fewer is chance."""
_AT_ONCE = 500

State = Literal["active", "served", "rejected"]


@dataclass(frozen=True)
class Measured:
    """Figures of a version on recordings left out; the empty ones were not measured.

    ``quality``: mean of the controls' F1, or of the share of clips that was right where one label is
    chosen. ``classes``: F1 by control and label, of labels with enough recordings. ``effort``: of
    correcting its suggestions over that of annotating by hand, below 1 where they save work.
    """

    quality: float | None
    classes: Mapping[tuple[str, str], float]
    effort: float | None = None


@dataclass(frozen=True)
class VersionPoint:
    """A version on the learning curve."""

    id: int
    number: int
    name: str
    encoder: str
    annotations: int
    created_at: float
    state: State
    reason: str
    measured: Measured
    suggested: int = 0
    accepted: int = 0
    edges: EdgeMoves = NO_EDGES

    @property
    def accepted_share(self) -> float | None:
        """Share of its suggestions that was submitted unchanged; None where none was shown."""
        return self.accepted / self.suggested if self.suggested else None


class VersionPoints:
    """Reads the points of a project. Thread-safe; figures never change, so each version's are read once."""

    def __init__(self) -> None:
        self._measured: OrderedDict[int, Measured] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, session: Session, key: str, encoder_identity: str | None) -> list[VersionPoint]:
        """Return all versions of a project, oldest first, and before them the untrained one if it was shown.

        ``encoder_identity``: of the encoder in use, whose active version answers; None where it is unknown.
        """
        query = (
            select(
                Version.id,
                Version.number,
                Version.name,
                Version.encoder,
                Version.annotations,
                Version.created_at,
                Version.active,
                Version.status,
                Version.reason,
            )
            .where(Version.project_key == key)
            .order_by(Version.number)
        )
        rows = session.execute(query).all()
        measured = self._figures(session, [row.id for row in rows])
        outcomes = list_outcomes(session, key)
        points = _untrained(outcomes, is_active=not any(row.active for row in rows))
        for row in rows:
            state: State = "rejected" if row.status == "rejected" else "served"
            if row.active and encoder_identity in (None, row.encoder):
                state = "active"
            point = VersionPoint(
                row.id,
                row.number,
                row.name,
                row.encoder,
                row.annotations,
                row.created_at,
                state,
                row.reason,
                measured[row.id],
            )
            outcome = outcomes.get(row.name)
            points.append(point if outcome is None else _with_outcome(point, outcome))
        return points

    def _figures(self, session: Session, ids: Sequence[int]) -> dict[int, Measured]:
        with self._lock:
            figures = {number: self._measured[number] for number in ids if number in self._measured}
        missing = [number for number in ids if number not in figures]
        for start in range(0, len(missing), _AT_ONCE):
            batch = missing[start : start + _AT_ONCE]
            query = select(Version.id, Version.metrics, Version.correction).where(Version.id.in_(batch))
            figures.update((row.id, measured(row.metrics, row.correction)) for row in session.execute(query))
        with self._lock:
            self._measured.update((number, figures[number]) for number in missing)
            while len(self._measured) > CACHED_VERSIONS:
                self._measured.popitem(last=False)
        return figures


def _untrained(outcomes: Mapping[str, OutcomeFigures], is_active: bool) -> list[VersionPoint]:
    """Return a point for what answered before any training, where annotators saw its predictions."""
    return [
        _with_outcome(
            VersionPoint(0, 0, name, "", 0, 0.0, "active" if is_active else "served", "", Measured(None, {})),
            outcome,
        )
        for name, outcome in outcomes.items()
        if name.endswith(version_name("", 0)) and outcome.suggested
    ]


def _with_outcome(point: VersionPoint, outcome: OutcomeFigures) -> VersionPoint:
    return replace(
        point,
        suggested=outcome.suggested,
        accepted=outcome.accepted,
        edges=outcome.edges,
    )


def measured(metrics: Mapping[str, Any], correction: Mapping[str, Any] | None = None) -> Measured:
    """Return the figures that the page shows of a version's metrics and corrections, which may lack any."""
    qualities: list[float] = []
    classes: dict[tuple[str, str], float] = {}
    for control, figures in metrics.items():
        if not isinstance(figures, dict):
            continue
        quality = next(
            (value for name in ("accuracy", "f1") if (value := _share(figures.get(name))) is not None), None
        )
        if quality is not None:
            qualities.append(quality)
        for label, values in (figures.get("per_class") or {}).items():
            recordings = values.get("recordings", MEASURED_FROM)
            if recordings >= MEASURED_FROM and (value := _share(values.get("f1"))) is not None:
                classes[control, label] = value
    efforts = [
        value
        for figures in (correction or {}).values()
        if isinstance(figures, dict) and (value := _share(figures.get("effort_ratio"))) is not None
    ]
    return Measured(_mean(qualities), classes, _mean(efforts))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
