"""Fitting a head to annotated clips, and measuring it on recordings that it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from backend.errors import NotEnoughAnnotationsError
from backend.head.examples import AnnotatedClip, Examples, build_examples
from backend.head.folds import grouped_folds
from backend.head.measure import (
    Data,
    balanced,
    metrics,
    probabilities,
    ranking_score,
    tells,
    temperature,
    thresholds,
)
from backend.head.model import ControlHead, Head
from backend.head.prior import Prior, fold_back
from backend.head.solver import BIAS_PENALTY, Array, Basis, Linear, solve
from backend.head.windows import Pool
from backend.labelstudio.config import Control

STRENGTHS = (1e-4, 3e-4, 3e-3)
CLEARLY_BETTER = 0.01
"""Another strength is taken only when it is better by so much; less is noise in a few dozen clips."""
CLEARLY_BETTER_ALONE = 0.05
"""The same for a single label, whose few recordings tell less."""
FOLDS = 5
MIN_GROUPS_TO_MEASURE = 5
DEFAULT_THRESHOLD = 0.5
PULLS = (0.003, 0.3, 3.0)
"""How strongly a label is held at its prior, divided by the number of recordings that carry it, so that
evidence wins in time. As many as `STRENGTHS`."""
DEFAULT_STEP = 1
"""Of `STRENGTHS` and `PULLS`."""
BIAS_PULL_SHARE = 0.1
"""The bias moves more easily: projects differ more in how common a sound is than in how it sounds, and few
recordings suffice to tell."""


@dataclass(frozen=True)
class ControlReport:
    """How one control's head was measured, on recordings left out of the fit.

    ``metrics``: ``lwlrap`` and ``map`` (mean over labels of average precision), in [0, 1]; for a
    single choice also ``accuracy``, else ``f1`` (mean over labels, at the thresholds). Empty when
    there are too few recordings. ``examples``: rows; ``groups``: recordings. ``strength``: of the
    regularisation of labels without a prior; ``pull``: one of `PULLS`, None without a prior.
    """

    metrics: dict[str, float]
    examples: int
    groups: int
    strength: float
    pull: float | None = None


@dataclass(frozen=True)
class FitReport:
    """``controls``: what was fitted; ``skipped``: for each other control a sentence that says why."""

    controls: dict[str, ControlReport] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def fit_head(
    pool: Pool,
    frame_rate: float,
    identity: str,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    prior: Head | None = None,
) -> tuple[Head, FitReport]:
    """Fit every control that has something to learn from.

    Parameters
    ----------
    pool, frame_rate, identity
        Of the encoder that the clips' frames come from.
    controls
        The project's controls; their order, and that of the clips, are the only order there is.
    prior
        A head of the same encoder that answered before there was any annotation. A fit starts there
        and is held there: with few annotations it stays near, with many it moves away. What it says
        of labels and controls without any annotation goes on.

    Raises
    ------
    NotEnoughAnnotationsError
        No control can be fitted.
    """
    heads, reports, skipped = {}, {}, {}
    for control in controls:
        before = prior.controls.get(control.name) if prior else None
        try:
            heads[control.name], reports[control.name] = fit_control(pool, frame_rate, control, clips, before)
        except NotEnoughAnnotationsError as error:
            skipped[control.name] = str(error)
            if before is not None:
                heads[control.name] = before
    if not reports:
        raise NotEnoughAnnotationsError(" ".join(skipped.values()) or "There is no control to learn.")
    return Head(identity, heads), FitReport(reports, skipped)


def fit_control(
    pool: Pool,
    frame_rate: float,
    control: Control,
    clips: Sequence[AnnotatedClip],
    prior: ControlHead | None = None,
) -> tuple[ControlHead, ControlReport]:
    """Fit and measure one control; parameters and errors are those of `fit_head`.

    Labels with neither an example nor a prior are left out of the head.
    """
    examples = build_examples(pool, frame_rate, control, clips)
    learned = _learnable(control, examples)
    if examples is None or not learned:
        raise NotEnoughAnnotationsError(_why_not(control, examples))
    # Hundreds of small products: BLAS threads that wait for busy cores made them 18 times slower,
    # and one thread gives the same bits on every machine with the same BLAS kernel
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit_examples(control, examples, learned, Prior.of(prior, control))


def _fit_examples(
    control: Control, examples: Examples, learned: tuple[str, ...], prior: Prior
) -> tuple[ControlHead, ControlReport]:
    fitted = prior.competing(learned) if control.kind == "single" else learned
    columns = [examples.labels.index(label) for label in fitted]
    targets, weights = examples.targets[:, columns], examples.weights[:, columns]
    basis = Basis.of(examples.embeddings, weights.max(axis=1))
    data = Data(
        control.kind,
        basis.coordinates(examples.embeddings),
        targets,
        weights,
        examples.groups,
        examples.is_unit,
        prior.logits(fitted, examples.embeddings),
        prior.speaks_for(fitted),
    )
    groups = len(np.unique(examples.groups))
    steps: NDArray[np.intp] = np.full(len(fitted), DEFAULT_STEP)
    softness = 1.0
    limits = prior.thresholds(fitted, DEFAULT_THRESHOLD)
    measured: dict[str, float] = {}
    if groups >= MIN_GROUPS_TO_MEASURE:
        steps, logits = _choose_steps(data)
        if data.anchored.any() and fitted == learned:
            data, steps, logits = _let_go(data, steps, logits)
            prior = prior.without(tuple(np.array(fitted)[~data.anchored].tolist()))
        softness = temperature(data, logits)
        found = probabilities(data.kind, logits / softness)
        if control.kind != "single":
            limits = thresholds(data, found, limits)
        measured = metrics(data, found, limits)
    every = np.ones(len(targets), dtype=bool)
    difference = _solve(data, every, np.ones(len(fitted), dtype=bool), steps)
    head = fold_back(prior, fitted, basis, difference, softness, limits)
    free = steps[~data.anchored] if not data.anchored.all() else steps
    return head, ControlReport(
        measured,
        len(targets),
        groups,
        STRENGTHS[free[0]],
        PULLS[steps[data.anchored][0]] if data.anchored.any() else None,
    )


def _learnable(control: Control, examples: Examples | None) -> tuple[str, ...]:
    """Labels with at least one example, in the control's order; none if that is too little."""
    if examples is None:
        return ()
    carried = np.any(examples.targets & (examples.weights > 0), axis=0)
    found = tuple(label for label, any_example in zip(examples.labels, carried, strict=True) if any_example)
    return () if control.kind == "single" and len(found) < 2 else found


