"""Linear discriminants from sums over rows: class means under one shared, shrunken covariance.

A few dozen clips tell where the classes lie and how sounds vary within them, which a logistic
regression learns only from what lies near the border. Shrinkage is towards equal variance in every
direction (Ledoit and Wolf, 2004). The discriminant of several independent labels takes the other labels
as noise, which is regularised least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from earmark.head.solver import ROUNDING_SHARE, Array, Basis, Coordinates, Linear

MAX_ROTATED = 1024
"""Up to so many rows the span of the rows is smaller than the space, and quicker to work in."""
SMALLEST_SCALE_SHARE = 0.01
"""Of the median deviation, at least: what varies less is rounding, and must not be blown up."""
ROUNDING = 1e-9
TINY = float(np.finfo(np.float64).tiny)


def span_of(embeddings: NDArray[np.float32], weights: Array) -> Basis:
    """All directions of embeddings ``[n, E]``, for a total variance of 1 under row weights ``[n]``."""
    share = (weights / weights.sum()).astype(np.float32)
    mean: Array = (share @ embeddings).astype(np.float64)
    centre = mean.astype(np.float32)
    variance: Array = np.zeros(embeddings.shape[1])
    for first in range(0, len(embeddings), MAX_ROTATED):  # a second copy of all rows takes longer to get
        own = slice(first, first + MAX_ROTATED)
        variance += share[own] @ np.square(embeddings[own] - centre)
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
    kept = variances > 1e-9 * max(float(variances[-1]), TINY)
    if not kept.any():
        return Basis(mean, scale, np.zeros((embeddings.shape[1], 1)))
    directions = rows.T @ vectors[:, kept] / np.sqrt(variances[kept])
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
        """Of rows ``[n, r]`` with targets ``[n, C]`` in [0, 1] and weights ``[n]``."""
        own = weights.astype(coordinates.dtype)
        scaled = coordinates * np.sqrt(own)[:, None]
        return cls(
            float(weights.sum()),
            weights @ targets,
            (own @ coordinates).astype(np.float64),
            _cross(coordinates, targets, weights),
            scaled.T @ scaled,  # of one array with itself, which costs half of any other product
        )

    def relabelled(self, coordinates: Coordinates, targets: Array, weights: Array) -> Moments:
        """The same rows with other targets; the costly part is kept."""
        cross = _cross(coordinates, targets, weights)
        return Moments(self.rows, weights @ targets, self.first, cross, self.second)

    def without(self, part: Moments) -> Moments:
        """Of all these rows but a part of them."""
        # What is left of a label that only the part carries is rounding, and must be nothing
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
        """Logits of each label, before calibration: for an exclusive choice without class frequencies.

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
        take_off = scipy.linalg.get_blas_funcs("ger", (spread,))
        take_off(-1.0, mean, mean, a=spread.T, overwrite_a=True)
        weights = _solve(spread, difference.T, shrinkage)
        # From the total covariance to what is left of it without the label's own part (Sherman-Morrison)
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
    """Shrunken covariance's inverse times columns; columns that are not finite stay so.

    ``covariance`` is overwritten: copies of a large one take as long as its factors.
    """
    known = np.isfinite(columns).all(axis=0)
    # Single precision does for condition numbers of 1 / shrinkage, and is twice as fast
    dtype = np.float32 if len(covariance) > MAX_ROTATED else np.float64
    shrunk: Coordinates = np.ascontiguousarray(covariance, dtype=dtype)
    np.fill_diagonal(shrunk, shrunk.diagonal() + shrinkage)
    found = np.full(columns.shape, np.nan)
    # It is its own transpose, which LAPACK takes without copying
    factor = scipy.linalg.cho_factor(shrunk.T, lower=True, overwrite_a=True, check_finite=False)
    found[:, known] = scipy.linalg.cho_solve(factor, columns[:, known].astype(dtype), check_finite=False)
    return found


def sum_of(moments: Sequence[Moments]) -> Moments:
    """Of the rows of all of them, at least one."""
    return Moments(
        sum(part.rows for part in moments),
        np.asarray(sum(part.labels for part in moments)),
        np.asarray(sum(part.first for part in moments)),
        np.asarray(sum(part.cross for part in moments)),
        np.asarray(sum(part.second for part in moments)),
    )
