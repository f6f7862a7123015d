"""Logistic regression of one control, on top of a prior where there is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.head.evaluation import Data, has_enough_recordings, ranking_score
from earmark.head.solver import BIAS_PENALTY, Array, Basis, Coordinates, Linear, solve

STRENGTHS = (1e-4, 3e-4, 3e-3)
CLEARLY_BETTER = 0.01
"""Another strength is taken only if it ranks better by this much; less is noise in a few dozen clips."""
CLEARLY_BETTER_ALONE = 0.05
"""The same for a single label, whose few recordings are weaker evidence."""
PRIOR_STRENGTHS = (0.003, 0.3, 3.0)
"""How strongly a label is held at its prior, divided by the number of recordings that carry it, so that
evidence wins in time. As many as `STRENGTHS`."""
DEFAULT_STEP = 1
"""Index into `STRENGTHS` and `PRIOR_STRENGTHS`."""
PRIOR_BIAS_SHARE = 0.1
"""Share of the prior's strength that holds the bias: projects differ more in how common a sound is than in
how it sounds, and few recordings suffice to measure that."""


@dataclass(frozen=True)
class Logistic:
    """A logistic regression with chosen regularisation.

     ``logits``: out of fold ``[n, C]``, None where not measured. ``steps`` ``[C]``: indices into `STRENGTHS`,
    and `PRIOR_STRENGTHS` for labels with a prior.
    """

    data: Data
    basis: Basis
    coordinates: Coordinates
    steps: NDArray[np.intp]
    logits: Array | None

    @classmethod
    def chosen(
        cls, data: Data, embeddings: NDArray[np.float32], measured: bool, allow_dropping_prior: bool
    ) -> Logistic:
        """Choose out of fold if that is ``measured``; drop a bad prior if ``allow_dropping_prior``."""
        basis = Basis.of(embeddings, data.weights.max(axis=1))
        coordinates = basis.coordinates(embeddings)
        if not measured:
            return cls(data, basis, coordinates, np.full(data.targets.shape[1], DEFAULT_STEP), None)
        steps, logits = _choose_steps(data, coordinates)
        if allow_dropping_prior and data.anchored.any():
            data, steps, logits = _drop_bad_priors(data, coordinates, steps, logits)
        return cls(data, basis, coordinates, steps, logits)

    def fit(self, rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> Linear:
        """Fit some labels on some rows, on top of the prior; raw logits."""
        return _solve(self.data, self.coordinates, rows, columns, self.steps)


def _choose_steps(data: Data, coordinates: Coordinates) -> tuple[NDArray[np.intp], Array]:
    """Best regularisation of each label by grouped cross-validation, and out-of-fold logits ``[n, C]``.

    Returns
    -------
    Indices into `STRENGTHS` and, for labels with a prior, `PRIOR_STRENGTHS`: one for all labels with a prior
    and one for the others, the same for both in a single choice; and the logits at these.
    """
    out_of_fold = [np.full(data.targets.shape, -np.inf) for _ in STRENGTHS]
    for fold in np.unique(data.folds):
        train, test = data.folds != fold, data.folds == fold
        seen = (data.targets[train] & (data.weights[train] > 0)).any(axis=0)
        if data.offset is not None:
            for logits in out_of_fold:  # a label that was not annotated keeps its prior
                logits[np.ix_(test, data.anchored)] = data.offset[np.ix_(test, data.anchored)]
        if not seen.any():
            continue
        included = seen | data.anchored if data.exclusive else seen
        start: Linear | None = None
        for step in reversed(range(len(STRENGTHS))):  # from smooth to sharp, each from the last
            start = _solve(data, coordinates, train, included, np.full(len(seen), step), start)
            logits = start.logits(coordinates[test])
            if data.offset is not None:
                logits += data.offset[np.ix_(test, included)]
            out_of_fold[step][np.ix_(test, included)] = logits
    every = np.ones(len(data.anchored), dtype=bool)
    parts = [every] if data.exclusive else [~data.anchored, data.anchored]
    steps: NDArray[np.intp] = np.full(len(every), DEFAULT_STEP)
    for part in parts:
        scores = [ranking_score(data, logits, part) for logits in out_of_fold]
        best = int(np.argmax(scores))
        if scores[best] > scores[DEFAULT_STEP] + CLEARLY_BETTER:
            steps[part] = best
    chosen = np.stack(out_of_fold, axis=-1)[:, np.arange(len(every)), steps]
    return steps, chosen


def _drop_bad_priors(
    data: Data, coordinates: Coordinates, steps: NDArray[np.intp], logits: Array
) -> tuple[Data, NDArray[np.intp], Array]:
    """Drop the prior of each label, or of a whole single choice, that is clearly better without.

    Parameters and returns: the data, and what `_choose_steps` returned. A prior that is wrong where
    no example lies cannot be corrected by examples; it can only be dropped.
    """
    every = np.ones_like(data.anchored)
    free = data.without_prior(every)
    free_steps, free_logits = _choose_steps(free, coordinates)

    if data.exclusive:
        gain = ranking_score(data, free_logits, every) - ranking_score(data, logits, every)
        dropped = np.full_like(data.anchored, gain > CLEARLY_BETTER)
    else:
        dropped = worse_than_alone(data, logits, free_logits)
    if dropped[data.anchored].all():
        return free, free_steps, free_logits
    return (
        data.without_prior(dropped),
        np.where(dropped, free_steps, steps),
        np.where(dropped, free_logits, logits),
    )


def worse_than_alone(data: Data, with_prior: Array, alone: Array) -> NDArray[np.bool_]:
    """Return which labels with a prior, bool ``[C]``, rank clearly better without it.

    Parameters
    ----------
    with_prior, alone
        Out-of-fold logits ``[n, C]`` of a fit with the prior, and of one without any.
    """
    worse = np.zeros_like(data.anchored)
    for column in np.flatnonzero(data.anchored):
        own = np.arange(len(worse)) == column
        gain = ranking_score(data, alone, own) - ranking_score(data, with_prior, own)
        worse[column] = has_enough_recordings(data, column) and gain > CLEARLY_BETTER_ALONE
    return worse


def _solve(
    data: Data,
    coordinates: Coordinates,
    rows: NDArray[np.bool_],
    columns: NDArray[np.bool_],
    steps: NDArray[np.intp],
    start: Linear | None = None,
) -> Linear:
    """Fit some labels on some rows, on top of the prior."""
    cells = np.ix_(rows, columns)
    targets, weights, steps = data.targets[cells], data.weights[cells], steps[columns]
    cost = data.type.balanced_weights(targets, weights)
    if data.offset is None:
        return solve(coordinates[rows], targets, cost, STRENGTHS[steps[0]], data.exclusive, start)
    recordings = [
        max(1, len(np.unique(data.groups[rows][carried]))) for carried in (targets & (weights > 0)).T
    ]
    anchored = data.anchored[columns]
    prior_strength = np.take(PRIOR_STRENGTHS, steps) / recordings
    return solve(
        coordinates[rows],
        targets,
        cost,
        np.where(anchored, prior_strength, np.take(STRENGTHS, steps)),
        data.exclusive,
        start,
        offset=data.offset[cells],
        bias_strength=np.where(
            anchored, np.maximum(BIAS_PENALTY, PRIOR_BIAS_SHARE * prior_strength), BIAS_PENALTY
        ),
    )
