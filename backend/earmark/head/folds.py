"""Stratified group folds for cross-validation: no recording is both fitted and measured on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def assign_folds(
    groups: NDArray[np.str_],
    targets: NDArray[np.bool_],
    folds: int,
    previous: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Fold of each recording, 0 to at most ``folds - 1``, labels spread evenly.

    Recordings with the rarest labels are assigned first, each to the fold that holds least of that
    label, then fewest recordings (iterative stratification, Sechidis et al., 2011). Deterministic,
    and independent of the order of the rows.

    Parameters
    ----------
    groups
        ``[n]``, the recording of each row.
    targets
        bool ``[n, C]``.
    previous
        Folds that recordings have already and keep; the others are assigned around them.
    """
    names, rows = np.unique(groups, return_inverse=True)
    count = min(folds, len(names))
    carries = np.zeros((len(names), targets.shape[1]), dtype=bool)
    np.logical_or.at(carries, rows, targets)
    frequency = carries.sum(axis=0)
    rarest = [
        min((int(frequency[column]), int(column)) for column in np.flatnonzero(row)) if row.any() else None
        for row in carries
    ]
    label_counts = np.zeros((count, targets.shape[1]), dtype=int)
    sizes = np.zeros(count, dtype=int)
    fold_of: dict[str, int] = {}

    def assign(index: int, fold: int) -> None:
        fold_of[str(names[index])] = fold
        label_counts[fold] += carries[index]
        sizes[fold] += 1

    previous_folds = {name: fold for name, fold in (previous or {}).items() if fold < count}
    for index, name in enumerate(names):
        if name in previous_folds:
            assign(index, previous_folds[str(name)])
    left = [index for index, name in enumerate(names) if name not in previous_folds]
    for index in sorted(left, key=lambda index: (rarest[index] or (len(names) + 1, 0), index)):
        rare = rarest[index]
        held = label_counts[:, rare[1]] if rare else np.zeros(count, dtype=int)
        assign(index, min(range(count), key=lambda fold: (held[fold], sizes[fold], fold)))
    return fold_of
