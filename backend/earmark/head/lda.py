"""Linear discriminant analysis (LDA) with cross-validated shrinkage and correction of wrong labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from earmark.head.calibration import calibrate, left_out_bias, log_likelihood, noise_share, refined
from earmark.head.evaluation import Data
from earmark.head.folds import assign_folds
from earmark.head.solver import Array, Basis, Coordinates, Linear
from earmark.head.sufficient_statistics import MAX_ROTATED, Moments, span_of, sum_of

SHRINKAGES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Variance added to every direction, of a total of 1."""
LIKELIHOOD_SCALE = 20.0
"""Nats by which a shrinkage must be more likely to count e times as much: folds of few recordings prefer one
or another by chance, and an average of several is better than either."""
SMALLEST_SHARE = 0.02
REFINEMENTS = 2
CUTS = ((400, 8), (1200, 2))
"""Pairs of a number of rows and the number of pieces that each fold is cut into up to there."""
PIECES = 1000
"""Factor that encodes fold and piece in one number; more than there are folds."""


@dataclass(frozen=True)
class Discriminant:
    """Linear discriminant analysis, averaged over the covariance shrinkages `SHRINKAGES`.

    ``logits``: out of fold ``[n, C]``. ``whole``: raw logits of a fit on everything, ``folds``: without each
    fold; ``nan`` for labels without an example. ``noise``: estimated share of wrong labels, by which the
    targets were corrected.
    """

    basis: Basis
    whole: Linear
    folds: dict[int, Linear]
    logits: Array
    noise: float

    @classmethod
    def chosen(cls, data: Data, embeddings: NDArray[np.float32]) -> Discriminant:
        """Weigh the shrinkages by out-of-fold likelihood, and correct targets that label noise made wrong.

        Annotations correct each other, so the targets of each fold's fit are corrected anew, without the
        annotations that it is measured on.
        """
        basis = span_of(embeddings, data.weights.max(axis=1))
        rows = _Rows.of(data, basis.coordinates(embeddings))
        numbers = np.unique(data.folds).tolist()
        fitted = rows.fit(refining=len(numbers) > 1)
        if not fitted.noise:
            folds = {fold: fitted.without(fold) for fold in numbers if len(numbers) > 1}
            return cls(basis, fitted.linear, folds, fitted.logits, 0.0)
        folds, logits = {}, np.full(data.targets.shape, -np.inf)
        for fold in numbers:
            folds[fold] = rows.without(fold).fit().linear
            own = data.folds == fold
            logits[own] = _nan_to_minus_infinity(folds[fold].logits(rows.coordinates[own]))
        return cls(basis, fitted.linear, folds, logits, fitted.noise)

    def fit(self, without: int | None) -> Linear:
        """The fit on everything, or without one fold."""
        return self.whole if without is None else self.folds.get(without, self.whole)


@dataclass(frozen=True)
class _RowsFit:
    """Fit of `_Rows`: their moments by piece, each shrinkage's share, and wrong labels refined away.

    ``left_out``: fits without a piece, by piece and shrinkage.
    """

    moments: dict[int, Moments]
    shares: Array
    logits: Array
    noise: float
    linear: Linear
    left_out: dict[tuple[int, float], Linear]
    exclusive: bool

    def without(self, fold: int) -> Linear:
        """A fit without one fold."""
        pieces = [piece for piece in self.moments if piece % PIECES == fold]
        if len(pieces) == 1:  # this fit was made already
            return _average_fits(lambda shrinkage: self.left_out[pieces[0], shrinkage], self.shares)
        left = sum_of([part for piece, part in self.moments.items() if piece not in pieces])
        return _average_fits(lambda shrinkage: left.discriminant(shrinkage, self.exclusive), self.shares)


