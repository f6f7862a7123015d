"""Learning curve: how far predictions lay from the annotations that followed, by number of annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from earmark.learning.correction_figures import summed
from earmark.learning.segment_metrics import Distance
from earmark.store.models import PredictionScore

STEPS_AT_MOST = 15
"""Rows that a person reads at a glance."""


@dataclass(frozen=True)
class CurvePoint:
    """Sums over the predictions shown by one version, or to one annotator.

    ``name``: the version's name or the annotator's user id in Label Studio. ``controls``: `Distance`
    of each control.
    """

    name: str
    controls: dict[str, Distance]

    def figures(self) -> dict[str, dict[str, float]]:
        """For each control its `Distance.summary`."""
        return {name: distance.summary() for name, distance in self.controls.items()}


@dataclass(frozen=True)
class CurveStep:
    """Annotations ``first`` to ``last``, counted from 1, in the order in which predictions were shown.

    ``accepted``: share of the ``suggestions`` that was submitted unchanged. ``tags_f1``: of tags; for a
    single choice that is the share that was right. ``region_f1``: of seconds of regions.
    ``edge_error_seconds``: median distance of the onsets and offsets of regions that were found. None where
    no such prediction was shown. ``effort_ratio``: effort of correcting over that of annotating by hand, of
    all controls together; ``event_f1``: of regions, within collars of 200 ms.
    """

    first: int
    last: int
    suggestions: int
    accepted: float | None
    tags_f1: float | None
    region_f1: float | None
    edge_error_seconds: float | None
    effort_ratio: float | None
    event_f1: float | None


@dataclass(frozen=True)
class LearningCurve:
    """``versions`` in the order in which they were shown first; ``annotators`` likewise."""

    steps: list[CurveStep]
    versions: list[CurvePoint]
    annotators: list[CurvePoint]


def learning_curve(scores: Sequence[PredictionScore]) -> LearningCurve:
    """Learning curve from the scores of one project, given in the order in which predictions were shown.

    A later version may be fitted on a task that was annotated before: when that task is annotated again, the
    score counts for its annotator and not for the version.
    """
    first_version: dict[int, str] = {}
    unseen = [
        score for score in scores if first_version.setdefault(score.task_id, score.version) == score.version
    ]
    return LearningCurve(
        _steps(unseen),
        _points(unseen, lambda score: score.version or "unknown"),
        _points(scores, lambda score: "unknown" if score.annotator is None else str(score.annotator)),
    )


def step_size(annotations: int) -> int:
    """Annotations of one step, for at most `STEPS_AT_MOST` steps: 1, 2, 5, 10, 20, 50 and so on."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if annotations <= STEPS_AT_MOST * size * factor:
                return size * factor
        size *= 10


def _steps(scores: Sequence[PredictionScore]) -> list[CurveStep]:
    size = step_size(len(scores))
    return [_step(first, scores[first : first + size]) for first in range(0, len(scores), size)]


def _step(first: int, scores: Sequence[PredictionScore]) -> CurveStep:
    regions, tags, edges = Distance(), Distance(), list[float]()
    suggested = accepted = 0
    for score in scores:
        for stored in score.distances.values():
            # Scores of earlier releases lack "edges"; the other values distinguish tags
            are_regions = "edges" in stored or _measures_seconds(stored)
            (regions if are_regions else tags).add(stored)
            if "suggested" in stored:
                suggested += stored["suggested"]
                accepted += stored["accepted"]
            edges += stored.get("edges", [])
    correction = summed([regions.correction, tags.correction])
    return CurveStep(
        first=first + 1,
        last=first + len(scores),
        suggestions=suggested,
        accepted=accepted / suggested if suggested else None,
        tags_f1=tags.summary().get("f1"),
        region_f1=regions.summary().get("f1"),
        edge_error_seconds=median(edges) if edges else None,
        effort_ratio=correction.figures().get("effort_ratio"),
        event_f1=correction.figures().get("event_f1"),
    )


def _measures_seconds(stored: Mapping[str, Any]) -> bool:
    """Whether parts are seconds of regions and not numbers of tags, for scores that do not store it."""
    parts = [value for label in stored["labels"].values() for value in label.values()]
    return "lwlrap" not in stored and any(value not in (0.0, 1.0) for value in parts)


def _points(scores: Sequence[PredictionScore], name_of: Callable[[PredictionScore], str]) -> list[CurvePoint]:
    points: dict[str, CurvePoint] = {}
    for score in scores:
        name = name_of(score)
        point = points.setdefault(name, CurvePoint(name, {}))
        for control, stored in score.distances.items():
            point.controls.setdefault(control, Distance()).add(stored)
    return list(points.values())
