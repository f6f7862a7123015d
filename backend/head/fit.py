"""Fitting a head to annotated clips, and measuring it on recordings that it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from backend.errors import NotEnoughAnnotationsError
from backend.head.examples import AnnotatedClip, Examples, build_examples
from backend.head.folds import grouped_folds
from backend.head.metrics import average_precision, best_f1, lwlrap
from backend.head.model import ControlHead, Head
from backend.head.solver import Array, Basis, Coordinates, Linear, solve
from backend.head.windows import Pool
from backend.labelstudio.config import Control, ControlKind

STRENGTHS = (1e-4, 3e-4, 3e-3)
DEFAULT_STRENGTH = 3e-4
CLEARLY_BETTER = 0.01
"""Another strength is taken only when it is better by so much; less is noise in a few dozen clips."""
FOLDS = 5
MIN_GROUPS_TO_MEASURE = 5
MIN_GROUPS_FOR_THRESHOLD = 5
"""Recordings with and without a label, each, before its threshold is taken from them."""
DEFAULT_THRESHOLD = 0.5
THRESHOLD_RANGE = (0.1, 0.9)
MAX_CLASS_WEIGHT = 10.0
TEMPERATURES = (0.5, 5.0)
"""Softening is free, sharpening is not: a few easy clips must not make every answer look certain."""


@dataclass(frozen=True)
class ControlReport:
    """How one control's head was measured, on recordings left out of the fit.

    ``metrics``: ``lwlrap`` and ``map`` (mean over labels of average precision), in [0, 1]; for a
    single choice also ``accuracy``, else ``f1`` (mean over labels, at the thresholds). Empty when
    there are too few recordings. ``examples``: rows; ``groups``: recordings.
    """

    metrics: dict[str, float]
    examples: int
    groups: int
    strength: float


@dataclass(frozen=True)
class FitReport:
    """``controls``: what was fitted; ``skipped``: for each other control a sentence that says why."""

    controls: dict[str, ControlReport] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def fit_head(
    pool: Pool,
    frame_rate: float,
    identity: str,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
) -> tuple[Head, FitReport]:
    """Fit every control that has something to learn from.

    Parameters
    ----------
    pool, frame_rate, identity
        Of the encoder that the clips' frames come from.
    controls
        The project's controls; their order, and that of the clips, are the only order there is.

    Raises
    ------
    NotEnoughAnnotationsError
        No control can be fitted.
    """
    heads, reports, skipped = {}, {}, {}
    for control in controls:
        try:
            heads[control.name], reports[control.name] = fit_control(pool, frame_rate, control, clips)
        except NotEnoughAnnotationsError as error:
            skipped[control.name] = str(error)
    if not heads:
        raise NotEnoughAnnotationsError(" ".join(skipped.values()) or "There is no control to learn.")
    return Head(identity, heads), FitReport(reports, skipped)


def fit_control(
    pool: Pool, frame_rate: float, control: Control, clips: Sequence[AnnotatedClip]
) -> tuple[ControlHead, ControlReport]:
    """Fit and measure one control; parameters and errors are those of `fit_head`.

    Labels without any example are left out of the head.
    """
    examples = build_examples(pool, frame_rate, control, clips)
    learned = _learnable(control, examples)
    if examples is None or not learned:
        raise NotEnoughAnnotationsError(_why_not(control, examples))
    # Hundreds of small products: BLAS threads that wait for busy cores made them 18 times slower,
    # and one thread gives the same bits on every machine with the same BLAS kernel
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit_examples(control, examples, learned)


def _fit_examples(
    control: Control, examples: Examples, learned: tuple[str, ...]
) -> tuple[ControlHead, ControlReport]:
    columns = [examples.labels.index(label) for label in learned]
    targets, weights = examples.targets[:, columns], examples.weights[:, columns]
    basis = Basis.of(examples.embeddings, weights.max(axis=1))
    coordinates = basis.coordinates(examples.embeddings)
    data = _Data(control.kind, coordinates, targets, weights, examples.groups, examples.is_unit)
    groups = len(np.unique(examples.groups))
    strength, temperature = DEFAULT_STRENGTH, 1.0
    thresholds: Array = np.full(len(learned), DEFAULT_THRESHOLD)
    metrics: dict[str, float] = {}
    if groups >= MIN_GROUPS_TO_MEASURE:
        strength, logits = _choose_strength(data)
        temperature = _temperature(data, logits)
        probabilities = _probabilities(data.kind, logits / temperature)
        if control.kind != "single":
            thresholds = _thresholds(data, probabilities)
        metrics = _metrics(data, probabilities, thresholds)
    balanced = _balanced(data.kind, targets, weights)
    fitted = solve(coordinates, targets, balanced, strength, data.exclusive)
    head = ControlHead(
        control.name,
        control.kind,
        learned,
        basis.mean.astype(np.float32),
        basis.scale.astype(np.float32),
        (basis.directions @ fitted.weights / temperature).astype(np.float32),
        (fitted.bias / temperature).astype(np.float32),
        thresholds.astype(np.float32),
    )
    return head, ControlReport(metrics, len(targets), groups, strength)


@dataclass(frozen=True)
class _Data:
    """One control's examples, in the coordinates of a `Basis` and with learnable labels only."""

    kind: ControlKind
    coordinates: Coordinates
    targets: NDArray[np.bool_]
    weights: Array
    groups: NDArray[np.str_]
    is_unit: NDArray[np.bool_]

    @property
    def exclusive(self) -> bool:
        return self.kind == "single"


