"""Region candidates: stretches between changes of level, and around what the head detects, with features.

Two questions are answered apart: when something sounds, from band levels, and what it is, from the head's
probabilities of each stretch as a whole. `head.region_scorer` weighs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.features.band_levels import HOP_SECONDS
from earmark.head.model import ControlHead
from earmark.head.region_scorer import FEATURES, RegionScorer, log_odds
from earmark.head.windows import Pool, frames_between, pool_stretches
from earmark.prediction.edge_refinement import EdgeRefiner
from earmark.prediction.level_changes import LevelChanges, level_changes
from earmark.prediction.stretches import find_stretches

SHORTEST_HOPS = 6
LONGEST_SECONDS = 9.0
"""Of stretches between changes of level; longer ones are those that the head detects."""
ENDS_OF_ONSET = 5
"""Ends that are tried with each onset, the nearest ones."""
DETECTED_SHARE = 0.5
"""Stretches that reach this share of a label's threshold are candidates."""
NEAR_START_SECONDS, NEAR_END_SECONDS = 1.0, 1.5
EDGES_NEAR = 3
"""Changes near an edge of a detected stretch that are tried in its place, the clearest ones."""
LIKELIEST = 2
"""Labels that are candidates for each stretch."""
OUTSIDE_SECONDS = 0.64
NEIGHBOUR_HOPS = 20
AUDIBLE_DB = 2.0
LONGEST_PAUSE_SECONDS = 1.0
CANDIDATES_PER_SECOND, FEWEST_CANDIDATES = 3.0, 40
"""Stretches that are pooled as a whole, which takes most of the time: those that look best on frames."""
PAUSE = FEATURES.index("longest_pause")
"""A pause that separates no events of a candidate's label does not count."""
AUDIBLE_SHARE = FEATURES.index("audible_share")
_LARGEST_DB = 30.0
_DB_UNIT = 10.0

Hops = NDArray[np.intp]
"""First hop and the one after the last of stretches, ``[n, 2]``."""


@dataclass(frozen=True)
class Candidates:
    """Candidate regions: ``spans`` in seconds ``[n, 2]``, ``columns`` (labels) ``[n]``, ``features``
    ``[n, F]`` and ``probabilities`` of the label in the stretch as a whole ``[n]``. ``refiner``: that of the
    recording.
    """

    spans: NDArray[np.float64]
    columns: NDArray[np.intp]
    features: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    refiner: EdgeRefiner


def find_candidates(
    fitted: ControlHead,
    curves: NDArray[np.float32],
    pool: Pool,
    frame_rate: float,
    frames: NDArray[np.floating[Any]],
    levels: NDArray[np.uint8],
    duration: float,
) -> Candidates:
    """Return the candidate regions of a recording.

    Parameters
    ----------
    fitted
        Head of a regions control; its labels are the columns.
    curves
        Its probabilities in each frame, ``[T, C]``.
    """
    refiner = EdgeRefiner(levels, duration)
    changes = level_changes(refiner)
    stretches = _Stretches(changes)
    detected = _detected(fitted, curves, frame_rate, refiner, duration)
    spans = np.concatenate([detected, _between_changes(changes), *_moved(detected, changes)])
    spans, first = np.unique(spans, axis=0, return_index=True)
    if not len(spans):
        no_features = np.zeros((0, len(FEATURES)))
        return Candidates(
            np.zeros((0, 2)), np.zeros(0, np.intp), no_features, np.zeros(0, np.float32), refiner
        )
    is_detected = first < len(detected)
    scorer = scorer_of(fitted)
    sums = np.concatenate([np.zeros((1, curves.shape[1])), np.cumsum(curves, axis=0, dtype=np.float64)])
    grid = _frame_spans(spans, frame_rate, len(frames))
    means = _means(sums, grid)
    features = stretches.features(spans, is_detected)

    # First by the mean over frames, then the best of them pooled as a whole
    likeliest = means.argmax(axis=1)
    rough = _with_labels(features, np.arange(len(spans)), likeliest, means, sums, grid, frame_rate, scorer)
    most = max(FEWEST_CANDIDATES, round(CANDIDATES_PER_SECOND * duration))
    best = np.argsort(-scorer.expected_gains(rough, likeliest), kind="stable")[:most]
    spans, grid, means, features = spans[best], grid[best], means[best], features[best]
    places, inverse = np.unique(grid, axis=0, return_inverse=True)
    whole = fitted.probabilities(pool_stretches(pool, [frames], [places]))[inverse.ravel()]
    rows, columns = _likely_labels(whole, means)
    return Candidates(
        spans[rows] * HOP_SECONDS,
        columns,
        _with_labels(features, rows, columns, whole, sums, grid, frame_rate, scorer),
        whole[rows, columns],
        refiner,
    )


