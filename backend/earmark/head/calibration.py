"""Probability calibration (temperature and bias), and estimation of label noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln

from earmark.head.evaluation import Data
from earmark.head.solver import Array

TEMPERATURES = (0.5, 20.0)
"""Softening is free, sharpening is not: a few easy clips must not make every answer look certain."""
TEMPERATURE_GRID = np.geomspace(*TEMPERATURES, 64)
OUTLIER_RATES = (0.0, 0.02, 0.05)
"""Shares of clips that sound like, or are annotated as, another class: a few of them among confident
predictions must not lower the confidence of all others, as they would under a temperature alone."""
BIAS_PRIOR_STRENGTH = 1.0
"""How strongly a label's bias is held at its start, in recordings: a handful of them cannot move it far."""
MAX_ROWS = 2000
"""Rows that are fitted on, evenly spread: a bias and a temperature need no more."""
EQUALLY_LIKELY = 1e-6
"""Log likelihoods that differ by less are equal but for rounding."""
CELLS_AT_ONCE = 1_000_000
"""Probabilities at several temperatures that are held at once: 8 MB."""
CONCENTRATIONS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
"""Recordings of each class that a prior stands for, from "anything goes" to "all equally common"."""
NOISE_SHARES = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
"""Fewer wrong labels than the second do little harm, and cannot be told from outliers."""
RIGHT_ANNOTATIONS = 20.0
"""Prior strength of a label's share of right annotations, in annotations; the prior mean is the share of all
labels. This value measured best on 2 to 12 recordings a label, and cost nothing on 16."""
NOISE_EVIDENCE = 5.0
"""Log likelihood that label noise must gain before anything is relabelled; chance gains less."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of logits: ``logits / temperature + bias``, bias ``[C]``."""

    temperature: float
    bias: Array

    def __call__(self, logits: Array) -> Array:
        """Calibrate raw logits ``[n, C]``."""
        return np.asarray(logits / self.temperature + self.bias)


def calibrate(
    data: Data, logits: Array, bias: Array, noise: float = 0.0, outlier_rates: Sequence[float] = (0.0,)
) -> Calibration:
    """Fit a calibration to out-of-fold logits ``[n, C]`` (Guo et al., 2017; Platt, 1999).

    A single choice gets a temperature. Other labels also get a bias each, held near the given one by
    `BIAS_PRIOR_STRENGTH`. Cells whose label is not in the fold's training data do not count.

    Parameters
    ----------
    bias
        ``[C]``: what the learner leaves out on purpose, such as how common each label is.
    noise
        Share of wrong labels in a single choice.
    outlier_rates
        Candidate shares of outliers on top of ``noise``, of which the likeliest is taken.
    """
    if len(logits) > MAX_ROWS:
        rows = np.linspace(0, len(logits) - 1, MAX_ROWS).astype(int)
        data, logits = data.of(rows), logits[rows]
    bounds = (float(np.log(TEMPERATURES[0])), float(np.log(TEMPERATURES[1])))
    if data.exclusive:
        shares = [noise + rate * (1 - noise) for rate in outlier_rates]
        likelihoods = _likelihoods(data, logits, bias, shares).max(axis=1)
        if not likelihoods.any():  # every label has one recording: no held-out label was ever fitted
            return Calibration(1.0, bias)
        # Among equals the softest: where every prediction is right or wrong for certain, none is likelier
        softest = np.flatnonzero(likelihoods >= likelihoods.max() - EQUALLY_LIKELY)[-1]
        return Calibration(float(TEMPERATURE_GRID[softest]), bias)
    seen = np.isfinite(logits)
    finite = np.where(seen, logits, 0.0)
    weights = data.weights * seen * recordings_per_weight(data)
    truth = data.targets.astype(np.float64)

    def loss(parameters: Array) -> tuple[float, Array]:
        slope = np.exp(-parameters[0])
        moved = finite * slope + bias + parameters[1:]
        residual = weights * (expit(moved) - truth)
        value = (weights * (np.logaddexp(0, moved) - truth * moved)).sum()
        value += BIAS_PRIOR_STRENGTH / 2 * np.square(parameters[1:]).sum()
        gradient = np.append(
            -(residual * finite).sum() * slope, residual.sum(axis=0) + BIAS_PRIOR_STRENGTH * parameters[1:]
        )
        return float(value), gradient

    limits = [bounds] + [(None, None)] * len(bias)
    start = np.zeros(1 + len(bias))
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x
    return Calibration(float(np.exp(fitted[0])), bias + fitted[1:])


def recordings_per_weight(data: Data) -> float:
    """Factor that makes the weights of an average recording sum to 1."""
    total = data.weights.max(axis=1).sum()
    return float(len(np.unique(data.groups)) / total) if total else 0.0


def log_likelihood(data: Data, logits: Array, calibration: Calibration, noise: float) -> float:
    """Log likelihood of the annotations, in recordings.

    ``noise``: share of labels of a single choice that were replaced by any other one.
    """
    if not data.exclusive:
        seen = np.isfinite(logits)
        moved = calibration(np.where(seen, logits, 0.0))
        cells = np.where(data.targets, moved, 0.0) - np.logaddexp(0, moved)
        return float((data.weights * seen * cells).sum() * recordings_per_weight(data))
    moved = calibration(logits)
    own, weights = _own_probabilities(data, moved)
    others = max(1, data.targets.shape[1] - 1)
    return float((weights * np.log((1 - noise) * own + noise * (1 - own) / others + 1e-12)).sum())


