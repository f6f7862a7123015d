"""Postprocessing: frames of a recording to regions with onset and offset, tags, and a certainty score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.model import ControlHead, Head
from earmark.head.windows import Pool, frames_between
from earmark.labels.control import Control
from earmark.prediction.frame_probabilities import frame_probabilities
from earmark.prediction.overlap import suppress_overlaps
from earmark.prediction.region_candidates import (
    AUDIBLE_SHARE,
    Candidates,
    find_candidates,
    scorer_of,
)
from earmark.prediction.region_choice import LEAST_GAIN_SHOWN, choose_candidates
from earmark.prediction.separation import joined, spanning_two_events
from earmark.prediction.stretches import find_stretches, span_seconds
from earmark.prediction.tag_agreement import (
    RegionStrengths,
    TagProbabilities,
    agreed_choice,
    agreed_tags,
    doubted_labels,
)

CHOICE_MARGIN = 0.1
"""Share of the way from chance to certainty that a single choice's probability must reach to be shown.

A guess costs more than an empty choice: it looks like an answer, tends to be submitted unchanged, and is
then trained on. An empty one takes the same one click as a wrong one.
"""
MOST_REGIONS = 1000
"""Largest number of regions of one control in one task; those that save most work are shown, because Label
Studio's editor is slow to draw more."""
SURE_SCORE = 0.5
"""Mean probability from which a region is shown whatever its tag's: a clip's tags miss short sounds."""


@dataclass(frozen=True)
class DetectedRegion:
    """One label from ``start`` to ``end`` (seconds); ``score``: mean probability over that time."""

    control: str
    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class RegionTags:
    """Predicted labels of a per-region control for one region, with probabilities, likeliest first."""

    control: str
    region: DetectedRegion
    tags: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ClipPrediction:
    """Prediction of one recording, consistent across controls.

    ``regions``: in order of time. ``tags``: for each control of the whole clip, labels with their
    probability, likeliest first. ``probabilities``: for each control, every learned label's
    probability of occurring anywhere in the clip; for tags, updated by regions of the same names.
    ``score``: certainty in [0, 1], the mean over controls of the margin between the two likeliest
    choices, or of the least certain label's distance from 1/2; 0 where nothing was learned.
    ``left_out``: regions beyond `MOST_REGIONS`.
    """

    regions: tuple[DetectedRegion, ...]
    tags: dict[str, tuple[tuple[str, float], ...]]
    probabilities: dict[str, dict[str, float]]
    score: float
    region_tags: tuple[RegionTags, ...] = ()
    left_out: int = 0


def predict_clip(
    head: Head,
    controls: Sequence[Control],
    pool: Pool,
    frame_rate: float,
    frames: NDArray[np.floating[Any]],
    duration: float,
    levels: NDArray[np.uint8] | None = None,
) -> ClipPrediction:
    """Predict one recording with ``head``, for the current ``controls``.

    Parameters
    ----------
    head
        Fitted on embeddings of the same encoder. Labels and controls that are not in the label config any
        more, or of another type there, are left out.
    pool, frame_rate
        Of that encoder; ``frame_rate`` in Hz.
    frames
        ``[T, D]``, T >= 1. Memory beyond them is that of the probabilities ``[T, C]``.
    duration
        Length of the recording in seconds; no region ends later.
    levels
        Band levels of the recording, by which edges of regions are found; without them they lie on frames.
    """
    regions: list[DetectedRegion] = []
    left_out = 0
    tags: dict[str, tuple[tuple[str, float], ...]] = {}
    probabilities: dict[str, dict[str, float]] = {}
    heads = [
        (control, fitted)
        for control, fitted in ((control, head_of(head, control)) for control in controls)
        if fitted is not None and fitted.type is control.type and set(fitted.labels) & set(control.labels)
    ]
    per_region = [pair for pair in heads if pair[0].type.per_region]
    heads = [pair for pair in heads if not pair[0].type.per_region]
    outputs = _probabilities([fitted for _, fitted in heads], pool, frame_rate, frames)
    tag_probabilities = [
        TagProbabilities(control, fitted, _by_label(control, fitted, output[0]))
        for (control, fitted), output in zip(heads, outputs, strict=True)
        if not control.type.draws_regions
    ]
    region_strengths: list[RegionStrengths] = []
    for (control, fitted), output in zip(heads, outputs, strict=True):
        if control.type.draws_regions:
            doubted = doubted_labels(control, tag_probabilities)
            if levels is None:
                detected = _regions_on_frames(control, fitted, output, doubted, frame_rate, duration)
            else:
                candidates = find_candidates(fitted, output, pool, frame_rate, frames, levels, duration)
                detected = _regions_of(control, fitted, candidates, doubted, duration)
            by_label = _by_label(control, fitted, output.max(axis=0))
            left_out += max(0, len(detected) - MOST_REGIONS)
            detected = detected[:MOST_REGIONS]
            regions += detected
            probabilities[control.name] = by_label
            region_strengths.append(RegionStrengths(control, frozenset(by_label), _strengths(detected)))
    for (control, fitted), output in zip(heads, outputs, strict=True):
        if not control.type.draws_regions:
            tags[control.name], by_label = _tags(control, fitted, output[0], region_strengths)
            probabilities[control.name] = by_label
    # In the order of the controls, whatever order they were predicted in
    probabilities = {control.name: probabilities[control.name] for control, _ in heads}
    certainties = [
        control.type.certainty(np.array(list(probabilities[control.name].values()))) for control, _ in heads
    ]
    regions.sort(key=lambda region: (region.start, region.end, region.control, region.label))
    score = float(np.clip(np.mean(certainties), 0.0, 1.0)) if certainties else 0.0
    region_tags = _all_region_tags(per_region, controls, regions, pool, frame_rate, frames)
    return ClipPrediction(tuple(regions), tags, probabilities, score, tuple(region_tags), left_out)


