"""Cutting recordings into folds, so that none is both learned from and measured on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def grouped_folds(groups: NDArray[np.str_], targets: NDArray[np.bool_], folds: int) -> NDArray[np.intp]:
    """Fold of each row, 0 to at most ``folds - 1``: whole groups, labels spread evenly.

    Groups with the rarest labels are dealt first, each to the fold that holds least of that label,
    then fewest groups (iterative stratification, Sechidis et al., 2011). Deterministic, and
    independent of the order of the rows.

    Parameters
    ----------
    groups
        ``[n]``, the group of each row.
    targets
        bool ``[n, C]``.
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
    order = sorted(range(len(names)), key=lambda index: (rarest[index] or (len(names) + 1, 0), index))
    label_counts = np.zeros((count, targets.shape[1]), dtype=int)
    sizes = np.zeros(count, dtype=int)
    fold_of = np.zeros(len(names), dtype=np.intp)
    for index in order:
        rare = rarest[index]
        held = label_counts[:, rare[1]] if rare else np.zeros(count, dtype=int)
        fold_of[index] = min(range(count), key=lambda fold: (held[fold], sizes[fold], fold))
        label_counts[fold_of[index]] += carries[index]
        sizes[fold_of[index]] += 1
    return fold_of[rows]
