"""Prior share: how much of the prior's logits is added to those of a fit without it, a product of experts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from earmark.head.calibration import OUTLIER_RATES, Calibration, calibrate, log_likelihood
from earmark.head.evaluation import Data
from earmark.head.prior import Prior
from earmark.head.solver import Array, Basis, Linear

PRIOR_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Candidates, of which a weighted mean is taken; the first drops the prior."""
LIKELIHOOD_SCALE = 3.0
"""Nats by which a candidate must be more likely to count e times as much: recordings are few, and the
likeliest of several candidates is so partly by chance."""
SMALLEST_SHARE = 0.01
"""Below it, the prior is dropped."""


@dataclass(frozen=True)
class BesidePrior:
    """A fit combined with a share of the prior's logits, which out-of-fold likelihood chooses.

    ``share``: None without a prior. ``logits``: out of fold ``[n, C]``, the prior's included.
    """

    share: float | None
    logits: Array
    calibration: Calibration

    @classmethod
    def chosen(cls, data: Data, logits: Array, bias: Array, noise: float) -> BesidePrior:
        """Choose the share for out-of-fold logits ``[n, C]`` of a fit without the prior.

        ``bias``, ``noise``: see `calibrate`.
        """
        if data.offset is None:
            return cls(None, logits, calibrate(data, logits, bias, noise, OUTLIER_RATES))
        own, offset = _without_gaps(data, logits), data.offset

        def calibrated(share: float) -> tuple[Array, Calibration]:
            moved = np.asarray(own + share * offset)
            return moved, calibrate(data, moved, bias, noise, OUTLIER_RATES)

        likelihoods = np.array([log_likelihood(data, *calibrated(share), noise) for share in PRIOR_SHARES])
        share = float(softmax(likelihoods / LIKELIHOOD_SCALE) @ PRIOR_SHARES)
        if share < SMALLEST_SHARE:
            share = 0.0
        return cls(share, *calibrated(share))

    def weighted(self, prior: Prior) -> Prior:
        """The prior with this share, which counts for the fitted labels alone."""
        return prior if self.share is None else replace(prior, share=self.share)

    def named(self, learner: str) -> str:
        """Name of a learner beside the prior."""
        return f"{learner} with prior" if self.share else learner


def fill_absent(basis: Basis, linear: Linear, embeddings: NDArray[np.float32]) -> Linear:
    """Give labels that a fit lacks the logit of an equal mixture of the others, the mean over its rows.

    The prior's evidence alone then counts for these.
    """
    absent = ~np.isfinite(linear.bias)
    if not absent.any() or absent.all():
        return linear
    shown = Linear(linear.weights[:, ~absent], linear.bias[~absent]).logits(basis.coordinates(embeddings))
    return Linear(
        np.where(absent, 0.0, linear.weights), np.where(absent, _mixture(shown).mean(), linear.bias)
    )


def _without_gaps(data: Data, logits: Array) -> Array:
    """Replace the logits of labels that a fold's fit lacks, as `fill_absent` does."""
    filling = _mixture(logits) if data.exclusive else np.zeros(len(logits))
    return np.where(np.isfinite(logits), logits, filling[:, None])


def _mixture(logits: Array) -> Array:
    """Logit of an equal mixture of the labels that have one, ``[n]`` of ``[n, C]``; 0 where none has."""
    finite = np.isfinite(logits)
    count = finite.sum(axis=1)
    highest = np.where(finite, logits, -np.inf).max(axis=1, initial=-np.inf)
    total = logsumexp(np.where(finite, logits, -np.inf), axis=1, keepdims=False)
    return np.where(np.isfinite(highest), total - np.log(np.maximum(count, 1)), 0.0)