def _likelihoods(data: Data, logits: Array, bias: Array, shares: Sequence[float]) -> Array:
    """`log_likelihood` at every temperature of the grid and every share: ``[len(grid), len(shares)]``."""
    wrong = np.array(shares)[:, None, None]
    others = max(1, data.targets.shape[1] - 1)
    at_once = max(1, CELLS_AT_ONCE // max(1, logits.size))
    batches = []
    for first in range(0, len(TEMPERATURE_GRID), at_once):
        temperatures = TEMPERATURE_GRID[first : first + at_once, None, None]
        own, weights = _own_probabilities(data, logits / temperatures + bias)
        batches.append(np.log((1 - wrong) * own + wrong * (1 - own) / others + 1e-12) @ weights)
    return np.asarray(np.concatenate(batches, axis=1).T)


def _own_probabilities(data: Data, moved: Array) -> tuple[Array, Array]:
    """Probability of each row's own label, ``[..., n]`` of ``[..., n, C]``, and the rows' weights ``[n]``.

    Rows whose own label is not in the training data (``-inf``) do not count. A label that is, and is so
    unlikely that its probability underflows to 0, does.
    """
    finite = np.isfinite(moved.reshape(-1, *data.targets.shape)[0])
    seen = (finite & data.targets).any(axis=1)
    highest = moved.max(axis=-1, keepdims=True)
    odds = np.exp(moved - np.where(np.isfinite(highest), highest, 0.0))
    own = np.where(data.targets, odds, 0.0).sum(axis=-1)
    weights = (data.weights * data.targets).sum(axis=1) * seen * recordings_per_weight(data)
    return np.where(seen, own, 0.0) / np.where(seen, odds.sum(axis=-1), 1.0), weights


def noise_share(data: Data, logits: Array, bias: Array) -> float:
    """Share of wrong labels in a single choice that explains out-of-fold logits best.

    0 unless the evidence is clear (`NOISE_EVIDENCE`). Confident predictions that the annotation contradicts
    are evidence of noise; on a clean but hard task, wrong predictions are not confident.
    """
    if len(logits) > MAX_ROWS:
        rows = np.linspace(0, len(logits) - 1, MAX_ROWS).astype(int)
        data, logits = data.of(rows), logits[rows]
    likelihoods = _likelihoods(data, logits, bias, NOISE_SHARES).max(axis=0)
    best = int(likelihoods.argmax())
    return NOISE_SHARES[best] if likelihoods[best] > likelihoods[0] + NOISE_EVIDENCE else 0.0


def refined(data: Data, logits: Array, bias: Array, noise: float) -> Array:
    """Soft targets ``[n, C]`` of a single choice with label noise: the probability of each intended label.

    Bayes' rule over a row's out-of-fold prediction and the share of wrong annotations. A fit of few
    recordings is overconfident, and would relabel all annotations of one label as another, after which the
    first one has no example left. So a label gets some of its annotations back where fewer than
    ``1 - noise`` of them stay: the share of right ones is the mean of a beta distribution, with that prior
    mean and `RIGHT_ANNOTATIONS` as its strength, and never 0.
    """
    predicted = data.type.probabilities(calibrate(data, logits, bias, noise)(logits))
    likelihood = np.where(data.targets, 1 - noise, noise / max(1, data.targets.shape[1] - 1))
    posterior = predicted * likelihood
    posterior = posterior / posterior.sum(axis=1, keepdims=True)
    carried = data.weights * data.targets * recordings_per_weight(data)
    sums = carried.sum(axis=0)
    staying = (carried * posterior).sum(axis=0) / np.where(sums > 0, sums, 1.0)
    lacking = np.where(sums > 0, np.maximum(0.0, 1 - noise - staying), 0.0)
    lacking *= RIGHT_ANNOTATIONS / (sums + RIGHT_ANNOTATIONS)
    given_back = data.targets @ (lacking / np.where(lacking > 0, 1 - staying, 1.0))
    return np.asarray(posterior + given_back[:, None] * (data.targets - posterior))


def frequencies(counts: Array) -> Array:
    """Class frequencies estimated from ``counts`` ``[C]``: shares that sum to 1, none of them 0.

    Posterior means under a symmetric Dirichlet prior, whose strength is the likeliest of
    `CONCENTRATIONS` (Minka, Estimating a Dirichlet distribution, 2000): counts that differ by no more
    than chance leave all classes equally likely, and counts that differ by more are followed.
    """
    prior = np.array(CONCENTRATIONS)[:, None]
    total, classes = counts.sum(), len(counts)
    evidence = gammaln(classes * prior[:, 0]) - gammaln(classes * prior[:, 0] + total)
    evidence = evidence + (gammaln(prior + counts) - gammaln(prior)).sum(axis=1)
    added = counts + CONCENTRATIONS[int(evidence.argmax())]
    return np.asarray(added / added.sum())


def left_out_bias(data: Data, balanced_weights: NDArray[np.float64] | None) -> Array:
    """Bias ``[C]`` that undoes the class balance of a fit.

    ``balanced_weights``: those of the fit, ``[n, C]``; None where it used none (log odds).
    """
    if data.exclusive:
        sums = (data.weights * data.targets).sum(axis=0) * recordings_per_weight(data)
        share = np.log(frequencies(sums))
        return np.asarray(share - share.mean())
    if balanced_weights is None:
        return np.zeros(data.targets.shape[1])
    positive = (data.weights * data.targets).sum(axis=0)
    heavier = (balanced_weights * data.targets).sum(axis=0)
    return np.asarray(-np.log(np.where(positive > 0, heavier / np.where(positive > 0, positive, 1.0), 1.0)))
