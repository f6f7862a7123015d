"""The learning curve: how far predictions lay from the annotations that followed, version by version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.distance import Distance
from backend.store.tables import PredictionScore


@dataclass(frozen=True)
class CurvePoint:
    """Everything that was shown by one version, or to one annotator.

    ``name``: the version's name or the annotator's number in Label Studio. ``controls``: `Distance`
    of each control.
    """

    name: str
    controls: dict[str, Distance]

    def figures(self) -> dict[str, dict[str, float]]:
        """For each control its `Distance.summary`."""
        return {name: distance.summary() for name, distance in self.controls.items()}


@dataclass(frozen=True)
class LearningCurve:
    """``versions`` in the order in which they were shown first; ``annotators`` likewise."""

    versions: list[CurvePoint]
    annotators: list[CurvePoint]


def learning_curve(scores: Sequence[PredictionScore]) -> LearningCurve:
    """Sum up the scores of one project, which are in the order in which predictions were shown.

    A task that is annotated again after a new version came is one that this version has learnt from, so it
    says something of its annotator and nothing of the version.
    """
    first: dict[int, str] = {}
    fair = [score for score in scores if first.setdefault(score.task_id, score.version) == score.version]
    return LearningCurve(
        _points(fair, lambda score: score.version or "unknown"),
        _points(scores, lambda score: "unknown" if score.annotator is None else str(score.annotator)),
    )


def _points(scores: Sequence[PredictionScore], name_of: Callable[[PredictionScore], str]) -> list[CurvePoint]:
    points: dict[str, CurvePoint] = {}
    for score in scores:
        name = name_of(score)
        point = points.setdefault(name, CurvePoint(name, {}))
        for control, stored in score.distances.items():
            point.controls.setdefault(control, Distance()).add(stored)
    return list(points.values())
