"""Kernel selection: when to try a discriminant on RBF features, its landmarks, and whether it is better.

A discriminant on nearness to landmarks is a kernel discriminant (Mika et al., 1999) in the span of some
of the rows (Williams and Seeger, 2001). It needs more labels than a linear one, and has no evidence
between its landmarks, so it is taken only where it clearly measures better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from earmark.head.evaluation import Data, has_enough_recordings, ranking_score
from earmark.head.prior import Prior
from earmark.head.rbf_features import Landmarks
from earmark.head.regression_check import STANDARD_ERRORS, TOLERANCE, ranking_drop
from earmark.head.solver import Array, Basis

MIN_UNITS = 200
MIN_RECORDINGS_OF_LABEL = 20
MIN_LABELS = 2
MAX_ROWS = 20_000
"""With more rows only linear borders are fitted, to bound the time."""
RANK = 64
"""Directions in which distances are taken, those of most variance: in others they are mostly noise."""
MAX_LANDMARKS = 256
ROWS_FOR_EACH = 2
"""Least number of rows for each landmark."""
LARGEST_LOSS = 0.05
"""Largest accepted loss of one label's average precision, whatever the others gain: it may lie in directions
of little variance."""


def is_worth_trying(data: Data, prior: Prior, score: float) -> bool:
    """Whether there are enough labels for curved borders, no prior, and room for improvement.

    A prior, of these labels or of others, becomes part of the same head, and is linear.

    ``score``: of the best linear fit out of fold (`ranking_score`), at most 1. The fit is in closed
    form on `RANK` + `MAX_LANDMARKS` features, and so costs less than the linear discriminant of an encoder
    with more dimensions.
    """
    if (
        score > 1 - TOLERANCE
        or prior.head is not None
        or len(data.targets) > MAX_ROWS
        or data.is_unit.sum() < MIN_UNITS
    ):
        return False
    carried = data.targets & (data.weights > 0) & data.is_unit[:, None]
    recordings = np.array([len(np.unique(data.groups[column])) for column in carried.T])
    return bool((recordings >= MIN_RECORDINGS_OF_LABEL).sum() >= MIN_LABELS)


def choose_landmarks(embeddings: NDArray[np.float32], weights: Array) -> Landmarks:
    """Landmarks among rows ``[n, E]`` with weights ``[n]``, evenly spread over them; sees no labels.

    The median squared distance of two landmarks is the width of a radial basis function (the median
    heuristic, Gretton et al., 2012).
    """
    basis = Basis.of(embeddings, weights)
    assert basis.directions is not None  # `Basis.of` always finds some
    directions = basis.directions[:, -RANK:] / basis.scale[:, None]  # in order of variance
    count = max(2, min(MAX_LANDMARKS, len(embeddings) // ROWS_FOR_EACH))
    rows = np.linspace(0, len(embeddings) - 1, count).astype(int)
    points = (embeddings[rows] - basis.mean) @ directions
    width = float(np.sqrt(np.median(pdist(points, "sqeuclidean")))) or 1.0
    return Landmarks(
        basis.mean.astype(np.float32),
        (directions / width).astype(np.float32),
        (points / width).astype(np.float32),
    )


def is_clearly_better(data: Data, curved: Array, linear: Array) -> bool:
    """Whether out-of-fold logits ``[n, C]`` rank better by more than is put down to chance.

    By `TOLERANCE` and by `STANDARD_ERRORS`, as when versions are compared: of lwlrap, for regions of mean
    average precision. And no label with enough recordings of its own may lose more than `LARGEST_LOSS`.
    """
    every = np.ones(data.targets.shape[1], dtype=bool)
    if ranking_score(data, curved, every) <= ranking_score(data, linear, every) + TOLERANCE:
        return False  # the usual case: skip the error, which takes twenty times as long
    gain, error = ranking_drop(data, [linear, curved])
    if gain <= STANDARD_ERRORS * error:
        return False
    for column in range(len(every)):
        alone = np.arange(len(every)) == column
        lost = ranking_score(data, linear, alone) - ranking_score(data, curved, alone)
        if has_enough_recordings(data, column) and lost > LARGEST_LOSS:
            return False
    return True
