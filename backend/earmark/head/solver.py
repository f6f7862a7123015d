"""Convex logistic regression for all classes at once, in a small orthogonal basis of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.float64]
Coordinates = NDArray[np.floating[Any]]

BASIS_ROWS = 1024
"""The basis is computed from at most this many rows, evenly spread."""
MAX_RANK = 256
SMALLEST_VARIANCE_SHARE = 1e-9
WHITENING = 0.4
"""Power to which directions are divided by their deviation: 0 leaves them, 1 makes all equal.

Linear probes gain from some whitening where few loud directions hold little about the labels.
"""
SMALLEST_SCALE_SHARE = 0.1
"""Share of the median deviation that is added to each: a feature that hardly varies must not be amplified."""
ROUNDING_SHARE = 1e-6
"""Deviations up to this share of the mean are rounding of a constant: dividing by them would make a new sound
that differs there by a little look a billion times as far away as any that was learned from."""
BIAS_PENALTY = 1e-3
"""Keeps the bias finite where a label has no counterexample."""
MAX_ITERATIONS = 300


@dataclass(frozen=True)
class Basis:
    """Embeddings as coordinates: ``((x - mean) / scale) @ directions``, mean squared norm 1.

    ``mean``, ``scale``: ``[E]``; ``directions``: ``[E, r]`` with r at most the number of rows, so
    that the solver works in the span of the data (Kimeldorf and Wahba's representer theorem: the
    best weights lie in it).
    """

    mean: Array
    scale: Array
    directions: Array | None

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], weights: Array) -> Basis:
        """Standardise and decorrelate ``[n, E]`` under row weights ``[n]``, without labels."""
        rows = np.unique(np.linspace(0, len(embeddings) - 1, BASIS_ROWS).astype(int))
        share = weights[rows] / weights[rows].sum()
        sample = embeddings[rows].astype(np.float64)
        mean = share @ sample
        centred = sample - mean
        scale = np.sqrt(share @ np.square(centred))
        constant = scale <= ROUNDING_SHARE * np.abs(mean)
        centred[:, constant], scale[constant] = 0.0, 0.0
        scale += SMALLEST_SCALE_SHARE * np.median(scale)
        scale[scale == 0] = 1.0
        weighted = centred / scale * np.sqrt(share)[:, None]
        # Eigenvectors of the smaller Gram matrix: several times faster than an SVD
        wide = weighted.shape[0] < weighted.shape[1]
        gram = weighted @ weighted.T if wide else weighted.T @ weighted
        first = max(0, len(gram) - MAX_RANK)
        variances, vectors = scipy.linalg.eigh(gram, subset_by_index=(first, len(gram) - 1))
        nonzero = variances > max(SMALLEST_VARIANCE_SHARE * variances[-1], np.finfo(np.float64).tiny)
        if not nonzero.any():  # all rows are equal: only the bias can be learned
            return cls(mean, scale, np.zeros((embeddings.shape[1], 1)))
        variances, vectors = variances[nonzero], vectors[:, nonzero]
        directions = weighted.T @ vectors / np.sqrt(variances) if wide else vectors
        directions = directions * variances ** (-WHITENING / 2)
        return cls(mean, scale, directions / np.sqrt((variances ** (1 - WHITENING)).sum()))

    def coordinates(self, embeddings: NDArray[np.float32]) -> Coordinates:
        """``[n, r]`` of embeddings ``[n, E]``: float64, for many rows float32, which is twice as fast."""
        dtype = np.float64 if len(embeddings) <= BASIS_ROWS else np.float32
        standardised = embeddings - self.mean.astype(dtype)
        standardised /= self.scale.astype(dtype)
        if self.directions is None:
            return np.asarray(standardised)
        return np.asarray(standardised @ self.directions.astype(dtype))

    def slopes(self, weights: Array) -> Array:
        """Weights ``[E, C]`` on standardised embeddings, of weights ``[r, C]`` on coordinates."""
        return weights if self.directions is None else np.asarray(self.directions @ weights)


@dataclass(frozen=True)
class Linear:
    """Logits ``z @ weights + bias`` of coordinates z ``[n, r]``: weights ``[r, C]``, bias ``[C]``."""

    weights: Array
    bias: Array

    def logits(self, coordinates: Coordinates) -> Array:
        """Logits float64 ``[n, C]`` of coordinates ``[n, r]``."""
        return np.asarray(coordinates @ self.weights.astype(coordinates.dtype) + self.bias)


def solve(
    coordinates: Coordinates,
    targets: NDArray[np.bool_],
    weights: Array,
    strength: float | Array,
    exclusive: bool,
    start: Linear | None = None,
    *,
    offset: Array | None = None,
    bias_strength: float | Array = BIAS_PENALTY,
) -> Linear:
    """Minimise the weighted log loss plus ``strength / 2 * |weights|²`` by L-BFGS.

    Parameters
    ----------
    coordinates, targets
        ``[n, r]`` and ``[n, C]``.
    weights
        ``[n, C]``; each class's column is scaled to sum 1 (the whole matrix's rows, if exclusive).
    strength, bias_strength
        Of the penalties on weights and bias: one for all classes, or ``[C]``.
    exclusive
        One softmax over the classes, where a row's weight is that of its true class; else an
        independent sigmoid for each class.
    start
        Starting point; the solution is the same from any, up to the tolerance.
    offset
        Fixed logits ``[n, C]``, to which those of the result are added.
    """
    classes = targets.shape[1]
    rank = coordinates.shape[1]
    truth = targets.astype(np.float64)
    if exclusive:
        row_weights = (weights * truth).sum(axis=1, keepdims=True)
        cell_weights = row_weights / row_weights.sum()
    else:
        sums = weights.sum(axis=0)
        cell_weights = weights / np.where(sums > 0, sums, 1.0)
    true_weights = cell_weights * truth

    def loss(flat: Array) -> tuple[float, Array]:
        parameters = flat.reshape(rank + 1, classes)
        slopes, bias = parameters[:-1], parameters[-1]
        logits = coordinates @ slopes.astype(coordinates.dtype, copy=False) + bias
        if offset is not None:
            logits = logits + offset
        if exclusive:
            # By hand: scipy's logsumexp takes longer than all else in small fits, which most are.
            highest = logits.max(axis=1, keepdims=True)
            odds = np.exp(logits - highest)
            total = odds.sum(axis=1, keepdims=True)
            misfit = (true_weights * (np.log(total) + highest - logits)).sum()
            residual = cell_weights * (odds / total - truth)
        else:
            misfit = (cell_weights * np.logaddexp(0, logits) - true_weights * logits).sum()
            residual = cell_weights * (expit(logits) - truth)
        value = misfit + _penalty(slopes, strength) + _penalty(bias, bias_strength)
        gradient = np.empty_like(parameters)
        gradient[:-1] = coordinates.T @ residual.astype(coordinates.dtype, copy=False) + strength * slopes
        gradient[-1] = residual.sum(axis=0) + bias_strength * bias
        return float(value), gradient.ravel()

    initial = np.zeros((rank + 1, classes))
    if start is not None:
        initial[:-1], initial[-1] = start.weights, start.bias
    parameters = minimize(
        loss,
        initial.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITERATIONS, "ftol": 1e-8, "gtol": 1e-6, "maxcor": 20},
    ).x.reshape(rank + 1, classes)
    return Linear(parameters[:-1], parameters[-1])


def _penalty(values: Array, strength: float | Array) -> float:
    if isinstance(strength, np.ndarray):
        return float((strength / 2 * np.square(values)).sum())
    return float(strength / 2 * np.square(values).sum())
