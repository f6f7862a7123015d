"""Sufficient statistics of linear discriminant analysis: class means and one shared covariance, shrunken.

A few dozen clips suffice to estimate class means and the covariance within classes; a logistic regression
learns only from clips near the decision boundary. Shrinkage is towards equal variance in every direction
(Ledoit and Wolf, 2004). The discriminant of several independent labels takes the other labels as noise,
which is regularised least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from earmark.head.solver import ROUNDING_SHARE, Array, Basis, Coordinates, Linear

MAX_ROTATED = 1024
"""Up to this many rows, their span is smaller than the embedding space, and faster to work in."""
SMALLEST_SCALE_SHARE = 0.01
"""Least scale of a feature, of the median deviation: less is rounding, and must not be amplified."""
ROUNDING = 1e-9
TINY = float(np.finfo(np.float64).tiny)


def span_of(embeddings: NDArray[np.float32], weights: Array) -> Basis:
    """Basis of all directions of embeddings ``[n, E]``, of total variance 1 under row weights ``[n]``."""
    share = (weights / weights.sum()).astype(np.float32)
    mean: Array = (share @ embeddings).astype(np.float64)
    centre = mean.astype(np.float32)
    variance: Array = np.zeros(embeddings.shape[1])
    for first in range(0, len(embeddings), MAX_ROTATED):  # copying all rows at once is slower
        batch = slice(first, first + MAX_ROTATED)
        variance += share[batch] @ np.square(embeddings[batch] - centre)
    constant = np.sqrt(variance) <= ROUNDING_SHARE * np.abs(mean)
    variance[constant] = 0.0
    scale: Array = np.sqrt(variance)
    scale = np.asarray(np.maximum(scale, SMALLEST_SCALE_SHARE * np.median(scale)), dtype=np.float64)
    scale[scale == 0] = 1.0
    total = float((variance / np.square(scale)).sum()) or 1.0
    if len(embeddings) > min(MAX_ROTATED, embeddings.shape[1]):
        return Basis(mean, scale * np.sqrt(total), None)
    rows = np.where(constant, 0.0, (embeddings - centre) / scale)
    variances, vectors = scipy.linalg.eigh(rows @ rows.T)
    nonzero = variances > 1e-9 * max(float(variances[-1]), TINY)
    if not nonzero.any():
        return Basis(mean, scale, np.zeros((embeddings.shape[1], 1)))
    directions = rows.T @ vectors[:, nonzero] / np.sqrt(variances[nonzero])
    return Basis(mean, scale, directions / np.sqrt(total))


@dataclass(frozen=True)
class Moments:
    """Sums over the rows of one fold or of several, from which discriminants are fitted.

    ``rows``: sum of weights; ``labels`` ``[C]``, ``first`` ``[r]``, ``cross`` ``[C, r]`` and
    ``second`` ``[r, r]``: weighted sums of targets, coordinates, and their products; the last in the
    coordinates' own precision, as it is by far the largest.
    """

    rows: float
    labels: Array
    first: Array
    cross: Array
    second: Coordinates

    @classmethod
    def of(cls, coordinates: Coordinates, targets: Array, weights: Array) -> Moments:
        """Sums over rows ``[n, r]`` with targets ``[n, C]`` in [0, 1] and weights ``[n]``."""
        own = weights.astype(coordinates.dtype)
        scaled = coordinates * np.sqrt(own)[:, None]
        return cls(
            float(weights.sum()),
            weights @ targets,
            (own @ coordinates).astype(np.float64),
            _cross(coordinates, targets, weights),
            scaled.T @ scaled,  # one array with itself: half the cost of any other product
        )

    def relabelled(self, coordinates: Coordinates, targets: Array, weights: Array) -> Moments:
        """The same rows with other targets; the costly part is kept."""
        cross = _cross(coordinates, targets, weights)
        return Moments(self.rows, weights @ targets, self.first, cross, self.second)

    def without(self, part: Moments) -> Moments:
        """Sums without a subset of these rows, by subtraction."""
        # The difference of a label that only the subset carries is rounding error, and must be 0
        labels = self.labels - part.labels
        labels[labels < ROUNDING * self.labels] = 0.0
        return Moments(
            self.rows - part.rows,
            labels,
            self.first - part.first,
            np.where(labels[:, None] > 0, self.cross - part.cross, 0.0),
            self.second - part.second,
        )

    def discriminant(self, shrinkage: float, exclusive: bool) -> Linear:
        """Linear discriminant of each label, before calibration; if ``exclusive``, without class frequencies.

        Labels without any row get ``nan``.
        """
        share = self.labels / self.rows
        with np.errstate(invalid="ignore", divide="ignore"):
            present = self.cross / self.labels[:, None]
        mean = self.first / self.rows
        spread = self.second / self.second.dtype.type(self.rows)
        if exclusive:
            seen = share > 0
            means = (present[seen] * np.sqrt(share[seen])[:, None]).astype(spread.dtype)
            spread -= means.T @ means
            weights = _solve(spread, present.T, shrinkage)
            return Linear(weights, -0.5 * np.einsum("cr,rc->c", present, weights))
        with np.errstate(invalid="ignore", divide="ignore"):
            absent = (mean - share[:, None] * present) / (1 - share)[:, None]
        absent = np.where(share[:, None] < 1, absent, 0.0)
        difference = present - absent
        rank_one_update = scipy.linalg.get_blas_funcs("ger", (spread,))
        rank_one_update(-1.0, mean, mean, a=spread.T, overwrite_a=True)
        weights = _solve(spread, difference.T, shrinkage)
        # Remove the label's own part from the total covariance (Sherman-Morrison)
        own = share * (1 - share) * np.einsum("cr,rc->c", difference, weights)
        weights = weights / np.maximum(1 - own, 1e-3)
        middle = np.einsum("cr,rc->c", (present + absent) / 2, weights)
        odds = (self.labels + 0.5) / (self.rows - self.labels + 0.5)  # finite where all or none carry it
        return Linear(weights, np.log(odds) - middle)


def _cross(coordinates: Coordinates, targets: Array, weights: Array) -> Array:
    """Weighted sums of the products of targets and coordinates: ``[C, r]``."""
    weighted = (targets * weights[:, None]).astype(coordinates.dtype)
    return np.asarray(weighted.T @ coordinates, dtype=np.float64)


def _solve(covariance: Coordinates, columns: Array, shrinkage: float) -> Array:
    """Inverse of the shrunken covariance times columns; columns with non-finite values become NaN.

    ``covariance`` is overwritten: copies of a large one take as long as its factors.
    """
    finite = np.isfinite(columns).all(axis=0)
    # Single precision suffices for condition numbers of 1 / shrinkage, and is twice as fast
    dtype = np.float32 if len(covariance) > MAX_ROTATED else np.float64
    shrunk: Coordinates = np.ascontiguousarray(covariance, dtype=dtype)
    np.fill_diagonal(shrunk, shrunk.diagonal() + shrinkage)
    solution = np.full(columns.shape, np.nan)
    # The matrix is symmetric, and LAPACK takes its transpose without copying
    factor = scipy.linalg.cho_factor(shrunk.T, lower=True, overwrite_a=True, check_finite=False)
    solution[:, finite] = scipy.linalg.cho_solve(factor, columns[:, finite].astype(dtype), check_finite=False)
    return solution


def sum_of(moments: Sequence[Moments]) -> Moments:
    """Sum of at least one `Moments`, as of all their rows together."""
    return Moments(
        sum(part.rows for part in moments),
        np.asarray(sum(part.labels for part in moments)),
        np.asarray(sum(part.first for part in moments)),
        np.asarray(sum(part.cross for part in moments)),
        np.asarray(sum(part.second for part in moments)),
    )