def scorer_of(fitted: ControlHead) -> RegionScorer:
    """Return the region scorer of a head; the default one where it has none."""
    return fitted.scorer or RegionScorer.default(len(fitted.labels))


def _detected(
    fitted: ControlHead,
    curves: NDArray[np.float32],
    frame_rate: float,
    refiner: EdgeRefiner,
    duration: float,
) -> Hops:
    """Return the stretches that the head detects on its frames, with refined edges."""
    detected = {
        stretch
        for curve, threshold, gap in zip(
            curves.T, fitted.thresholds.tolist(), scorer_of(fitted).gaps.tolist(), strict=True
        )
        for stretch in find_stretches(curve, DETECTED_SHARE * threshold, frame_rate, gap)
    }
    spans = [
        # The last frame stands for the rest of the recording as well, which is shorter than a frame.
        refiner.refine_detected(
            (first / frame_rate, duration if last == len(curves) else min(last / frame_rate, duration))
        )
        for first, last in sorted(detected)
    ]
    hops = np.round(np.array(spans).reshape(-1, 2) / HOP_SECONDS).astype(np.intp)
    return _long_enough(np.clip(hops, 0, refiner.hops))


def _between_changes(changes: LevelChanges) -> Hops:
    """Return stretches from each onset to the next ends: offsets, and onsets of other sounds."""
    ends = np.union1d(changes.offsets, changes.onsets)
    if not len(ends):
        return np.zeros((0, 2), dtype=np.intp)
    places = np.searchsorted(ends, changes.onsets + SHORTEST_HOPS)[:, None] + np.arange(ENDS_OF_ONSET)
    last = ends[np.minimum(places, len(ends) - 1)]
    starts = np.broadcast_to(changes.onsets[:, None], places.shape)
    inside = (places < len(ends)) & (last - starts <= LONGEST_SECONDS / HOP_SECONDS)
    return np.stack([starts[inside], last[inside]], axis=1)


def _moved(detected: Hops, changes: LevelChanges) -> list[Hops]:
    """Return the detected stretches with either edge, or both, at a clear change near it."""
    ends = np.union1d(changes.offsets, changes.onsets)
    moved = []
    for first, last in detected.tolist():
        starts = _clearest(changes.onsets, changes.rises, first, NEAR_START_SECONDS)
        stops = _clearest(ends, changes.falls, last, NEAR_END_SECONDS)
        grid = np.stack(np.meshgrid([first, *starts], [last, *stops], indexing="ij"), axis=-1)
        moved.append(_long_enough(grid.reshape(-1, 2)))
    return moved


def _clearest(places: NDArray[np.intp], curve: NDArray[np.float32], at: int, seconds: float) -> list[int]:
    reach = round(seconds / HOP_SECONDS)
    near = places[slice(*np.searchsorted(places, [at - reach, at + reach + 1]))]
    return [int(place) for place in near[np.argsort(-curve[near], kind="stable")[:EDGES_NEAR]]]


def _long_enough(spans: Hops) -> Hops:
    return spans[spans[:, 1] - spans[:, 0] >= SHORTEST_HOPS]