def _learnable(control: Control, examples: Examples | None) -> tuple[str, ...]:
    """Labels with at least one example, in the control's order; none if that is too little."""
    if examples is None:
        return ()
    carried = np.any(examples.targets & (examples.weights > 0), axis=0)
    found = tuple(label for label, any_example in zip(examples.labels, carried, strict=True) if any_example)
    return () if control.kind == "single" and len(found) < 2 else found


def _why_not(control: Control, examples: Examples | None) -> str:
    if examples is None:
        return f"Nothing was annotated for “{control.name}” yet: annotate a few tasks and submit them."
    if control.kind == "single":
        return f"Every annotation of “{control.name}” has the same choice: annotate one of another choice."
    return f"No annotation of “{control.name}” holds any of its labels: annotate one that does."


def _balanced(kind: ControlKind, targets: NDArray[np.bool_], weights: Array) -> Array:
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


def _choose_strength(data: _Data) -> tuple[float, Array]:
    """Best regularisation by grouped cross-validation, and its out-of-fold logits ``[n, C]``."""
    folds = grouped_folds(data.groups, data.targets, FOLDS)
    out_of_fold = {strength: np.full(data.targets.shape, -np.inf) for strength in STRENGTHS}
    for fold in range(folds.max() + 1):
        train, test = folds != fold, folds == fold
        targets, weights = data.targets[train], data.weights[train]
        seen = (targets & (weights > 0)).any(axis=0)
        if not seen.any():
            continue
        balanced = _balanced(data.kind, targets[:, seen], weights[:, seen])
        start: Linear | None = None
        for strength in sorted(STRENGTHS, reverse=True):  # from smooth to sharp, each from the last
            start = solve(
                data.coordinates[train], targets[:, seen], balanced, strength, data.exclusive, start
            )
            out_of_fold[strength][np.ix_(test, seen)] = start.logits(data.coordinates[test])
    scores = {strength: _ranking_score(data, logits) for strength, logits in out_of_fold.items()}
    best = max(scores, key=lambda strength: scores[strength])
    if not scores[best] > scores[DEFAULT_STRENGTH] + CLEARLY_BETTER:
        best = DEFAULT_STRENGTH
    return best, out_of_fold[best]


def _ranking_score(data: _Data, logits: Array) -> float:
    if data.exclusive:
        return lwlrap(data.targets, logits)
    return _mean_average_precision(data, logits)


def _mean_average_precision(data: _Data, scores: Array) -> float:
    unit = data.is_unit
    each = [
        average_precision(data.targets[unit, column], scores[unit, column], data.weights[unit, column])
        for column in range(data.targets.shape[1])
    ]
    found = [value for value in each if np.isfinite(value)]
    return float(np.mean(found)) if found else 0.0


def _temperature(data: _Data, logits: Array) -> float:
    """Divisor of logits that minimises the out-of-fold log loss (Guo et al., 2017).

    Cells whose label the fold's training never saw do not count.
    """
    seen = np.isfinite(logits)
    finite = np.where(seen, logits, 0.0)
    weights = _balanced(data.kind, data.targets, data.weights) * seen
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


def _probabilities(kind: ControlKind, logits: Array) -> Array:
    if kind != "single":
        return np.asarray(expit(logits))
    any_seen = np.isfinite(logits).any(axis=1, keepdims=True)
    return np.asarray(softmax(np.where(any_seen, logits, 0.0), axis=1))


def _thresholds(data: _Data, probabilities: Array) -> Array:
    """For each label the probability with the best out-of-fold F1, where enough recordings tell."""
    thresholds = np.full(probabilities.shape[1], DEFAULT_THRESHOLD)
    for column in range(len(thresholds)):
        known = data.is_unit & (data.weights[:, column] > 0)
        truth = data.targets[:, column]
        recordings = [len(np.unique(data.groups[known & side])) for side in (truth, ~truth)]
        if min(recordings) >= MIN_GROUPS_FOR_THRESHOLD:
            best, _ = best_f1(truth[known], probabilities[known, column], data.weights[known, column])
            thresholds[column] = np.clip(best, *THRESHOLD_RANGE)
    return thresholds


def _metrics(data: _Data, probabilities: Array, thresholds: Array) -> dict[str, float]:
    unit = data.is_unit
    truth, found = data.targets[unit], probabilities[unit]
    metrics = {"lwlrap": lwlrap(truth, found), "map": _mean_average_precision(data, probabilities)}
    if data.exclusive:
        metrics["accuracy"] = float(truth[np.arange(len(truth)), found.argmax(axis=1)].mean())
    else:
        weights = data.weights[unit]
        taken = found >= thresholds
        hits = (weights * (truth & taken)).sum(axis=0)
        sums = (weights * truth).sum(axis=0) + (weights * taken).sum(axis=0)
        metrics["f1"] = float(np.mean(2 * hits / np.where(sums > 0, sums, 1.0)))
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
