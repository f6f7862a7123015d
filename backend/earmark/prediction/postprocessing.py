"""From frames to what is shown: regions with onset and offset, tags, and how sure all of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.model import ControlHead, Head
from earmark.head.windows import Pool, pool_windows, window_length, window_starts
from earmark.labels.controls import Control
from earmark.prediction.edge_refinement import EdgeRefiner
from earmark.prediction.overlap import runs, suppress_overlaps
from earmark.prediction.tag_agreement import (
    RegionsFound,
    TagsSaid,
    agreed_choice,
    agreed_tags,
    doubted_labels,
)

WINDOWS_AT_ONCE = 2048
"""Windows whose embeddings are held at once: 16 MB for CNN14, whatever the recording's length."""
KEEP_SHARE_OF_THRESHOLD = 0.8
"""A region starts at its label's threshold and goes on down to this share of it (hysteresis)."""
CHOICE_MARGIN = 0.1
"""A single choice is shown when its probability is this far on the way from chance to certainty.

A guess costs more than an empty choice: it looks like an answer, tends to be submitted as it is, and
then teaches what was guessed. An empty one takes the same one click as a wrong one.
"""
SURE_SCORE = 0.5
"""Mean probability from which a region is shown whatever the tags say: a clip's tags miss short sounds."""
MERGE_GAP_SECONDS = 0.2
MIN_REGION_SECONDS = 0.15


@dataclass(frozen=True)
class DetectedRegion:
    """One label from ``start`` to ``end`` (seconds); ``score``: mean probability over that time."""

    control: str
    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class ClipPrediction:
    """Prediction of one recording, in which the controls agree with each other.

    ``regions``: in order of time. ``tags``: for each control of the whole clip, labels with their
    probability, likeliest first. ``probabilities``: for each control, every learned label's
    probability to be anywhere in the clip; of tags in the light of regions of the same names.
    ``score``: certainty in [0, 1], the mean over controls of the distance between the two likeliest
    choices, or between the least certain label and a coin
    toss; 0 where nothing was learned.
    """

    regions: tuple[DetectedRegion, ...]
    tags: dict[str, tuple[tuple[str, float], ...]]
    probabilities: dict[str, dict[str, float]]
    score: float


def predict_clip(
    head: Head,
    controls: Sequence[Control],
    pool: Pool,
    frame_rate: float,
    frames: NDArray[np.floating[Any]],
    duration: float,
    levels: NDArray[np.uint8] | None = None,
) -> ClipPrediction:
    """Everything that ``head`` says about one recording, for ``controls`` as they are now.

    Parameters
    ----------
    head
        Fitted on embeddings of the same encoder. Labels and controls that the label config no
        longer has, or has as another kind, are left out.
    pool, frame_rate
        Of that encoder.
    frames
        ``[T, D]``, T >= 1; an hour needs no more memory than its frames and probabilities.
    duration
        Seconds; regions end there at the latest.
    levels
        Band levels of the recording, by which edges of regions are refined; without them they lie on frames.
    """
    refiner = EdgeRefiner(levels, duration) if levels is not None else None
    regions: list[DetectedRegion] = []
    tags: dict[str, tuple[tuple[str, float], ...]] = {}
    probabilities: dict[str, dict[str, float]] = {}
    known = [
        (control, fitted)
        for control, fitted in ((control, head.controls.get(control.name)) for control in controls)
        if fitted is not None and fitted.kind == control.kind and set(fitted.labels) & set(control.labels)
    ]
    said = _probabilities([fitted for _, fitted in known], pool, frame_rate, frames)
    tags_said = [
        TagsSaid(control, fitted, _by_label(control, fitted, found[0]))
        for (control, fitted), found in zip(known, said, strict=True)
        if control.kind != "regions"
    ]
    found_regions: list[RegionsFound] = []
    for (control, fitted), found in zip(known, said, strict=True):
        if control.kind == "regions":
            doubted = doubted_labels(control, tags_said)
            detected, whole = _regions(control, fitted, found, doubted, frame_rate, duration)
            detected = _refined(detected, refiner) if refiner else detected
            regions += detected
            probabilities[control.name] = whole
            found_regions.append(RegionsFound(control, frozenset(whole), _strengths(detected)))
    for (control, fitted), found in zip(known, said, strict=True):
        if control.kind != "regions":
            tags[control.name], whole = _tags(control, fitted, found[0], found_regions)
            probabilities[control.name] = whole
    # In the order of the controls, as if nothing depended on anything else
    probabilities = {control.name: probabilities[control.name] for control, _ in known}
    certainties = [
        _certainty(control, np.array(list(probabilities[control.name].values()))) for control, _ in known
    ]
    regions.sort(key=lambda region: (region.start, region.end, region.control, region.label))
    score = float(np.clip(np.mean(certainties), 0.0, 1.0)) if certainties else 0.0
    return ClipPrediction(tuple(regions), tags, probabilities, score)


