"""Regression check (non-inferiority test) of a new head against the served one, on recordings new to both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.evaluation import Data, decision_scores, metrics, ranking_scores, ranks_labels
from earmark.head.examples import AnnotatedClip, Examples, build_all
from earmark.head.model import ControlHead, Head
from earmark.head.solver import Array
from earmark.head.windows import Pool
from earmark.labels.control import Control, learned_controls

TOLERANCE = 0.02
"""Tolerated drop of lwlrap for tags, of mean average precision for regions and for a tag alone: a smaller one
is not noticed in what is served, and other folds of the same annotations differ by as much."""
SHOWN_TOLERANCE = 0.05
"""Tolerated drop of the F1 of what is shown, to which each threshold adds variance of its own."""
STANDARD_ERRORS = 2.0
"""A drop must exceed this many, or chance explains it: about one in forty equal heads would be rejected."""
LARGE_DROP = 0.25
"""A drop that always counts, however few the recordings."""
BLOCKS = 20
MIN_RECORDINGS = 5
"""With fewer, a single recording would decide."""


@dataclass(frozen=True)
class Comparison:
    """Metrics of two versions on the same recordings, which neither was fitted on.

    ``candidate``, ``active``: for each control that could be compared its metrics (see
    `ControlReport`). ``reasons``: one sentence for each control in which the candidate is worse.
    ``unmeasured``: controls that both predict, with too few recordings new to both.
    """

    candidate: dict[str, dict[str, float]]
    active: dict[str, dict[str, float]]
    reasons: tuple[str, ...]
    unmeasured: tuple[str, ...] = ()

    @property
    def acceptable(self) -> bool:
        """Whether the candidate may be served."""
        return not self.reasons


def compare(
    pool: Pool,
    frame_rate: float,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    candidate: CrossValidatedHead,
    active: CrossValidatedHead,
    built: Mapping[str, Examples | None] | None = None,
) -> Comparison:
    """Compare two versions on the annotations as they are now.

    Each recording is scored by the fold head that has not seen it, or by a version's own head where that
    was fitted without it. Recordings for which a version has neither are left out, so two versions
    without folds cannot be compared, and the candidate is then acceptable. A version never ranks a label
    that it has not learned.

    The candidate is worse in a control when its ranking drops by more than `TOLERANCE`, or what it would show
    by more than `SHOWN_TOLERANCE`, and by more than `STANDARD_ERRORS` standard errors of the difference
    (delete-a-group jackknife over recordings) or by `LARGE_DROP`.

    ``built``: `build_all` of the same arguments, where the caller has it already.
    """
    if built is None:
        built = build_all(pool, frame_rate, controls, clips)
    sides: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]] = ({}, {})
    reasons, unmeasured = [], []
    for control in learned_controls(controls):
        examples = built[control.name]
        if examples is None:
            continue
        heads_by_side = [_out_of_fold_heads(examples, fitted) for fitted in (candidate, active)]
        rows = np.array(
            [name in heads_by_side[0] and name in heads_by_side[1] for name in examples.groups.tolist()]
        )
        data = _data(control, examples, rows)
        carried = (data.targets & (data.weights > 0))[data.is_unit].any()
        if not carried or len(np.unique(data.groups)) < MIN_RECORDINGS:
            if all(control.name in fitted.head.controls for fitted in (candidate, active)):
                unmeasured.append(control.name)
            continue
        predictions = [_predictions(control, examples, rows, heads) for heads in heads_by_side]
        for side, (predicted, limits) in zip(sides, predictions, strict=True):
            side[control.name] = metrics(data, predicted, limits[data.is_unit])
        reasons += [
            f"“{control.name}” would get worse: {measure} {after:.3f} instead of {before:.3f} on "
            f"{len(np.unique(data.groups))} recordings that neither version was trained on."
            for measure, before, after in _losses(data, predictions)
        ]
    return Comparison(sides[0], sides[1], tuple(reasons), tuple(unmeasured))


def _out_of_fold_heads(examples: Examples, fitted: CrossValidatedHead) -> dict[str, Head]:
    """A version's out-of-fold head for each recording that has one."""
    heads = {name: fitted.out_of_fold_head(name) for name in np.unique(examples.groups).tolist()}
    return {name: head for name, head in heads.items() if head is not None}


