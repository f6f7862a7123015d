"""Evaluation of out-of-fold predictions: ranking scores, F1, report metrics and decision thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earmark.head.metrics import (
    auc,
    average_precision,
    average_precisions,
    best_f1,
    calibration_error,
    f1,
    fewest_errors,
    label_precisions,
    lwlrap,
)
from earmark.head.solver import Array
from earmark.labels.control_types.base import ControlType

MIN_GROUPS_PER_SIDE = 5
"""Recordings needed with and without a label, each, to choose its threshold and to drop its prior."""
THRESHOLD_RANGE = (0.1, 0.9)


@dataclass(frozen=True)
class Data:
    """One control's examples, of the labels that are fitted.

    ``targets``, ``weights`` ``[n, C]``; ``groups``, ``is_unit`` ``[n]``:
    see `Examples`; ``folds`` ``[n]``. ``offset``: the prior's logits ``[n, C]``, None without a prior;
    ``anchored``: which labels it covers, bool ``[C]``.
    """

    type: ControlType
    targets: NDArray[np.bool_]
    weights: Array
    groups: NDArray[np.str_]
    folds: NDArray[np.intp]
    is_unit: NDArray[np.bool_]
    offset: Array | None
    anchored: NDArray[np.bool_]

    @property
    def exclusive(self) -> bool:
        """Whether exactly one label is true."""
        return self.type.exclusive

    def of(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Data:
        """The examples of some rows."""
        return replace(
            self,
            targets=self.targets[rows],
            weights=self.weights[rows],
            groups=self.groups[rows],
            folds=self.folds[rows],
            is_unit=self.is_unit[rows],
            offset=None if self.offset is None else self.offset[rows],
        )

    def without_prior(self, labels: NDArray[np.bool_]) -> Data:
        """The examples without the prior of some labels, bool ``[C]``."""
        anchored = self.anchored & ~labels
        offset = self.offset if anchored.any() else None
        return replace(
            self, offset=None if offset is None else np.where(labels, 0.0, offset), anchored=anchored
        )


def ranking_score(data: Data, logits: Array, columns: NDArray[np.bool_]) -> float:
    """Ranking quality of logits ``[n, C]``, in [0, 1]: lwlrap, or mean average precision over ``columns``."""
    return float(ranking_scores(data, logits, columns, np.ones((1, len(logits)), dtype=bool))[0])


def ranking_scores(data: Data, logits: Array, columns: NDArray[np.bool_], parts: NDArray[np.bool_]) -> Array:
    """`ranking_score` of several subsets of the rows, bool ``[B, n]``: ``[B]``.

    A single label would always rank first, so then clips are ranked instead.
    """
    unit = data.is_unit
    if ranks_labels(data) and columns.all():
        sums, counts = label_precisions(data.targets[unit], logits[unit])
        totals = parts[:, unit] @ counts
        precision_sums = parts[:, unit] @ sums
        return np.asarray(
            np.divide(precision_sums, totals, out=np.full(len(parts), np.nan), where=totals > 0)
        )
    each = [
        average_precisions(
            data.targets[unit, column], logits[unit, column], data.weights[unit, column] * parts[:, unit]
        )
        for column in np.flatnonzero(columns)
    ]
    means = np.array([_mean(precisions) for precisions in zip(*each, strict=True)] or np.zeros(len(parts)))
    return np.where(np.isfinite(means), means, 0.0)


def ranks_labels(data: Data) -> bool:
    """Whether labels are ranked for each clip (lwlrap), and not clips for each label (average precision)."""
    return not data.type.draws_regions and data.targets.shape[1] > 1


def decision_scores(data: Data, predicted: Array, limits: Array, parts: NDArray[np.bool_]) -> Array:
    """F1 of the labels that would be shown, all together, of several subsets of the rows ``[B, n]``: ``[B]``.

    For a single choice that is how often the likeliest label is right. 1 where no label is true and none is
    shown. ``predicted``, ``limits``: probabilities and thresholds ``[n, C]``.
    """
    unit = data.is_unit
    truth, weights = data.targets[unit], data.weights[unit]
    taken = data.type.decisions(predicted[unit], limits[unit])
    right, sums = (
        parts[:, unit] @ (weights * cells).sum(axis=1) for cells in (taken & truth, taken * 1 + truth)
    )
    return np.asarray(np.divide(2 * right, sums, out=np.ones(len(parts)), where=sums > 0))


def has_enough_recordings(data: Data, column: int) -> bool:
    """Whether at least `MIN_GROUPS_PER_SIDE` recordings have a label, and as many lack it."""
    annotated, truth = data.is_unit & (data.weights[:, column] > 0), data.targets[:, column]
    return (
        min(len(np.unique(data.groups[annotated & side])) for side in (truth, ~truth)) >= MIN_GROUPS_PER_SIDE
    )


def thresholds(data: Data, predicted: Array, defaults: Array, default: float) -> Array:
    """Decision thresholds ``[C]``: for each label the best out-of-fold probability.

    Of tags that is where an annotator corrects the fewest, as ticking a missing one costs as much as
    unticking a wrong one; of regions the best F1, as `prediction.region_candidates` weighs them afterwards.

    With too few recordings, a label gets its own default or, without one, a threshold chosen in the same way
    on all labels together. A label's own threshold is blended with that one, weighing more the more
    recordings carry the label.

    Parameters
    ----------
    predicted
        Out-of-fold probabilities ``[n, C]``.
    defaults
        ``[C]``, ``nan`` for labels without one.
    default
        Used when no label is annotated as present.
    """
    annotated = data.is_unit[:, None] & (data.weights > 0)
    choose = _best_f1_threshold if data.type.draws_regions else fewest_errors
    best = choose(data.targets[annotated], predicted[annotated], data.weights[annotated])
    shared = float(np.clip(best, *THRESHOLD_RANGE)) if np.isfinite(best) else default
    chosen = np.where(np.isfinite(defaults), defaults, shared)
    for column in range(len(chosen)):
        if has_enough_recordings(data, column):
            rows, truth = annotated[:, column], data.targets[:, column]
            own = choose(truth[rows], predicted[rows, column], data.weights[rows, column])
            recordings = len(np.unique(data.groups[rows & truth]))
            share = recordings / (recordings + MIN_GROUPS_PER_SIDE)
            chosen[column] = share * np.clip(own, *THRESHOLD_RANGE) + (1 - share) * chosen[column]
    return np.asarray(chosen)


def _best_f1_threshold(truth: NDArray[np.bool_], scores: Array, weights: Array) -> float:
    return best_f1(truth, scores, weights)[0]


def metrics(data: Data, predicted: Array, limits: Array) -> dict[str, float]:
    """Metrics of a training report, from out-of-fold probabilities ``[n, C]`` at thresholds ``[C]``."""
    unit = data.is_unit
    every = np.arange(data.targets.shape[1])
    truth, scores, weights = data.targets[unit], predicted[unit], data.weights[unit]
    taken = data.type.decisions(scores, limits)
    measured = {
        "lwlrap": lwlrap(truth, scores),
        "map": _mean(average_precision(truth[:, k], scores[:, k], weights[:, k]) for k in every),
        "auc": _mean(auc(truth[:, k], scores[:, k], weights[:, k]) for k in every),
        "f1": _mean(f1(truth[:, k], taken[:, k], weights[:, k]) for k in every),
    }
    if data.exclusive:
        right = truth[np.arange(len(truth)), scores.argmax(axis=1)]
        measured["accuracy"] = float(right.mean())
        measured["ece"] = calibration_error(right, scores.max(axis=1), (weights * truth).sum(axis=1))
    else:
        measured["ece"] = calibration_error(truth.ravel(), scores.ravel(), weights.ravel())
    return {name: value for name, value in measured.items() if np.isfinite(value)}


def metrics_per_class(
    data: Data, labels: tuple[str, ...], predicted: Array, limits: Array
) -> dict[str, dict[str, float]]:
    """`metrics` of each label: ``ap``, ``auc``, ``f1``, ``ece``, ``threshold``, ``recordings``."""
    unit = data.is_unit
    truth, scores, weights = data.targets[unit], predicted[unit], data.weights[unit]
    taken = data.type.decisions(scores, limits)
    measured = {}
    for k, label in enumerate(labels):
        values = {
            "ap": average_precision(truth[:, k], scores[:, k], weights[:, k]),
            "auc": auc(truth[:, k], scores[:, k], weights[:, k]),
            "f1": f1(truth[:, k], taken[:, k], weights[:, k]),
            "ece": calibration_error(truth[:, k], scores[:, k], weights[:, k]),
            "recordings": float(len(np.unique(data.groups[unit][truth[:, k] & (weights[:, k] > 0)]))),
        }
        if not data.exclusive:
            values["threshold"] = float(limits[k])
        measured[label] = {name: value for name, value in values.items() if np.isfinite(value)}
    return measured


def _mean(values: Iterable[float]) -> float:
    """Mean of the finite values; NaN without any."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