def _regions(
    control: Control,
    fitted: ControlHead,
    found: NDArray[np.float32],
    doubted: frozenset[str],
    frame_rate: float,
    duration: float,
) -> tuple[list[DetectedRegion], dict[str, float]]:
    """Regions of one control, and each label's probability anywhere, from those of each frame ``[T, C]``.

    ``doubted``: labels whose regions are left out unless they are sure.
    """
    columns = _columns(control, fitted)
    labels = [fitted.labels[column] for column in columns]
    curves, thresholds = found[:, columns], fitted.thresholds[columns]
    factors = fitted.overlap_factors
    stretches = suppress_overlaps(
        curves,
        thresholds,
        None if factors is None else factors[np.ix_(columns, columns)],
        [
            (column, first, last)
            for column, (threshold, curve) in enumerate(zip(thresholds, curves.T, strict=True))
            for first, last in find_stretches(curve, float(threshold), frame_rate)
            if labels[column] not in doubted or curve[first:last].mean() >= SURE_SCORE
        ],
    )
    detected = [
        DetectedRegion(control.name, *span, labels[column], float(curves[first:last, column].mean()))
        for column, first, last in stretches
        if (span := _seconds(first, last, len(curves), frame_rate, duration))
    ]
    return detected, dict(zip(labels, curves.max(axis=0).tolist(), strict=True))


def _refined(regions: Sequence[DetectedRegion], refiner: EdgeRefiner) -> list[DetectedRegion]:
    spans = refiner.refine_all([(region.start, region.end) for region in regions])
    return [
        replace(region, start=start, end=end) for region, (start, end) in zip(regions, spans, strict=True)
    ]


def _tags(
    control: Control, fitted: ControlHead, found: NDArray[np.float32], regions: Sequence[RegionsFound]
) -> tuple[tuple[tuple[str, float], ...], dict[str, float]]:
    """Tags of one control, likeliest first, and each label's probability, from those of the clip ``[C]``."""
    columns = _columns(control, fitted)
    labels, whole = [fitted.labels[column] for column in columns], found[columns]
    said = _by_label(control, fitted, found)
    if control.kind == "single":
        likeliest = int(whole.argmax())
        clear = _tells_apart(control, fitted, whole)[likeliest]
        said, choice = agreed_choice(control, fitted, said, labels[likeliest] if clear else None, regions)
        return ((choice, said[choice]),) if choice is not None else (), said
    thresholds = dict(zip(labels, fitted.thresholds[columns].tolist(), strict=True))
    said, ticked = agreed_tags(control, fitted, said, thresholds, regions)
    shown = [(label, value) for label, value in said.items() if label in ticked or value >= thresholds[label]]
    return tuple(sorted(shown, key=lambda tag: -tag[1])), said


def _columns(control: Control, fitted: ControlHead) -> list[int]:
    """Where the labels that the label config still has are among those of the head."""
    return [column for column, label in enumerate(fitted.labels) if label in control.labels]


def _by_label(control: Control, fitted: ControlHead, found: NDArray[np.float32]) -> dict[str, float]:
    """Probabilities of the clip ``[C]``, by label."""
    return {fitted.labels[column]: float(found[column]) for column in _columns(control, fitted)}


def _strengths(regions: Sequence[DetectedRegion]) -> dict[str, float]:
    """The best score of each label's regions."""
    strengths: dict[str, float] = {}
    for region in regions:
        strengths[region.label] = max(region.score, strengths.get(region.label, 0.0))
    return strengths