def _data(control: Control, examples: Examples, rows: NDArray[np.bool_]) -> Data:
    return Data(
        control.type,
        examples.targets[rows],
        examples.weights[rows],
        examples.groups[rows],
        np.zeros(int(rows.sum()), dtype=np.intp),
        examples.is_unit[rows],
        None,
        np.zeros(len(examples.labels), dtype=bool),
    )


def _predictions(
    control: Control, examples: Examples, rows: NDArray[np.bool_], heads: dict[str, Head]
) -> tuple[Array, Array]:
    """Probabilities ``[n, C]`` and thresholds ``[n, C]``; 0 and 1 for labels that a head has not learned."""
    groups = examples.groups[rows]
    predicted = np.zeros((len(groups), len(examples.labels)))
    limits = np.ones(predicted.shape)
    by_head: dict[int, tuple[ControlHead, list[str]]] = {}
    for name in np.unique(groups).tolist():
        head = heads[name].controls.get(control.name)
        if head is not None and head.type is control.type:
            by_head.setdefault(id(head), (head, []))[1].append(name)
    for head, names in by_head.values():
        covered = np.isin(groups, names)
        head_columns = np.array(
            [k for k, label in enumerate(head.labels) if label in examples.labels], dtype=np.intp
        )
        columns = np.array([examples.labels.index(head.labels[k]) for k in head_columns], dtype=np.intp)
        predicted[np.ix_(covered, columns)] = head.probabilities(
            examples.embeddings[np.flatnonzero(rows)[covered]]
        )[:, head_columns]
        limits[np.ix_(covered, columns)] = head.thresholds[head_columns]
    return predicted, limits


def _losses(data: Data, predictions: Sequence[tuple[Array, Array]]) -> list[tuple[str, float, float]]:
    """Measures in which the first of two sides is worse than chance explains: name, before and after.

    ``predictions``: of each side probabilities and thresholds ``[n, C]``.
    """
    parts, losses = _jackknife_subsets(data), []
    for measure, scores, tolerance in (
        ("lwlrap" if ranks_labels(data) else "map", _ranking_scores, TOLERANCE),
        ("F1 of what is shown", decision_scores, SHOWN_TOLERANCE),
    ):
        after, before = (scores(data, *predicted, parts) for predicted in predictions)
        if is_clear_drop(after, before, tolerance, LARGE_DROP):
            losses.append((measure, float(before[0]), float(after[0])))
    return losses


def is_clear_drop(after: Array, before: Array, tolerance: float, large: float) -> bool:
    """Whether a score drops by more than a tolerance, and by more than chance explains or by a large drop.

    ``after``, ``before``: the score on all recordings, then on all but those of each block (jackknife).
    """
    lost, error = _difference(after, before)
    return lost > tolerance and (lost > STANDARD_ERRORS * error or lost > large)


def ranking_drop(data: Data, logits: Sequence[Array]) -> tuple[float, float]:
    """Drop in ranking score from the second of two logits ``[n, C]`` to the first, and its standard error."""
    parts = _jackknife_subsets(data)
    first, second = (_ranking_scores(data, values, None, parts) for values in logits)
    return _difference(first, second)


def _ranking_scores(data: Data, predicted: Array, _limits: Array | None, parts: NDArray[np.bool_]) -> Array:
    return ranking_scores(data, predicted, np.ones(data.targets.shape[1], dtype=bool), parts)


def _jackknife_subsets(data: Data) -> NDArray[np.bool_]:
    """Jackknife subsets: all rows, and all but those of each block of recordings, ``[1 + blocks, n]``."""
    names, recordings = np.unique(data.groups, return_inverse=True)
    blocks = recordings % min(BLOCKS, len(names))
    return np.concatenate(
        [np.ones((1, len(blocks)), dtype=bool), blocks != np.arange(blocks.max() + 1)[:, None]]
    )


def _difference(after: Array, before: Array) -> tuple[float, float]:
    """Drop of a score and its jackknife standard error, from scores of each of `_jackknife_subsets`."""
    lost, left_out = before[0] - after[0], (before - after)[1:]
    count = len(left_out)
    error = np.sqrt((count - 1) / count * np.square(left_out - left_out.mean()).sum())
    return float(lost), float(error)
