"""Classification metrics: lwlrap, average precision, ROC AUC, F1 and expected calibration error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

CALIBRATION_BINS = 10
COMPARED_AT_ONCE = 4_000_000
"""Scores that are compared in one batch."""


def lwlrap(truth: ArrayLike, scores: ArrayLike) -> float:
    """Label-weighted label-ranking average precision.

    For every true label of every row: the share of true labels among the labels that score at
    least as high, averaged over all true labels (Howard and Ellis, DCASE 2019 Task 2). Labels of
    equal score share the worst of their ranks, as in scikit-learn.

    Parameters
    ----------
    truth
        bool ``[n, C]``; rows without any true label do not count.
    scores
        float ``[n, C]``, higher is likelier; only the order within a row matters.

    Returns
    -------
    In (0, 1]; ``nan`` when no row has a label.
    """
    sums, counts = label_precisions(truth, scores)
    total = int(counts.sum())
    return float(sums.sum()) / total if total else float("nan")


def label_precisions(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Terms of `lwlrap`: each row's sum of precisions over its true labels, and their count, ``[n]``."""
    wanted = np.asarray(truth, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    rows, columns = np.nonzero(wanted)
    precisions = np.zeros(len(rows))
    batch = max(1, COMPARED_AT_ONCE // max(1, wanted.shape[1]))
    for first in range(0, len(rows), batch):
        own = slice(first, first + batch)
        above = values[rows[own]] >= values[rows[own], columns[own]][:, None]
        precisions[own] = (above & wanted[rows[own]]).sum(axis=1) / above.sum(axis=1)
    sums = np.bincount(rows, precisions, len(wanted)).astype(np.float64)
    return sums, wanted.sum(axis=1, dtype=np.intp)


def average_precision(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under one label's precision-recall steps, as scikit-learn defines it.

    Parameters
    ----------
    truth
        bool ``[n]``.
    scores
        float ``[n]``; equal scores are one step.
    weights
        float ``[n]``, 0 or more; all ones by default.

    Returns
    -------
    In [0, 1]; ``nan`` when nothing is true.
    """
    mass = np.ones(np.shape(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(average_precisions(truth, scores, mass[None])[0])


def average_precisions(
    truth: ArrayLike, scores: ArrayLike, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`average_precision` under each of several weights ``[B, n]``, with a single sort: ``[B]``."""
    wanted = np.asarray(truth, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    weighted = np.flatnonzero((weights > 0).any(axis=0))
    if not wanted[weighted].any():
        return np.full(len(weights), np.nan)
    order = weighted[np.argsort(-values[weighted], kind="stable")]
    wanted, values, mass = wanted[order], values[order], weights[:, order]
    last_of_step = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    hits = np.cumsum(mass * wanted, axis=1)[:, last_of_step]
    taken = np.cumsum(mass, axis=1)[:, last_of_step]
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    areas = (np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1)
    total = hits[:, -1]
    return np.asarray(np.divide(areas, total, out=np.full(len(weights), np.nan), where=total > 0))


def best_f1(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, float]:
    """Threshold with the best F1 for one label, and that F1.

    The threshold lies halfway between the lowest score that is taken and the next one below, so
    that neither is decided by rounding. Parameters are those of `average_precision`; without a
    true row, the answer is ``(nan, nan)``.
    """
    recall, precision, values = _steps(truth, scores, weights)
    if not recall.size:
        return float("nan"), float("nan")
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    best = int(f1.argmax())
    below = values[best + 1] if best + 1 < len(values) else values[best]
    return float((values[best] + below) / 2), float(f1[best])


def fewest_errors(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Threshold at which the fewest rows are decided wrongly; of equal ones the nearest to 1/2.

    Above the highest score, where showing any costs more than it saves. Parameters are those of
    `average_precision`; ``nan`` without a true row.
    """
    wanted, values = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=np.float64)
    mass = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (mass * wanted).any():
        return float("nan")
    order = np.argsort(-values, kind="stable")
    descending = values[order]
    errors = np.concatenate([[0.0], np.cumsum(np.where(wanted, -mass, mass)[order])])
    bounds = np.concatenate([[1.0], descending, descending[-1:]])
    thresholds = (bounds[:-1] + bounds[1:]) / 2
    possible = bounds[:-1] > bounds[1:]  # equal scores are decided alike
    possible[[0, -1]] = True
    best = possible & (errors <= errors[possible].min() + 1e-9)
    return float(min(thresholds[best].tolist(), key=lambda threshold: abs(threshold - 0.5)))


def auc(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under one label's ROC curve: how likely a true row scores above a false one, ties count half.

    Parameters are those of `average_precision`; ``nan`` without rows of both kinds.
    """
    mass = np.ones(np.shape(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(aucs(truth, scores, mass[None])[0])


def aucs(truth: ArrayLike, scores: ArrayLike, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`auc` under each of several weights ``[B, n]``, with a single sort: ``[B]``."""
    wanted = np.asarray(truth, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    if not wanted.any() or wanted.all():
        return np.full(len(weights), np.nan)
    order = np.argsort(values, kind="stable")
    wanted, values, mass = wanted[order], values[order], weights[:, order]
    first_of_step = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)
    hits = np.add.reduceat(mass * wanted, first_of_step, axis=1)
    misses = np.add.reduceat(mass * ~wanted, first_of_step, axis=1)
    below = np.cumsum(misses, axis=1) - misses
    pairs = hits.sum(axis=1) * misses.sum(axis=1)
    areas = (hits * (below + misses / 2)).sum(axis=1)
    return np.asarray(np.divide(areas, pairs, out=np.full(len(weights), np.nan), where=pairs > 0))


def f1(truth: ArrayLike, taken: ArrayLike, weights: ArrayLike | None = None) -> float:
    """F1 of bool ``[n]`` decisions; ``nan`` when nothing is true."""
    wanted, chosen = np.asarray(truth, dtype=bool), np.asarray(taken, dtype=bool)
    mass = np.ones(len(wanted)) if weights is None else np.asarray(weights, dtype=np.float64)
    true = float(mass[wanted].sum())
    if not true > 0:
        return float("nan")
    return 2 * float(mass[wanted & chosen].sum()) / (true + float(mass[chosen].sum()))


def calibration_error(truth: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Expected calibration error: mean distance between predicted and observed frequencies.

    In `CALIBRATION_BINS` bins of equal width (Guo et al., 2017). Parameters are those of
    `average_precision`, scores being probabilities; ``nan`` without rows.
    """
    wanted = np.asarray(truth, dtype=np.float64)
    predicted = np.asarray(probabilities, dtype=np.float64)
    mass = np.ones_like(predicted) if weights is None else np.asarray(weights, dtype=np.float64)
    if not mass.sum() > 0:
        return float("nan")
    distances = np.bincount(calibration_bins(predicted), mass * (wanted - predicted), CALIBRATION_BINS)
    return float(np.abs(distances).sum() / mass.sum())


def calibration_bins(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the number of each probability's bin, of `CALIBRATION_BINS` of equal width: ``[n]``."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)


def _steps(
    truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Recall, precision and score at each distinct score, from the highest score down."""
    wanted = np.asarray(truth, dtype=np.float64)
    values = np.asarray(scores, dtype=np.float64)
    mass = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    wanted, values, mass = wanted[mass > 0], values[mass > 0], mass[mass > 0]
    if not wanted.any():
        nothing = np.zeros(0)
        return nothing, nothing, nothing
    order = np.argsort(-values, kind="stable")
    wanted, values, mass = wanted[order], values[order], mass[order]
    last_of_step = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    hits = np.cumsum(wanted * mass)[last_of_step]
    taken = np.cumsum(mass)[last_of_step]
    return hits / hits[-1], hits / taken, values[last_of_step]