def _why_not(control: Control, examples: Examples | None) -> str:
    if examples is None:
        return f"Nothing was annotated for “{control.name}” yet: annotate a few tasks and submit them."
    if control.kind == "single":
        return f"Every annotation of “{control.name}” has the same choice: annotate one of another choice."
    return f"No annotation of “{control.name}” holds any of its labels: annotate one that does."


def _choose_steps(data: Data) -> tuple[NDArray[np.intp], Array]:
    """Best regularisation of each label by grouped cross-validation, and out-of-fold logits ``[n, C]``.

    Returns
    -------
    Indices into `STRENGTHS` and, for labels with a prior, `PULLS`: one for all labels with a prior
    and one for the others, the same for both in a single choice; and the logits at these.
    """
    folds = grouped_folds(data.groups, data.targets, FOLDS)
    out_of_fold = [np.full(data.targets.shape, -np.inf) for _ in STRENGTHS]
    for fold in range(folds.max() + 1):
        train, test = folds != fold, folds == fold
        seen = (data.targets[train] & (data.weights[train] > 0)).any(axis=0)
        if data.offset is not None:
            for logits in out_of_fold:  # a label that was not annotated keeps its prior
                logits[np.ix_(test, data.anchored)] = data.offset[np.ix_(test, data.anchored)]
        if not seen.any():
            continue
        fitted = seen | data.anchored if data.exclusive else seen
        start: Linear | None = None
        for step in reversed(range(len(STRENGTHS))):  # from smooth to sharp, each from the last
            start = _solve(data, train, fitted, np.full(len(seen), step), start)
            logits = start.logits(data.coordinates[test])
            if data.offset is not None:
                logits += data.offset[np.ix_(test, fitted)]
            out_of_fold[step][np.ix_(test, fitted)] = logits
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


def _let_go(data: Data, steps: NDArray[np.intp], logits: Array) -> tuple[Data, NDArray[np.intp], Array]:
    """Drop the prior of each label, or of a whole single choice, that is clearly better without.

    Parameters and returns: the data, and what `_choose_steps` found. A prior that is wrong where
    no example lies cannot be corrected by examples; it can only be dropped.
    """
    free = replace(data, offset=None, anchored=np.zeros_like(data.anchored))
    free_steps, free_logits = _choose_steps(free)

    def gain(columns: NDArray[np.bool_]) -> float:
        return ranking_score(data, free_logits, columns) - ranking_score(data, logits, columns)

    dropped = np.zeros_like(data.anchored)
    if data.exclusive:
        dropped[:] = gain(~dropped) > CLEARLY_BETTER
    else:
        for column in np.flatnonzero(data.anchored):
            alone = np.arange(len(dropped)) == column
            dropped[column] = tells(data, column) and gain(alone) > CLEARLY_BETTER_ALONE
    if dropped[data.anchored].all():
        return free, free_steps, free_logits
    offset = None if data.offset is None else np.where(dropped, 0.0, data.offset)
    data = replace(data, offset=offset, anchored=data.anchored & ~dropped)
    return data, np.where(dropped, free_steps, steps), np.where(dropped, free_logits, logits)


def _solve(
    data: Data,
    rows: NDArray[np.bool_],
    columns: NDArray[np.bool_],
    steps: NDArray[np.intp],
    start: Linear | None = None,
) -> Linear:
    """What some rows teach about some labels, on top of the prior."""
    cells = np.ix_(rows, columns)
    targets, weights, steps = data.targets[cells], data.weights[cells], steps[columns]
    cost = balanced(data.kind, targets, weights)
    if data.offset is None:
        return solve(data.coordinates[rows], targets, cost, STRENGTHS[steps[0]], data.exclusive, start)
    recordings = [
        max(1, len(np.unique(data.groups[rows][carried]))) for carried in (targets & (weights > 0)).T
    ]
    anchored = data.anchored[columns]
    pull = np.take(PULLS, steps) / recordings
    return solve(
        data.coordinates[rows],
        targets,
        cost,
        np.where(anchored, pull, np.take(STRENGTHS, steps)),
        data.exclusive,
        start,
        offset=data.offset[cells],
        bias_strength=np.where(anchored, np.maximum(BIAS_PENALTY, BIAS_PULL_SHARE * pull), BIAS_PENALTY),
    )