def head_of(head: Head, control: Control) -> ControlHead | None:
    """Return a control's head, with the threshold that the label config sets, if it does."""
    fitted = head.controls.get(control.head_name)
    if fitted is None or control.threshold is None:
        return fitted
    return replace(fitted, thresholds=np.full_like(fitted.thresholds, control.threshold))


def _all_region_tags(
    heads: Sequence[tuple[Control, ControlHead]],
    controls: Sequence[Control],
    regions: Sequence[DetectedRegion],
    pool: Pool,
    frame_rate: float,
    frames: NDArray[np.floating[Any]],
) -> list[RegionTags]:
    """Return the labels of each region, from the region's own stretch, for the controls that it may have."""
    if not heads:
        return []
    by_name = {control.name: control for control in controls}
    region_tags = []
    for region in regions:
        drawing = by_name[region.control]
        names = frozenset({region.label, drawing.shown.get(region.label, region.label)})
        admitting = [
            (control, fitted)
            for control, fitted in heads
            if control.to_name == drawing.to_name
            and all(condition.admits(drawing.from_name, names) for condition in control.conditions)
        ]
        if not admitting:
            continue
        first, last = frames_between(region.start, region.end, frame_rate, len(frames))
        embedding = pool(frames[first:last])[None]
        for control, fitted in admitting:
            tags, _ = _tags(control, fitted, fitted.probabilities(embedding)[0], ())
            if tags:
                region_tags.append(RegionTags(control.name, region, tags))
    return region_tags


def _regions_of(
    control: Control,
    fitted: ControlHead,
    candidates: Candidates,
    doubted: frozenset[str],
    duration: float,
) -> list[DetectedRegion]:
    """Return the regions that are worth showing, the most valuable first.

    ``doubted``: labels whose regions must reach `SURE_SCORE`.
    """
    scorer = scorer_of(fitted)
    spans, columns = candidates.spans, candidates.columns
    gains = scorer.expected_gains(candidates.features, columns)
    unlikely = np.array([label in doubted for label in fitted.labels])[columns]
    least = np.where(unlikely, SURE_SCORE, scorer.least)
    gains = np.where(candidates.probabilities < least, -np.inf, gains)
    if control.threshold is not None:
        shown = candidates.probabilities >= control.threshold
        gains = np.where(shown, np.maximum(gains, LEAST_GAIN_SHOWN + candidates.probabilities), -np.inf)
    usable = gains > LEAST_GAIN_SHOWN
    spanning = spanning_two_events(candidates.refiner, spans, columns, usable, scorer.gaps)
    chosen = choose_candidates(np.where(spanning, -np.inf, gains), spans, columns, fitted.overlap_factors)
    shown_columns = set(_columns(control, fitted))
    audible = candidates.features[:, AUDIBLE_SHARE]
    events = [
        event
        for event in joined(chosen, spans, columns, scorer.gaps, audible)
        if columns[event[0]] in shown_columns and spans[event[0], 0] < duration
    ]
    return [
        DetectedRegion(
            control.name,
            float(spans[event[0], 0]),
            min(float(spans[event[-1], 1]), duration),
            fitted.labels[columns[event[0]]],
            float(np.average(candidates.probabilities[event], weights=np.diff(spans[event])[:, 0])),
        )
        for event in events
    ]


