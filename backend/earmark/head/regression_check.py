"""Is a new head worse than the one that is served? Judged by recordings that neither has heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.head.cross_validated_head import Fitted
from earmark.head.evaluation import Data, decision_scores, metrics, ranking_scores, ranks_labels
from earmark.head.examples import AnnotatedClip, Examples, build_all
from earmark.head.model import ControlHead, Head
from earmark.head.solver import Array
from earmark.head.windows import Pool
from earmark.labels.controls import Control

TOLERANCE = 0.02
"""Of lwlrap for tags, of mean average precision for regions and for a tag alone: less is not noticed in what
is served, and the same annotations dealt into other folds differ by as much."""
SHOWN_TOLERANCE = 0.05
"""Of the F1 of what is shown, in which each threshold's own chance comes on top."""
STANDARD_ERRORS = 2.0
"""A drop must exceed so many, or chance explains it: about one in forty equal heads would be held back."""
LARGE_DROP = 0.25
"""Always worse, however few recordings tell so."""
BLOCKS = 20
MIN_RECORDINGS = 5
"""Fewer tell nothing: a single one would decide."""


@dataclass(frozen=True)
class Comparison:
    """Both sides on the same recordings, which neither has seen.

    ``candidate``, ``active``: for each control that could be compared its metrics (see
    `ControlReport`). ``reasons``: one sentence for each control in which the candidate is worse.
    ``unmeasured``: controls that both answer, and of which too few recordings are new to both.
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
    candidate: Fitted,
    active: Fitted,
    built: Mapping[str, Examples | None] | None = None,
) -> Comparison:
    """Compare two versions on the annotations as they are now.

    Each recording is scored by the fold head that has not seen it, or by a version's own head where that
    was fitted without it. Recordings for which a version has neither are left out, so two versions
    without folds cannot be told apart, and the candidate is then acceptable. A label that a side does
    not know is one that it never ranks.

    The candidate is worse in a control when its ranking drops by more than `TOLERANCE`, or what it would show
    by more than `SHOWN_TOLERANCE`, and by more than `STANDARD_ERRORS` standard errors of the difference
    (delete-a-group jackknife over recordings) or by `LARGE_DROP`.

    ``built``: `build_all` of the same arguments, where the caller has it already.
    """
    if built is None:
        built = build_all(pool, frame_rate, controls, clips)
    sides: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]] = ({}, {})
    reasons, unmeasured = [], []
    for control in controls:
        examples = built[control.name]
        if examples is None:
            continue
        judged = [_judged(examples, fitted) for fitted in (candidate, active)]
        rows = np.array([name in judged[0] and name in judged[1] for name in examples.groups.tolist()])
        data = _data(control, examples, rows)
        carried = (data.targets & (data.weights > 0))[data.is_unit].any()
        if not carried or len(np.unique(data.groups)) < MIN_RECORDINGS:
            if all(control.name in fitted.head.controls for fitted in (candidate, active)):
                unmeasured.append(control.name)
            continue
        answers = [_answers(control, examples, rows, heads) for heads in judged]
        for side, (found, limits) in zip(sides, answers, strict=True):
            side[control.name] = metrics(data, found, limits[data.is_unit])
        reasons += [
            f"“{control.name}” would get worse: {measure} {after:.3f} instead of {before:.3f} on "
            f"{len(np.unique(data.groups))} recordings that neither version learned from."
            for measure, before, after in _losses(data, answers)
        ]
    return Comparison(sides[0], sides[1], tuple(reasons), tuple(unmeasured))


def _judged(examples: Examples, fitted: Fitted) -> dict[str, Head]:
    """The head to judge a version by, for each recording that it can be judged by."""
    found = {name: fitted.unseen_by(name) for name in np.unique(examples.groups).tolist()}
    return {name: head for name, head in found.items() if head is not None}


def _data(control: Control, examples: Examples, rows: NDArray[np.bool_]) -> Data:
    return Data(
        control.kind,
        examples.targets[rows],
        examples.weights[rows],
        examples.groups[rows],
        np.zeros(int(rows.sum()), dtype=np.intp),
        examples.is_unit[rows],
        None,
        np.zeros(len(examples.labels), dtype=bool),
    )


def _answers(
    control: Control, examples: Examples, rows: NDArray[np.bool_], heads: dict[str, Head]
) -> tuple[Array, Array]:
    """Probabilities ``[n, C]`` and decisions' thresholds ``[n, C]``; 0 and 1 for unknown labels."""
    groups = examples.groups[rows]
    found = np.zeros((len(groups), len(examples.labels)))
    limits = np.ones(found.shape)
    by_head: dict[int, tuple[ControlHead, list[str]]] = {}
    for name in np.unique(groups).tolist():
        head = heads[name].controls.get(control.name)
        if head is not None and head.kind == control.kind:
            by_head.setdefault(id(head), (head, []))[1].append(name)
    for head, names in by_head.values():
        own = np.isin(groups, names)
        known = np.array(
            [k for k, label in enumerate(head.labels) if label in examples.labels], dtype=np.intp
        )
        columns = np.array([examples.labels.index(head.labels[k]) for k in known], dtype=np.intp)
        found[np.ix_(own, columns)] = head.probabilities(examples.embeddings[np.flatnonzero(rows)[own]])[
            :, known
        ]
        limits[np.ix_(own, columns)] = head.thresholds[known]
    return found, limits


def _losses(data: Data, answers: Sequence[tuple[Array, Array]]) -> list[tuple[str, float, float]]:
    """In what the first of two sides is worse than chance explains: the measure, before and after.

    ``answers``: of each side probabilities and thresholds ``[n, C]``.
    """
    parts, found = _parts(data), []
    for measure, scores, tolerance in (
        ("lwlrap" if ranks_labels(data) else "map", _ranked, TOLERANCE),
        ("F1 of what is shown", decision_scores, SHOWN_TOLERANCE),
    ):
        after, before = (scores(data, *answer, parts) for answer in answers)
        lost, error = _difference(after, before)
        if lost > tolerance and (lost > STANDARD_ERRORS * error or lost > LARGE_DROP):
            found.append((measure, float(before[0]), float(after[0])))
    return found


def drop(data: Data, answers: Sequence[Array]) -> tuple[float, float]:
    """How much lower the first of two answers ``[n, C]`` ranks than the second, and its standard error."""
    parts = _parts(data)
    first, second = (_ranked(data, found, None, parts) for found in answers)
    return _difference(first, second)


def _ranked(data: Data, found: Array, _limits: Array | None, parts: NDArray[np.bool_]) -> Array:
    return ranking_scores(data, found, np.ones(data.targets.shape[1], dtype=bool), parts)


def _parts(data: Data) -> NDArray[np.bool_]:
    """All rows, and all but those of each block of recordings: ``[1 + blocks, n]``."""
    names, recordings = np.unique(data.groups, return_inverse=True)
    blocks = recordings % min(BLOCKS, len(names))
    return np.concatenate(
        [np.ones((1, len(blocks)), dtype=bool), blocks != np.arange(blocks.max() + 1)[:, None]]
    )


def _difference(after: Array, before: Array) -> tuple[float, float]:
    """How much is lost, and its standard error, from scores of each of `_parts`."""
    lost, left_out = before[0] - after[0], (before - after)[1:]
    count = len(left_out)
    error = np.sqrt((count - 1) / count * np.square(left_out - left_out.mean()).sum())
    return float(lost), float(error)