def _probabilities(
    heads: Sequence[ControlHead], pool: Pool, frame_rate: float, frames: NDArray[np.floating[Any]]
) -> list[NDArray[np.float32]]:
    """What each head says of its labels: ``[T, C]`` of every frame, or ``[1, C]`` of the clip for tags.

    Embeddings are the same for all heads, and cost more than all that is said about them.
    """
    with_regions = [head for head in heads if head.kind == "regions"]
    curves = iter(frame_probabilities(with_regions, pool, frame_rate, frames) if with_regions else ())
    clip = pool(frames)[None] if len(with_regions) < len(heads) else np.empty((0, 0), dtype=np.float32)
    return [next(curves) if head.kind == "regions" else head.probabilities(clip) for head in heads]


def frame_probabilities(
    heads: Sequence[ControlHead], pool: Pool, frame_rate: float, frames: NDArray[np.floating[Any]]
) -> list[NDArray[np.float32]]:
    """For each head, probabilities float32 ``[T, C]`` of its labels in each frame of ``[T, D]``.

    They are means over the windows on a frame, which are pooled once for all heads. A window counts as
    positive in training from half an overlap on, so the mean passes one half where the sound starts and ends.
    """
    count = len(frames)
    length = window_length(frame_rate, count)
    starts = window_starts(frame_rate, count)
    sums = [np.zeros((count + 1, len(head.labels))) for head in heads]
    covered = np.zeros((count + 1, 1))
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        batch = starts[first : first + WINDOWS_AT_ONCE]
        embeddings = pool_windows(pool, frames, batch, length)
        # Each window adds from its first frame on and takes away after its last
        for head, sum_of_head in zip(heads, sums, strict=True):
            found = head.probabilities(embeddings)
            sum_of_head[batch] += found
            sum_of_head[batch + length] -= found
        covered[batch] += 1
        covered[batch + length] -= 1
    windows = np.cumsum(covered, axis=0)[:-1]
    means = [np.cumsum(sum_of_head, axis=0)[:-1] / windows for sum_of_head in sums]
    return [np.clip(mean, 0.0, 1.0).astype(np.float32) for mean in means]


def find_regions(
    curve: NDArray[np.float32], threshold: float, frame_rate: float, duration: float
) -> list[tuple[float, float, float]]:
    """Onset, offset (seconds) and mean probability of each stretch where one label sounds.

    Parameters
    ----------
    curve
        Probabilities ``[T]``.
    threshold
        Probability that a stretch must reach somewhere.
    """
    return [
        (*span, float(curve[first:last].mean()))
        for first, last in find_stretches(curve, threshold, frame_rate)
        if (span := _seconds(first, last, len(curve), frame_rate, duration))
    ]


def find_stretches(curve: NDArray[np.float32], threshold: float, frame_rate: float) -> list[tuple[int, int]]:
    """First frame and the one after the last of each stretch where a label sounds (see `find_regions`)."""
    found = runs(curve >= KEEP_SHARE_OF_THRESHOLD * threshold)
    merged: list[tuple[int, int]] = []
    for first, last in found:
        if curve[first:last].max() < threshold:
            continue
        if merged and (first - merged[-1][1]) / frame_rate <= MERGE_GAP_SECONDS:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def _seconds(
    first: int, last: int, count: int, frame_rate: float, duration: float
) -> tuple[float, float] | None:
    """Onset and offset of a stretch of so many frames; None where it is too short to be shown."""
    start = first / frame_rate
    # The last frame may reach past the end, or its rounded-down count end before it
    end = duration if last == count else min(last / frame_rate, duration)
    return (start, end) if end - start >= min(MIN_REGION_SECONDS, duration) and end > start else None


def _tells_apart(
    control: Control, fitted: ControlHead, probabilities: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which labels ``[C]`` of a single choice are likely enough to be shown.

    Chance is one of the labels in the label config, whether they were learned or not. A head that
    knows one label alone gives it all of the probability, and tells nothing by it.
    """
    chance = 1 / len(control.labels)
    floor = chance + CHOICE_MARGIN * (1 - chance)
    return (probabilities >= floor) & (len(fitted.labels) > 1)


def _certainty(control: Control, probabilities: NDArray[np.float32]) -> float:
    if control.kind == "single":
        if len(probabilities) < 2:
            return 0.0
        second, first = np.sort(probabilities)[-2:]
        return float(first - second)
    return float(np.abs(2 * probabilities - 1).min())
