"""Region choice: which candidates are shown together, so that they are expected to save most effort."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.prediction.overlap import EXCLUSIVE_FACTOR

LEAST_GAIN_SHOWN = 0.2
"""A region that is expected to save less is not shown: the best of many looks better than it is."""
OVERLAP_COST = 2.0
"""For a candidate that lies within another label's region, or covers it."""
FREE_OVERLAP = 0.1
"""Share of the shorter region that costs nothing."""


def choose_candidates(
    gains: NDArray[np.floating[Any]],
    spans: NDArray[np.float64],
    columns: NDArray[np.intp],
    factors: NDArray[np.floating[Any]] | None,
) -> list[int]:
    """Return the candidates that are worth showing, by their positions, the most valuable first.

    Greedy: a candidate that overlaps a better one of its label is left out, and one that overlaps a region of
    another label must save more by `OVERLAP_COST`, as it is mostly the same sound.

    Parameters
    ----------
    gains
        Effort that each is expected to save, ``[n]``.
    spans, columns
        In seconds ``[n, 2]``, and indices of labels ``[n]``; see `Candidates`.
    factors
        Overlap factors ``[C, C]``: labels whose regions never overlap are not shown together.
    """
    chosen: list[int] = []
    seconds: dict[int, list[int]] = {}
    for place in np.argsort(-gains, kind="stable").tolist():
        if gains[place] <= LEAST_GAIN_SHOWN:
            break
        start, end = spans[place]
        covered = range(int(start), int(end) + 1)
        near = {other for second in covered for other in seconds.get(second, ())}
        if gains[place] - _overlap_cost(place, near, spans, columns, factors) > LEAST_GAIN_SHOWN:
            chosen.append(place)
            for second in covered:
                seconds.setdefault(second, []).append(place)
    return chosen


def _overlap_cost(
    place: int,
    others: set[int],
    spans: NDArray[np.float64],
    columns: NDArray[np.intp],
    factors: NDArray[np.floating[Any]] | None,
) -> float:
    """Return the effort that overlapping ``others`` costs a candidate; infinite where it is excluded."""
    cost = 0.0
    for other in others:
        common = min(spans[place, 1], spans[other, 1]) - max(spans[place, 0], spans[other, 0])
        if common <= 0:
            continue
        if columns[other] == columns[place]:
            return np.inf
        share = common / min(spans[place, 1] - spans[place, 0], spans[other, 1] - spans[other, 0])
        if share > FREE_OVERLAP:
            if factors is not None and factors[columns[place], columns[other]] < EXCLUSIVE_FACTOR:
                return np.inf
            cost += OVERLAP_COST * share
    return cost
