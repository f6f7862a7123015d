"""Outcomes of versions: sums over prediction scores, kept up with each new score."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from earmark.store.models import PredictionScore, VersionOutcome

MOVED_MILLISECONDS = 10.0
"""Edges that are less far off were not moved: the editor rounds them."""
_TASKS_AT_ONCE = 500


def add_outcomes(session: Session, key: str, scores: Collection[PredictionScore]) -> None:
    """Add new scores, before they are stored, to the outcomes of their versions.

    A score counts where its task was annotated first with a prediction of the same version.
    """
    first = _first_versions(session, key, {score.task_id for score in scores})
    ordered = sorted(scores, key=lambda score: (score.shown_at, score.annotation_id))
    counted: dict[str, list[PredictionScore]] = {}
    for score in ordered:
        if first.setdefault(score.task_id, score.version) == score.version:
            counted.setdefault(score.version, []).append(score)
    for version, scores_of_version in counted.items():
        outcome = session.get(VersionOutcome, (key, version)) or _empty_outcome(key, version)
        edges, labels = dict(outcome.edges), {name: dict(value) for name, value in outcome.labels.items()}
        confused = {tuple(row[:3]): row[3] for row in outcome.confused}
        for score in scores_of_version:
            outcome.annotations += 1
            outcome.last_shown_at = max(outcome.last_shown_at, score.shown_at)
            for control, distance in score.distances.items():
                outcome.suggested += distance.get("suggested", 0)
                outcome.accepted += distance.get("accepted", 0)
                for seconds in distance.get("edges", []):
                    place = _place(seconds)
                    edges[place] = edges.get(place, 0) + 1
                for label, parts in distance["labels"].items():
                    before = labels.setdefault(control, {}).get(label, {})
                    labels[control][label] = {part: before.get(part, 0.0) + parts[part] for part in parts}
                for submitted, shown, amount in distance.get("confused", []):
                    pair = (control, submitted, shown)
                    confused[pair] = confused.get(pair, 0.0) + amount
        outcome.edges, outcome.labels = edges, labels
        outcome.confused = [[*pair, amount] for pair, amount in confused.items()]
        session.add(outcome)
    session.flush()


@dataclass(frozen=True)
class EdgeMoves:
    """How often annotators moved the start or end of a suggested region, and how far.

    ``share``: of the edges, those that were moved; None without any edge. ``seconds``: median distance of the
    moved ones; None where none was moved.
    """

    share: float | None = None
    seconds: float | None = None


NO_EDGES = EdgeMoves()


def edge_moves(edges: Mapping[str, int]) -> EdgeMoves:
    """Return how edges were moved, from distances in ms with their numbers."""
    moved = {place: number for place, number in edges.items() if float(place) >= MOVED_MILLISECONDS}
    total = sum(edges.values())
    return EdgeMoves(sum(moved.values()) / total if total else None, _median_edge(moved))


@dataclass(frozen=True)
class OutcomeFigures:
    """Figures of a `VersionOutcome` without its sums by label."""

    annotations: int
    suggested: int
    accepted: int
    edges: EdgeMoves


def list_outcomes(session: Session, key: str) -> dict[str, OutcomeFigures]:
    """Figures of all versions of a project, by name."""
    query = select(
        VersionOutcome.version,
        VersionOutcome.annotations,
        VersionOutcome.suggested,
        VersionOutcome.accepted,
        VersionOutcome.edges,
    ).where(VersionOutcome.project_key == key)
    return {
        row.version: OutcomeFigures(row.annotations, row.suggested, row.accepted, edge_moves(row.edges))
        for row in session.execute(query)
    }


def latest_outcomes(session: Session, key: str, limit: int) -> list[VersionOutcome]:
    """Outcomes of the versions that were shown last, the newest first."""
    query = (
        select(VersionOutcome)
        .where(VersionOutcome.project_key == key)
        .order_by(VersionOutcome.last_shown_at.desc())
    )
    return list(session.scalars(query.limit(limit)))


def _median_edge(edges: Mapping[str, int]) -> float | None:
    """Median in seconds of edge distances in ms with their numbers; None without any."""
    seen, total = 0, sum(edges.values())
    for milliseconds, count in sorted((float(place), count) for place, count in edges.items()):
        seen += count
        if 2 * seen >= total:
            return milliseconds / 1000
    return None


def _place(seconds: float) -> str:
    """Milliseconds with two significant digits, so that a version has at most a few hundred places."""
    return f"{float(f'{1000 * seconds:.2g}'):g}"


def _first_versions(session: Session, key: str, tasks: Collection[int]) -> dict[int, str]:
    """The version whose prediction each task was first annotated with."""
    first: dict[int, str] = {}
    ordered: Sequence[int] = sorted(tasks)
    for start in range(0, len(ordered), _TASKS_AT_ONCE):
        query = (
            select(PredictionScore.task_id, PredictionScore.version)
            .where(
                PredictionScore.project_key == key,
                PredictionScore.task_id.in_(ordered[start : start + _TASKS_AT_ONCE]),
            )
            .order_by(PredictionScore.shown_at, PredictionScore.annotation_id)
        )
        for task, version in session.execute(query):
            first.setdefault(task, version)
    return first


def _empty_outcome(key: str, version: str) -> VersionOutcome:
    return VersionOutcome(
        project_key=key,
        version=version,
        annotations=0,
        suggested=0,
        accepted=0,
        last_shown_at=0.0,
        edges={},
        labels={},
        confused=[],
    )
