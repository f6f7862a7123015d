"""How good out-of-fold logits are, and what is set by them: temperature and thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from backend.head.metrics import average_precision, best_f1, lwlrap
from backend.head.solver import Array, Coordinates
from backend.labelstudio.config import ControlKind

MIN_GROUPS_TO_TELL = 5
"""Recordings with and without a label, each, before they decide on its threshold and its prior."""
THRESHOLD_RANGE = (0.1, 0.9)
MAX_CLASS_WEIGHT = 10.0
TEMPERATURES = (0.5, 5.0)
"""Softening is free, sharpening is not: a few easy clips must not make every answer look certain."""


@dataclass(frozen=True)
class Data:
    """One control's examples, in the coordinates of a `Basis` and with the labels that are fitted.

    ``coordinates`` ``[n, r]``; ``targets``, ``weights`` ``[n, C]``; ``groups``, ``is_unit`` ``[n]``:
    see `Examples`. ``offset``: the prior's logits ``[n, C]``, None without a prior; ``anchored``:
    which labels it speaks for, bool ``[C]``.
    """

    kind: ControlKind
    coordinates: Coordinates
    targets: NDArray[np.bool_]
    weights: Array
    groups: NDArray[np.str_]
    is_unit: NDArray[np.bool_]
    offset: Array | None
    anchored: NDArray[np.bool_]

    @property
    def exclusive(self) -> bool:
        """Whether exactly one label is true."""
        return self.kind == "single"


def balanced(kind: ControlKind, targets: NDArray[np.bool_], weights: Array) -> Array:
    """Weights under which rare labels show up: ``[n, C]``.

    A single choice gives each class the same sum. Otherwise positives weigh more by the square root
    of the odds against them, halfway to equal sums: probabilities keep some meaning.
    """
    positive = (weights * targets).sum(axis=0)
    if kind == "single":
        return np.asarray(weights / np.where(positive > 0, positive, 1.0))
    negative = (weights * ~targets).sum(axis=0)
    odds = negative / np.where(positive > 0, positive, 1.0)
    return np.asarray(weights * np.where(targets, np.clip(np.sqrt(odds), 1.0, MAX_CLASS_WEIGHT), 1.0))


def ranking_score(data: Data, logits: Array, columns: NDArray[np.bool_]) -> float:
    """How well logits ``[n, C]`` rank, in [0, 1]: labels for a clip, or clips for each of ``columns``."""
    if data.exclusive:
        return lwlrap(data.targets, logits)
    return _mean_average_precision(data, logits, np.flatnonzero(columns))


def _mean_average_precision(data: Data, scores: Array, columns: NDArray[np.intp]) -> float:
    unit = data.is_unit
    each = [
        average_precision(data.targets[unit, column], scores[unit, column], data.weights[unit, column])
        for column in columns
    ]
    found = [value for value in each if np.isfinite(value)]
    return float(np.mean(found)) if found else 0.0


def temperature(data: Data, logits: Array) -> float:
    """Divisor of logits that minimises the out-of-fold log loss (Guo et al., 2017).

    Cells whose label the fold's training never saw do not count.
    """
    seen = np.isfinite(logits)
    finite = np.where(seen, logits, 0.0)
    weights = balanced(data.kind, data.targets, data.weights) * seen
    truth = data.targets

    def loss(log_temperature: float) -> float:
        scaled = finite / np.exp(log_temperature)
        if data.exclusive:
            total = logsumexp(np.where(seen, scaled, -np.inf), axis=1, keepdims=True)
            total = np.where(np.isfinite(total), total, 0.0)
            return float((weights * truth * (total - scaled)).sum())
        return float((weights * (np.logaddexp(0, scaled) - truth * scaled)).sum())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def probabilities(kind: ControlKind, logits: Array) -> Array:
    """Of logits ``[n, C]``; rows in which no label was ever seen are a draw."""
    if kind != "single":
        return np.asarray(expit(logits))
    any_seen = np.isfinite(logits).any(axis=1, keepdims=True)
    return np.asarray(softmax(np.where(any_seen, logits, 0.0), axis=1))


def tells(data: Data, column: int) -> bool:
    """Whether there are enough recordings with and without a label to decide something about it."""
    known, truth = data.is_unit & (data.weights[:, column] > 0), data.targets[:, column]
    return min(len(np.unique(data.groups[known & side])) for side in (truth, ~truth)) >= MIN_GROUPS_TO_TELL


def thresholds(data: Data, found: Array, defaults: Array) -> Array:
    """For each label the probability with the best out-of-fold F1; a default where too few recordings tell.

    ``found``: out-of-fold probabilities ``[n, C]``; ``defaults``: ``[C]``.
    """
    chosen = defaults.copy()
    for column in range(len(chosen)):
        if tells(data, column):
            known, truth = data.is_unit & (data.weights[:, column] > 0), data.targets[:, column]
            best, _ = best_f1(truth[known], found[known, column], data.weights[known, column])
            chosen[column] = np.clip(best, *THRESHOLD_RANGE)
    return chosen


def metrics(data: Data, found: Array, limits: Array) -> dict[str, float]:
    """What a report shows, of out-of-fold probabilities ``[n, C]`` at thresholds ``[C]``."""
    unit = data.is_unit
    every = np.arange(data.targets.shape[1])
    truth = data.targets[unit]
    measured = {"lwlrap": lwlrap(truth, found[unit]), "map": _mean_average_precision(data, found, every)}
    if data.exclusive:
        measured["accuracy"] = float(truth[np.arange(len(truth)), found[unit].argmax(axis=1)].mean())
    else:
        weights = data.weights[unit]
        taken = found[unit] >= limits
        hits = (weights * (truth & taken)).sum(axis=0)
        sums = (weights * truth).sum(axis=0) + (weights * taken).sum(axis=0)
        measured["f1"] = float(np.mean(2 * hits / np.where(sums > 0, sums, 1.0)))
    return {name: value for name, value in measured.items() if np.isfinite(value)}