@dataclass(frozen=True)
class _Rows:
    """Rows that are learned from, with the pieces that they are cut into and the moments of each."""

    data: Data
    coordinates: Coordinates
    pieces: NDArray[np.intp]
    moments: dict[int, Moments]

    @classmethod
    def of(cls, data: Data, coordinates: Coordinates) -> _Rows:
        targets = data.targets.astype(np.float64)
        if not data.exclusive:  # a label that an annotation leaves open counts as half present
            targets[data.weights <= 0] = 0.5
        pieces, weights = _pieces(data), data.weights.max(axis=1)
        moments = {
            piece: Moments.of(coordinates[own], targets[own], weights[own])
            for piece, own in ((piece, pieces == piece) for piece in np.unique(pieces).tolist())
        }
        return cls(data, coordinates, pieces, moments)

    def without(self, fold: int) -> _Rows:
        """All rows but those of one fold."""
        own = self.data.folds != fold
        moments = {piece: part for piece, part in self.moments.items() if piece % PIECES != fold}
        return _Rows(self.data.of(own), self.coordinates[own], self.pieces[own], moments)

    def fit(self, refining: bool = True) -> _RowsFit:
        """Weigh the shrinkages and, where many labels look wrong, refine them and weigh again.

        ``refining``: whether labels may be refined, which takes a second fold to measure it on.
        """
        data, moments, weights = self.data, dict(self.moments), self.data.weights.max(axis=1)
        bias = left_out_bias(data, None)
        logits, shares, left_out = self._average(moments, bias)
        noise = 0.0
        if refining and data.exclusive and len(self.pieces) <= MAX_ROTATED:
            noise = noise_share(data, logits, bias)
        for _ in range(REFINEMENTS if noise else 0):
            targets = refined(data, logits, bias, noise)
            moments = {
                piece: part.relabelled(self.coordinates[own], targets[own], weights[own])
                for piece, part, own in (
                    (piece, part, self.pieces == piece) for piece, part in moments.items()
                )
            }
            logits, shares, left_out = self._average(moments, bias)
            noise = noise_share(data, logits, bias) or noise
        whole = sum_of(list(moments.values()))
        linear = _average_fits(lambda shrinkage: whole.discriminant(shrinkage, data.exclusive), shares)
        return _RowsFit(moments, shares, logits, noise, linear, left_out, data.exclusive)

    def _average(
        self, moments: dict[int, Moments], bias: Array
    ) -> tuple[Array, Array, dict[tuple[int, float], Linear]]:
        """Out-of-fold logits ``[n, C]``, averaged over the shrinkages, each one's share, and the fits.

        With many rows the shrinkages are compared on one piece, and only the best is fitted for the others.
        """
        pieces = list(moments) if len(moments) > 1 else []
        screened = pieces[:1] if len(self.pieces) > MAX_ROTATED else pieces
        total = sum_of(list(moments.values()))
        logits = np.full((len(SHRINKAGES), *self.data.targets.shape), -np.inf)
        left_out: dict[tuple[int, float], Linear] = {}

        def leave_out(held_out: list[int], index: int) -> None:
            for piece in held_out:
                piece_rows, shrinkage = self.pieces == piece, SHRINKAGES[index]
                linear = total.without(moments[piece]).discriminant(shrinkage, self.data.exclusive)
                logits[index, piece_rows] = _nan_to_minus_infinity(
                    linear.logits(self.coordinates[piece_rows])
                )
                left_out[piece, shrinkage] = linear

        def evaluate(index: int) -> tuple[float, float]:
            leave_out(screened, index)
            return self._likelihood(logits[index], bias, screened)

        if screened == pieces:
            evaluations = dict(enumerate(map(evaluate, range(len(SHRINKAGES)))))
        else:
            evaluations = _hill_climb(evaluate, len(SHRINKAGES))
        tried = np.array(sorted(evaluations))
        shares, temperatures = np.zeros(len(SHRINKAGES)), np.ones(len(SHRINKAGES))
        shares[tried] = softmax([evaluations[index][0] / LIKELIHOOD_SCALE for index in tried])
        temperatures[tried] = [evaluations[index][1] for index in tried]
        if screened != pieces:
            best = int(shares.argmax())
            shares = (np.arange(len(shares)) == best).astype(np.float64)
            leave_out(pieces[1:], best)
        shares[shares < SMALLEST_SHARE] = 0.0
        shares = shares / shares.sum() / temperatures
        used = np.flatnonzero(shares)
        return np.asarray(sum(shares[index] * logits[index] for index in used)), shares, left_out

    def _likelihood(self, logits: Array, bias: Array, pieces: list[int]) -> tuple[float, float]:
        """Log likelihood of the annotations of some pieces, and the temperature that maximises it."""
        rows = np.isin(self.pieces, pieces)
        if not rows.any():
            return 0.0, 1.0
        data, logits = self.data.of(rows), logits[rows]
        noise = noise_share(data, logits, bias) if data.exclusive else 0.0
        calibration = calibrate(data, logits, bias, noise)
        return log_likelihood(data, logits, calibration, noise), calibration.temperature


def _nan_to_minus_infinity(logits: Array) -> Array:
    """Replace NaN by ``-inf``: a label without an example is never ranked."""
    return np.where(np.isfinite(logits), logits, -np.inf)


def _pieces(data: Data) -> NDArray[np.intp]:
    """The piece of each row, ``[n]``: whole recordings of one fold, which is ``piece % PIECES``.

    Folds are cut further where that is cheap: what is left out is then predicted by a fit on nearly
    everything, like the served one; a fit on four fifths is more confident than that.
    """
    cuts = next((cuts for rows, cuts in CUTS if len(data.folds) <= rows), 1)
    pieces = data.folds.copy()
    for fold in np.unique(data.folds):
        rows = data.folds == fold
        assigned = assign_folds(data.groups[rows], data.targets[rows], cuts)
        pieces[rows] += PIECES * np.array([assigned[str(group)] for group in data.groups[rows]])
    return pieces


def _hill_climb(evaluate: Callable[[int], tuple[float, float]], count: int) -> dict[int, tuple[float, float]]:
    """Hill climbing: evaluations of the middle one of ``count`` and of its neighbours, until they get worse.

    The likelihood of the rows left out rises with the shrinkage up to one point, and then falls.
    """
    best = count // 2
    evaluations = {best: evaluate(best)}
    for step in (-1, 1):
        following = best + step
        while 0 <= following < count and following not in evaluations:
            evaluations[following] = evaluate(following)
            if evaluations[following][0] <= evaluations[best][0]:
                break
            best, following = following, following + step
    return evaluations


def _average_fits(fit: Callable[[float], Linear], shares: Array) -> Linear:
    """Weighted average of fits at several of `SHRINKAGES`."""
    linear = [
        (share, fit(shrinkage)) for share, shrinkage in zip(shares, SHRINKAGES, strict=True) if share > 0
    ]
    return Linear(
        np.asarray(sum(share * fitted.weights for share, fitted in linear)),
        np.asarray(sum(share * fitted.bias for share, fitted in linear)),
    )
