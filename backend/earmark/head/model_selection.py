"""Model selection: fit a control with each learner, and take the one that ranks held-out recordings best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earmark.head.calibration import OUTLIER_RATES, Calibration, calibrate, left_out_bias
from earmark.head.evaluation import Data, balanced, ranking_score
from earmark.head.kernel_selection import is_clearly_better, is_worth_trying, landmarks_among
from earmark.head.lda import Discriminant
from earmark.head.logistic import CLEARLY_BETTER, PRIOR_STRENGTHS, Logistic
from earmark.head.prior import Prior
from earmark.head.rbf_features import Landmarks
from earmark.head.solver import Array, Basis, Linear

MIN_RECORDINGS = 2
MAX_LOGISTIC_CELLS = 40_000
"""With more rows times labels and no prior, the discriminant alone is fitted, in seconds: it uses all
dimensions, where the logistic regression has a basis of 256."""


@dataclass(frozen=True)
class ModelChoice:
    """A learner with its hyperparameters.

    ``fit(fold, rows, columns)``: raw logits of some labels from some rows, which are all rows or all but
    those of a fold, on top of ``prior``. ``logits``: the same out of fold, ``[n, C]``. ``landmarks``: of
    whose features the fits are, instead of the embeddings themselves.
    """

    name: str
    prior: Prior
    fit: Callable[[int | None, NDArray[np.bool_], NDArray[np.bool_]], tuple[Basis, Linear]]
    logits: Array | None
    calibration: Calibration
    prior_strength: float | None = None
    noise: float = 0.0
    landmarks: Landmarks | None = None


def select_model(
    data: Data,
    embeddings: NDArray[np.float32],
    prior: Prior,
    labels: tuple[str, ...],
    allow_dropping_prior: bool,
    measured: bool,
) -> ModelChoice:
    """Fit with every learner that suits the data, and return the best.

    Parameters
    ----------
    labels
        Of the C columns.
    allow_dropping_prior
        Every label has an example, so that the prior can be done without.
    measured
        There are recordings enough to measure; otherwise the usual logistic regression is taken.
    """
    anchored = bool(data.anchored.any())
    choices = []
    discriminated = measured and allow_dropping_prior and not anchored and _repeated(data)
    if discriminated:
        choices.append(_discriminant(data, embeddings, prior))
    if not choices or data.targets.size <= MAX_LOGISTIC_CELLS:
        choices.append(_logistic(data, embeddings, prior, labels, allow_dropping_prior, measured))
    best = choices[0]
    for choice in choices[1:]:
        if _score(data, choice) > _score(data, best) + CLEARLY_BETTER:
            best = choice
    if discriminated and is_worth_trying(data, prior, _score(data, best)):
        best = _curved(data, embeddings, prior, best)
    return best


def _repeated(data: Data) -> bool:
    """Whether most labels have recordings enough to leave one out."""
    carried = data.targets & (data.weights > 0)
    recordings = [len(np.unique(data.groups[column])) for column in carried.T]
    return float(np.median(recordings)) >= MIN_RECORDINGS


def _score(data: Data, choice: ModelChoice) -> float:
    if choice.logits is None:
        return 0.0
    return ranking_score(data, choice.calibration(choice.logits), np.ones(data.targets.shape[1], dtype=bool))


def _curved(data: Data, embeddings: NDArray[np.float32], prior: Prior, straight: ModelChoice) -> ModelChoice:
    """A discriminant on nearness to landmarks where that is clearly better, else what there is."""
    landmarks = landmarks_among(embeddings, data.weights.max(axis=1))
    choice = _discriminant(data, landmarks.features(embeddings), prior)
    assert choice.logits is not None
    assert straight.logits is not None  # there are recordings enough to measure
    if is_clearly_better(data, choice.calibration(choice.logits), straight.calibration(straight.logits)):
        return replace(choice, name="discriminant on landmarks", landmarks=landmarks)
    return straight


def _logistic(
    data: Data,
    embeddings: NDArray[np.float32],
    prior: Prior,
    labels: tuple[str, ...],
    allow_dropping_prior: bool,
    measured: bool,
) -> ModelChoice:
    found = Logistic.chosen(data, embeddings, measured, allow_dropping_prior)
    data = found.data
    anchored = data.anchored
    if measured and allow_dropping_prior:
        prior = prior.without(tuple(np.array(labels)[~anchored].tolist()))
    bias: Array = np.zeros(len(anchored))
    calibration = Calibration(1.0, bias)
    if found.logits is not None:
        if not anchored.any():
            bias = left_out_bias(data, balanced(data.kind, data.targets, data.weights))
        calibration = calibrate(data, found.logits, bias, outlier_rates=OUTLIER_RATES)
    return ModelChoice(
        "logistic regression",
        prior,
        lambda fold, rows, columns: (found.basis, found.fit(rows, columns)),
        found.logits,
        calibration,
        PRIOR_STRENGTHS[found.steps[anchored][0]] if anchored.any() else None,
    )


def _discriminant(data: Data, embeddings: NDArray[np.float32], prior: Prior) -> ModelChoice:
    found = Discriminant.chosen(data, embeddings)

    def fit(fold: int | None, rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> tuple[Basis, Linear]:
        linear = found.fit(fold)
        return found.basis, Linear(linear.weights[:, columns], linear.bias[columns])

    calibration = calibrate(data, found.logits, left_out_bias(data, None), found.noise, OUTLIER_RATES)
    return ModelChoice("discriminant", prior, fit, found.logits, calibration, None, found.noise)
