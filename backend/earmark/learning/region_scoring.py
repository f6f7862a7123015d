"""Region scoring learned from annotations: which candidate regions save work, label by label.

Candidates of annotated recordings are found by heads that were not fitted on them, and compared with what was
annotated. The weights are a maximum a posteriori fit around the defaults, so that few annotations move them
little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from earmark.head.correction_effort import DELETE, DRAW, Event, change_efforts, events_of
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip
from earmark.head.model import ControlHead, Head
from earmark.head.region_scorer import DEFAULT_LENGTHS, FEATURES, GAINS, RegionScorer
from earmark.head.windows import Pool
from earmark.labels.control import Control, learned_controls
from earmark.labels.region import Region
from earmark.learning.correction_figures import is_undecided
from earmark.learning.event_gaps import learn_gaps
from earmark.learning.suggestion_check import evenly_spread
from earmark.prediction.frame_probabilities import frame_probabilities
from earmark.prediction.region_candidates import find_candidates

PRIOR_STRENGTH = 100.0
"""Precision of the weights around the defaults: measured best of 3 to 1000 on soundscapes."""
OFFSET_PRECISION = 50.0
"""Precision of the prior of a label's offset around 0."""
LENGTH_STRENGTH = 2.0
"""Annotated regions that the lengths of all labels count as, for one label's own."""
SHORTEST_DEVIATION = 0.3


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates of one control, rows of all recordings together: ``features`` ``[n, F]``, ``columns`` and
    ``gains`` (effort that showing each alone would save) ``[n]``, ``groups`` (recordings) ``[n]``.
    """

    features: NDArray[np.float64]
    columns: NDArray[np.intp]
    gains: NDArray[np.float64]
    groups: NDArray[np.str_]


def learn_region_scoring(
    pool: Pool,
    frame_rate: float,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    fitted: CrossValidatedHead,
) -> CrossValidatedHead:
    """Return the fitted heads with region scorers; each fold's is learned without the fold's recordings."""
    heads = [fitted.head, *fitted.folds]
    for control in learned_controls(controls):
        served = fitted.head.controls.get(control.name)
        if not control.type.draws_regions or served is None or not served.type.draws_regions:
            continue
        annotated = [clip for clip in clips if control.name in clip.regions and clip.weight > 0]
        lengths = _lengths(control.name, served.labels, annotated)
        start = replace(
            RegionScorer.default(len(served.labels)),
            lengths=lengths,
            gaps=learn_gaps(control.name, served.labels, annotated),
        )
        heads = [_with_scorer(head, served, start) for head in heads]
        scored = scored_candidates(
            pool,
            frame_rate,
            control,
            annotated,
            replace(fitted, head=heads[0], folds=tuple(heads[1:])),
            served.labels,
        )
        if scored is None:
            continue
        assignment = fitted.assignment or {}
        folds = np.array([assignment.get(str(name), -1) for name in scored.groups])
        heads = [
            _with_scorer(head, served, fit_scorer(scored, start, folds != place - 1))
            for place, head in enumerate(heads)
        ]
    return replace(fitted, head=heads[0], folds=tuple(heads[1:]))


def scored_candidates(
    pool: Pool,
    frame_rate: float,
    control: Control,
    clips: Sequence[AnnotatedClip],
    fitted: CrossValidatedHead,
    labels: tuple[str, ...],
) -> ScoredCandidates | None:
    """Return the candidates of annotated recordings, each by a head not fitted on it; None without any.

    ``labels``: those that columns refer to.
    """
    parts: list[tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64], str]] = []
    for position in evenly_spread(clips):
        clip = clips[position]
        head = fitted.out_of_fold_head(clip.group)
        own = head.controls.get(control.name) if head else None
        if own is None or clip.levels is None or not set(own.labels) <= set(labels):
            continue
        (curves,) = frame_probabilities([own], pool, frame_rate, clip.frames)
        candidates = find_candidates(own, curves, pool, frame_rate, clip.frames, clip.levels, clip.duration)
        columns = np.array([labels.index(label) for label in own.labels], dtype=np.intp)[candidates.columns]
        events = [
            Event(start, end, labels[column])
            for (start, end), column in zip(candidates.spans.tolist(), columns.tolist(), strict=True)
        ]
        gains = _gains(events, events_of(clip.regions[control.name]))
        # Where an annotator left open what sounds, a candidate is neither right nor wrong
        decided = np.array(
            [
                not is_undecided(Region(*event[:2], frozenset([event.label])), clip.regions[control.name])
                for event in events
            ],
            dtype=bool,
        )
        parts.append((candidates.features[decided], columns[decided], gains[decided], clip.group))
    if not parts:
        return None
    return ScoredCandidates(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.repeat([part[3] for part in parts], [len(part[1]) for part in parts]),
    )


def fit_scorer(
    scored: ScoredCandidates,
    start: RegionScorer,
    rows: NDArray[np.bool_],
    prior_strength: float = PRIOR_STRENGTH,
    prior: NDArray[np.float64] | None = None,
) -> RegionScorer:
    """Fit a scorer to the candidates ``rows``, bool ``[n]``, by maximum a posteriori.

    ``start``: scorer whose lengths and gaps are kept.
    ``prior``: mean of weights and cuts, ``[F + 4]``; those of the default scorer by default.
    """
    count, size = len(start.lengths), len(FEATURES)
    if prior is None:
        default = RegionScorer.default(count)
        prior = np.concatenate([default.weights, default.cuts]).astype(np.float64)
    features, columns = scored.features[rows], scored.columns[rows]
    reached = (scored.gains[rows, None] >= np.array(GAINS)).astype(np.float64)
    mean = np.concatenate([prior, np.zeros(count)])
    precision = np.full(len(mean), prior_strength)
    precision[size + len(GAINS) :] = OFFSET_PRECISION

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, cuts, offsets = np.split(parameters, [size, size + len(GAINS)])
        logits = (features @ weights + offsets[columns])[:, None] + cuts
        residual = expit(logits) - reached
        moved = parameters - mean
        value = (np.logaddexp(0, logits) - reached * logits).sum() + (precision * moved**2).sum() / 2
        by_row = residual.sum(axis=1)
        gradient = [features.T @ by_row, residual.sum(axis=0), np.bincount(columns, by_row, count)]
        return float(value), np.concatenate(gradient) + precision * moved

    fitted = minimize(loss, mean, jac=True, method="L-BFGS-B").x.astype(np.float32)
    weights, cuts, offsets = np.split(fitted, [size, size + len(GAINS)])
    least = np.zeros(1, dtype=np.float32)
    return replace(start, weights=weights, cuts=cuts, offsets=offsets, least=least)


def _gains(shown: Sequence[Event], true: Sequence[Event]) -> NDArray[np.float64]:
    """Return the effort that each candidate alone would save, ``[n]``."""
    if not shown or not true:
        return np.full(len(shown), -DELETE)
    return np.asarray(np.maximum(DRAW - change_efforts(shown, true).min(axis=1), -DELETE))


def _lengths(control: str, labels: Sequence[str], clips: Sequence[AnnotatedClip]) -> NDArray[np.float32]:
    """Return mean and standard deviation of each label's log lengths ``[C, 2]``, near those of all."""
    by_label: dict[str, list[float]] = {label: [] for label in labels}
    for event in (event for clip in clips for event in events_of(clip.regions[control])):
        if event.label in by_label and event.end > event.start:
            by_label[event.label].append(float(np.log(event.end - event.start)))
    mean, deviation = _moments([value for values in by_label.values() for value in values], *DEFAULT_LENGTHS)
    return np.array([_moments(by_label[label], mean, deviation) for label in labels], dtype=np.float32)


def _moments(values: Sequence[float], mean: float, deviation: float) -> tuple[float, float]:
    """Return mean and standard deviation, shrunk to the given ones."""
    count = len(values)
    shrunk = (sum(values) + LENGTH_STRENGTH * mean) / (count + LENGTH_STRENGTH)
    squares = sum((value - shrunk) ** 2 for value in values) + LENGTH_STRENGTH * deviation**2
    return shrunk, max(SHORTEST_DEVIATION, float(np.sqrt(squares / (count + LENGTH_STRENGTH))))


def _with_scorer(head: Head, served: ControlHead, scorer: RegionScorer) -> Head:
    """Return the head with the part of a scorer that is about its labels."""
    return head.changed(served, lambda control, places: replace(control, scorer=scorer.picked(places)))