def _regions_on_frames(
    control: Control,
    fitted: ControlHead,
    frame_output: NDArray[np.float32],
    doubted: frozenset[str],
    frame_rate: float,
    duration: float,
) -> list[DetectedRegion]:
    """Return the regions of a recording without band levels, with edges between frames, the likeliest first.

    ``frame_output``: probabilities ``[T, C]``. ``doubted``: labels whose regions must reach `SURE_SCORE`.
    """
    columns = _columns(control, fitted)
    labels = [fitted.labels[column] for column in columns]
    curves, thresholds = frame_output[:, columns], fitted.thresholds[columns]
    gaps = scorer_of(fitted).gaps[columns]
    factors = fitted.overlap_factors
    stretches = suppress_overlaps(
        curves,
        thresholds,
        None if factors is None else factors[np.ix_(columns, columns)],
        [
            (column, first, last)
            for column, (threshold, gap, curve) in enumerate(zip(thresholds, gaps, curves.T, strict=True))
            for first, last in find_stretches(curve, float(threshold), frame_rate, float(gap))
            if labels[column] not in doubted or curve[first:last].mean() >= SURE_SCORE
        ],
    )
    return [
        DetectedRegion(control.name, *span, labels[column], float(curves[first:last, column].mean()))
        for column, first, last in stretches
        if (span := span_seconds(first, last, len(curves), frame_rate, duration))
        and curves[first:last, column].mean() >= (control.threshold or 0.0)
    ]


def _tags(
    control: Control, fitted: ControlHead, clip: NDArray[np.float32], regions: Sequence[RegionStrengths]
) -> tuple[tuple[tuple[str, float], ...], dict[str, float]]:
    """Return one control's tags, likeliest first, and each label's probability, from the clip's ``[C]``."""
    columns = _columns(control, fitted)
    labels, by_column = [fitted.labels[column] for column in columns], clip[columns]
    probs = _by_label(control, fitted, clip)
    if control.type.exclusive:
        likeliest = control.type.likeliest(by_column)
        clear = _above_chance(control, fitted, by_column).any()
        probs, choice = agreed_choice(control, fitted, probs, labels[likeliest] if clear else None, regions)
        return ((choice, probs[choice]),) if choice is not None else (), probs
    thresholds = dict(zip(labels, fitted.thresholds[columns].tolist(), strict=True))
    probs, thresholds, ticked = agreed_tags(control, fitted, probs, thresholds, regions)
    # What is likely includes what is above it
    for label in list(probs):
        for above in control.with_ancestors([label]) & probs.keys():
            probs[above] = max(probs[above], probs[label])
    # A threshold that the label config sets asks for suggestions, whatever they cost
    if fitted.held_back and control.threshold is None:
        return (), probs
    labels_shown = control.with_ancestors(
        label for label, value in probs.items() if label in ticked or value >= thresholds[label]
    )
    shown = [(label, value) for label, value in probs.items() if label in labels_shown]
    return tuple(sorted(shown, key=lambda tag: -tag[1])), probs


def _columns(control: Control, fitted: ControlHead) -> list[int]:
    """Return the columns of the head's labels that are still in the label config."""
    return [column for column, label in enumerate(fitted.labels) if label in control.labels]


def _by_label(control: Control, fitted: ControlHead, clip: NDArray[np.float32]) -> dict[str, float]:
    """Return probabilities of the clip ``[C]`` by label."""
    return {fitted.labels[column]: float(clip[column]) for column in _columns(control, fitted)}


def _strengths(regions: Sequence[DetectedRegion]) -> dict[str, float]:
    """Return the best score of each label's regions."""
    strengths: dict[str, float] = {}
    for region in regions:
        strengths[region.label] = max(region.score, strengths.get(region.label, 0.0))
    return strengths


def _probabilities(
    heads: Sequence[ControlHead], pool: Pool, frame_rate: float, frames: NDArray[np.floating[Any]]
) -> list[NDArray[np.float32]]:
    """Return each head's probabilities: ``[T, C]`` for each frame, or ``[1, C]`` of the clip for tags.

    All heads share the embeddings, which cost more time than the heads.
    """
    with_regions = [head for head in heads if head.type.draws_regions]
    curves = iter(frame_probabilities(with_regions, pool, frame_rate, frames) if with_regions else ())
    clip = pool(frames)[None] if len(with_regions) < len(heads) else np.empty((0, 0), dtype=np.float32)
    return [next(curves) if head.type.draws_regions else head.probabilities(clip) for head in heads]


def _above_chance(
    control: Control, fitted: ControlHead, probabilities: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return which labels ``[C]`` of a single choice are likely enough to be shown.

    Chance is 1 / number of labels in the label config, learned or not. A head that has learned a single
    label gives it a probability of 1, which is no evidence.
    """
    chance = 1 / len(control.labels)
    floor = chance + CHOICE_MARGIN * (1 - chance) if control.threshold is None else control.threshold
    return (probabilities >= floor) & (len(fitted.labels) > 1)
