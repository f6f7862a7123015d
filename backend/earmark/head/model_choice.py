"""Model choice: a learner with its hyperparameters, out-of-fold logits and calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.head.calibration import Calibration
from earmark.head.prior import Prior
from earmark.head.rbf_features import Landmarks
from earmark.head.solver import Array, Basis, Linear


@dataclass(frozen=True)
class ModelChoice:
    """A learner with its hyperparameters.

    ``fit(fold, rows, columns)``: raw logits of some labels from some rows, which are all rows or all but
    those of a fold, on top of ``prior``. ``logits``: the same out of fold, ``[n, C]``. ``landmarks``: if set,
    the fits use their RBF features instead of the embeddings. ``prior_strength``: how strongly the fit is
    held to the prior. ``prior_share``: share of the prior's logits in it. A fit has one of the two, and none
    without a prior.
    """

    name: str
    prior: Prior
    fit: Callable[[int | None, NDArray[np.bool_], NDArray[np.bool_]], tuple[Basis, Linear]]
    logits: Array | None
    calibration: Calibration
    prior_strength: float | None = None
    prior_share: float | None = None
    noise: float = 0.0
    landmarks: Landmarks | None = None
