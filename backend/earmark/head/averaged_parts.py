"""Averaged fits: a fit on each part of the embedding, their logits averaged, beside the prior.

With few examples of each label that ranks better than one fit on all numbers side by side, in which the
part with most of them decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.encoders.base import EmbeddingPart
from earmark.head.evaluation import Data
from earmark.head.model_choice import ModelChoice
from earmark.head.prior import Prior
from earmark.head.prior_share import BesidePrior, fill_absent
from earmark.head.solver import Basis, Linear

MAX_ROWS = 400
"""With more examples than this, one fit on all numbers is as good, and takes half the time."""


def average(
    data: Data,
    prior: Prior,
    weights: Sequence[float],
    embeddings: Sequence[NDArray[np.float32]],
    choices: Sequence[ModelChoice],
) -> ModelChoice | None:
    """Average the fits of the embedding's parts, and add a share of the prior.

    None if a part was fitted without logits out of fold.

    ``weights``: of each part, with sum 1. ``embeddings``: of each part, ``[n, E]``. ``choices``: of each
    part, fitted without a prior and without landmarks.
    """
    calibrated = [choice.calibration(choice.logits) for choice in choices if choice.logits is not None]
    if len(calibrated) < len(choices):
        return None
    mean = np.asarray(np.average(calibrated, axis=0, weights=weights))
    noise = max(choice.noise for choice in choices)
    beside = BesidePrior.chosen(data, mean, np.zeros(mean.shape[1]), noise)

    def fit(fold: int | None, rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> tuple[Basis, Linear]:
        bases, slopes, biases = [], [], []
        for weight, part, choice in zip(weights, embeddings, choices, strict=True):
            basis, linear = choice.fit(fold, rows, columns)
            if beside.share is not None:
                linear = fill_absent(basis, linear, part[rows])
            temperature = choice.calibration.temperature
            bases.append(basis)
            slopes.append(weight * basis.slopes(linear.weights) / temperature)
            biases.append(weight * (linear.bias / temperature + choice.calibration.bias[columns]))
        means, scales = [basis.mean for basis in bases], [basis.scale for basis in bases]
        joint = Basis(np.concatenate(means), np.concatenate(scales), None)
        return joint, Linear(np.concatenate(slopes), np.asarray(np.sum(biases, axis=0)))

    return ModelChoice(
        beside.named("mean of parts" if len(choices) > 1 else choices[0].name),
        beside.weighted(prior),
        fit,
        beside.logits,
        beside.calibration,
        prior_share=beside.share,
        noise=noise,
    )


def spans(parts: Sequence[EmbeddingPart]) -> list[slice]:
    """Return where each part lies in the embedding."""
    ends = np.cumsum([part.width for part in parts]).tolist()
    return [slice(end - part.width, end) for part, end in zip(parts, ends, strict=True)]
