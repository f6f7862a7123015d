"""Non-maximum suppression of overlapping regions with different labels, by overlap rates from annotations."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.examples import AnnotatedClip

DEFAULT_FACTOR = 0.2
"""Overlap factor before any annotation: only a label that the head is certain of may overlap another one.

Labels that a head confuses all have some probability at the same time, though only one of them sounds.
"""
LARGEST_COMMON_FACTOR = 0.5
"""Maximum factor of pairs without evidence of their own, however much a project's other labels overlap."""
COMMON_STRENGTH = 3.0
PAIR_STRENGTH = 2.0
"""Prior strengths in chance overlaps: of the default factor, and of the common factor in each pair."""
EXCLUSIVE_FACTOR = 0.1
"""Below this factor, regions of two labels never overlap."""
SLACK_SECONDS = 0.2
"""Overlap of hand-drawn neighbouring regions that is not counted as one."""
MOSTLY = 0.5
"""A region that would lose more than this share of its frames is of the same sound, and is removed."""

Stretch = tuple[int, int, int]
"""Label column, first frame, last frame + 1."""


def learn_overlap_factors(
    control: str, labels: Sequence[str], clips: Sequence[AnnotatedClip]
) -> NDArray[np.float32]:
    """Return overlap factors float32 ``[C, C]``: how often two labels overlap, relative to chance.

    The factor of a pair is the ratio of observed overlaps to those expected if regions of the same lengths
    lay anywhere in the clips with regions, at most 1. It has a prior: a pair starts at the project's common
    factor, and that at `DEFAULT_FACTOR`. So a project in which regions never overlap has small factors for
    all pairs, also for those that were never in one clip.

    Parameters
    ----------
    control
        Name of a regions control.
    labels
        Labels of its head.
    """
    columns = {label: column for column, label in enumerate(labels)}
    counts, seconds = np.zeros(len(labels)), np.zeros(len(labels))
    observed = np.zeros((len(labels), len(labels)))
    durations = []
    for clip in clips:
        spans = [
            (region.start, min(region.end, clip.duration), columns[label], clip.weight * region.weight)
            for region in clip.regions.get(control, ())
            for label in sorted(region.labels & columns.keys())
            if region.start < min(region.end, clip.duration)
        ]
        if not spans or clip.weight <= 0:
            continue
        durations.append(clip.duration)
        starts, ends, owners, weights = (np.array(values) for values in zip(*sorted(spans), strict=True))
        owners = owners.astype(np.intp)
        np.add.at(counts, owners, weights)
        np.add.at(seconds, owners, weights * (ends - starts))
        _count_overlaps(observed, starts, ends, owners, weights)
    if not durations:
        return np.full(observed.shape, DEFAULT_FACTOR, dtype=np.float32)
    length = np.divide(seconds, counts, out=np.zeros(len(labels)), where=counts > 0)
    near = np.minimum(1.0, (length[:, None] + length) / np.mean(durations))
    expected = counts[:, None] * counts / len(durations) * near
    pairs = np.triu_indices(len(labels), 1)
    common = (observed[pairs].sum() + COMMON_STRENGTH * DEFAULT_FACTOR) / (
        expected[pairs].sum() + COMMON_STRENGTH
    )
    common = min(common, LARGEST_COMMON_FACTOR)
    factors = (observed + PAIR_STRENGTH * common) / (expected + PAIR_STRENGTH)
    np.fill_diagonal(factors, 1.0)
    return np.asarray(np.minimum(factors, 1.0), dtype=np.float32)


def _count_overlaps(
    observed: NDArray[np.float64],
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    owners: NDArray[np.intp],
    weights: NDArray[np.float64],
) -> None:
    """Add each pair of overlapping regions to ``observed`` ``[C, C]``; regions are sorted by start."""
    for first, (end, owner, weight) in enumerate(zip(ends, owners, weights, strict=True)):
        others = slice(first + 1, int(np.searchsorted(starts, end)))
        common = np.minimum(end, ends[others]) - starts[others]
        shorter = np.minimum(end - starts[first], ends[others] - starts[others])
        together = np.flatnonzero(common >= np.minimum(SLACK_SECONDS, 0.5 * shorter)) + first + 1
        for other in together[owners[together] != owner].tolist():
            pair = min(weight, weights[other])
            observed[owner, owners[other]] += pair
            observed[owners[other], owner] += pair


def suppress_overlaps(
    curves: NDArray[np.floating[Any]],
    thresholds: NDArray[np.floating[Any]],
    factors: NDArray[np.floating[Any]] | None,
    stretches: Sequence[Stretch],
) -> list[Stretch]:
    """Greedy non-maximum suppression: of labels that rarely overlap, the one with the higher mean is kept.

    A stretch may overlap a better one if the mean of the higher half of its probabilities, its odds
    multiplied by the pair's overlap factor, still reaches its label's threshold, and the labels are not
    exclusive (`EXCLUSIVE_FACTOR`). Otherwise only its parts outside are kept, if they reach the threshold by
    themselves, or nothing (`MOSTLY`).

    Parameters
    ----------
    curves
        Probabilities ``[T, C]``.
    thresholds
        ``[C]``.
    factors
        ``[C, C]``, or None before any annotation.
    stretches
        Stretches of one label do not overlap.
    """
    if len(stretches) < 2:
        return list(stretches)
    count = len(thresholds)
    if factors is None:
        factors = np.full((count, count), DEFAULT_FACTOR)
    needed = _needed_probabilities(thresholds, factors)

    def mean(stretch: Stretch) -> float:
        column, first, last = stretch
        return float(curves[first:last, column].mean(dtype=np.float64))

    taken = np.zeros(curves.shape, dtype=bool)
    candidates = [(-mean(stretch), stretch) for stretch in stretches]
    heapq.heapify(candidates)
    chosen = []
    while candidates:
        _, stretch = heapq.heappop(candidates)
        column, first, last = stretch
        rivals = np.flatnonzero(needed[column] > _upper_half_mean(curves[first:last, column]))
        blocked = np.asarray(taken[first:last, rivals].any(axis=1))
        if not blocked.any():
            taken[first:last, column] = True
            chosen.append(stretch)
        elif blocked.mean() <= MOSTLY:
            for start, end in runs(~blocked):
                remainder = (column, first + start, first + end)
                if curves[remainder[1] : remainder[2], column].max() >= thresholds[column]:
                    heapq.heappush(candidates, (-mean(remainder), remainder))
    return chosen


def _upper_half_mean(curve: NDArray[np.floating[Any]]) -> float:
    """Return the mean of the higher half of the values, so that a short sound's edges do not count."""
    half = len(curve) // 2
    return float(np.partition(curve, half)[half:].mean())


def _needed_probabilities(
    thresholds: NDArray[np.floating[Any]], factors: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return the probability ``[C, C]`` that a row's label must reach to overlap a better column's label."""
    limits = np.clip(np.asarray(thresholds, dtype=np.float64), 1e-6, 1 - 1e-6)[:, None]
    safe = np.clip(factors, 1e-6, 1.0)
    needed = limits / (limits + safe * (1 - limits))
    needed = np.where(factors < EXCLUSIVE_FACTOR, np.inf, needed)
    needed = np.where(factors >= 1.0, 0.0, needed)
    np.fill_diagonal(needed, 0.0)
    return np.asarray(needed)


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return ``(first, last + 1)`` indices of each run of true values."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