class _Stretches:
    """Features of stretches from levels alone."""

    def __init__(self, changes: LevelChanges) -> None:
        self._changes, self._count = changes, len(changes.loudness)
        self._loud = np.concatenate([[0.0], np.cumsum(changes.loudness, dtype=np.float64)])
        audible = changes.loudness > AUDIBLE_DB
        self._audible = np.concatenate([[0], np.cumsum(audible)])
        hops = np.arange(self._count)
        pauses = hops - np.maximum.accumulate(np.where(audible, hops, -1))
        self._pauses = np.append(pauses, 0)  # one for each boundary, as the other curves

    def features(self, spans: Hops, is_detected: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return `FEATURES` ``[n, F]``, those that depend on a label left at 0."""
        first, last = spans.T
        changes, before = self._changes, np.maximum(first - NEIGHBOUR_HOPS, 0)
        after = np.minimum(last + NEIGHBOUR_HOPS, self._count)
        columns = {
            "rise": changes.rises[first],
            "fall": changes.falls[last],
            "inner_rise": _inner_maxima(changes.rises, first + 12, last - 5),
            "inner_fall": _inner_maxima(changes.falls, first + 5, last - 12),
            "loudness": self._mean_loudness(first, last),
            "loudness_before": self._mean_loudness(before, first),
            "loudness_after": self._mean_loudness(last, after),
        }
        features = np.zeros((len(spans), len(FEATURES)))
        for name, values in columns.items():
            features[:, FEATURES.index(name)] = np.minimum(values, _LARGEST_DB) / _DB_UNIT
        audible = (self._audible[last] - self._audible[first]) / (last - first)
        features[:, AUDIBLE_SHARE] = audible
        pauses = _inner_maxima(self._pauses, first, last) * HOP_SECONDS
        features[:, PAUSE] = np.minimum(pauses, LONGEST_PAUSE_SECONDS)
        features[:, FEATURES.index("log_seconds")] = np.log((last - first) * HOP_SECONDS)
        features[:, FEATURES.index("detected")] = is_detected
        return features

    def _mean_loudness(self, first: NDArray[np.intp], last: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray((self._loud[last] - self._loud[first]) / np.maximum(last - first, 1))


def _inner_maxima(
    curve: NDArray[Any], first: NDArray[np.intp], last: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the maximum of the curve from ``first`` to before ``last``; 0 for empty stretches."""
    maxima = np.zeros(len(first))
    filled = np.flatnonzero(last > first)
    if len(filled):
        bounds = np.stack([first[filled], last[filled]], axis=1).ravel()
        maxima[filled] = np.maximum.reduceat(curve, bounds)[::2]
    return maxima


def _frame_spans(spans: Hops, frame_rate: float, count: int) -> NDArray[np.intp]:
    """Return the frames that stretches touch, as `frames_between` does, ``[n, 2]``."""
    bounds = [
        frames_between(first * HOP_SECONDS, last * HOP_SECONDS, frame_rate, count)
        for first, last in spans.tolist()
    ]
    return np.array(bounds, dtype=np.intp)


def _means(sums: NDArray[np.float64], grid: NDArray[np.intp]) -> NDArray[np.float64]:
    first, last = grid.T
    return np.asarray((sums[last] - sums[first]) / (last - first)[:, None])


def _likely_labels(
    whole: NDArray[np.float32], means: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the labels that each stretch may have.

    These are the likeliest ones of the stretch as a whole, and the likeliest one on its frames.
    """
    likely = np.zeros(whole.shape, dtype=bool)
    most = min(LIKELIEST, whole.shape[1])
    rows = np.arange(len(whole))[:, None]
    likely[rows, np.argpartition(-whole, most - 1, axis=1)[:, :most]] = True
    likely[rows[:, 0], means.argmax(axis=1)] = True
    found_rows, columns = np.nonzero(likely)
    return found_rows, columns


def _with_labels(
    features: NDArray[np.float64],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    probabilities: NDArray[np.floating[Any]],
    sums: NDArray[np.float64],
    grid: NDArray[np.intp],
    frame_rate: float,
    scorer: RegionScorer,
) -> NDArray[np.float64]:
    """Return the features of stretches ``rows`` with labels ``columns``, ``[n, F]``.

    ``probabilities`` ``[stretches, C]``: of each label in each stretch.
    """
    selected = features[rows]
    own = probabilities[rows, columns]
    rivals = probabilities[rows].astype(np.float64)
    rivals[np.arange(len(rows)), columns] = 0.0
    outside = max(1, round(OUTSIDE_SECONDS * frame_rate))
    first, last = grid[rows].T
    start, stop = np.maximum(first - outside, 0), np.minimum(last + outside, len(sums) - 1)
    inner = sums[last, columns] - sums[first, columns]
    around = sums[stop, columns] - sums[start, columns] - inner
    beside = np.maximum((stop - start) - (last - first), 1)
    seconds = np.exp(selected[:, FEATURES.index("log_seconds")])
    selected[:, FEATURES.index("label_logit")] = log_odds(own)
    selected[:, FEATURES.index("rival_logit")] = log_odds(rivals.max(axis=1))
    selected[:, FEATURES.index("contrast")] = inner / (last - first) - around / beside
    selected[:, FEATURES.index("unusual_length")] = scorer.unusual_lengths(seconds, columns)
    selected[selected[:, PAUSE] < scorer.gaps[columns], PAUSE] = 0.0
    return selected
