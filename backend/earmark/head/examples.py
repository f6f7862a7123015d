"""From annotated clips to training examples: embeddings, targets and weights for one control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.windows import Pool, frames_between, pool_stretches, window_length, window_starts
from earmark.labels.control import Control, learned_controls
from earmark.labels.region import Region

PRESENT_SHARE = 0.6
"""A label is in a window when this share of the window, or of a shorter region, is in both."""
ABSENT_SHARE = 0.4
"""Up to this share it is not; between the two, the window is no evidence about the label. As far below
one half as the other is above, so that probabilities pass one half at onset and offset."""
MAX_WINDOWS = 1600
"""Windows over all clips of a control; more of them are so alike that they only cost time."""
MIN_WINDOWS_OF_CLIP = 16
MAX_WINDOWS_OF_CLIP = 160
STRONG_NEGATIVE_WEIGHT = 2.0
"""Weight of a label that an annotator denied in a region, relative to one that was merely not drawn there."""
REGION_WEIGHT_SHARE = 0.5
"""Weight of a clip's regions, pooled each as a whole, relative to its windows."""
EQUAL_WEIGHT_SECONDS = 10.0
"""Longer clips weigh more by the square root: they hold more, and their windows are alike."""


@dataclass(frozen=True)
class AnnotatedClip:
    """One annotator's submitted annotation of one sound.

    ``frames``: ``[T, D]`` of the whole sound. ``duration``: seconds. ``group``: the recording it was
    cut from; clips of one group are never on both sides of an evaluation. ``regions`` has an entry
    for each regions control of the annotation: an empty tuple means that none of its labels sounds.
    ``tags`` likewise for controls of the whole clip. For controls of each region, ``regions`` holds the
    regions with what was chosen for them. ``weight`` is that of the whole annotation; a region's own
    weight and ``tag_weights`` (of each tags control, 1 by default) multiply it. ``open_tags``: labels of
    which nothing was said. ``label_weights``: of each control, how far labels are trusted that other
    annotators of the sound contradict. ``levels``: the sound's band levels, where they were measured.
    """

    frames: NDArray[np.floating[Any]]
    duration: float
    group: str
    weight: float = 1.0
    regions: dict[str, tuple[Region, ...]] = field(default_factory=dict)
    tags: dict[str, frozenset[str]] = field(default_factory=dict)
    tag_weights: dict[str, float] = field(default_factory=dict)
    levels: NDArray[np.uint8] | None = None
    open_tags: dict[str, frozenset[str]] = field(default_factory=dict)
    label_weights: dict[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Examples:
    """Training matrices of one control.

    ``embeddings`` float32 ``[n, E]``, ``targets`` bool ``[n, C]`` in the order of ``labels``,
    ``weights`` float64 ``[n, C]`` (0 where a row is no evidence about a label), ``groups`` ``[n]``
    and ``is_unit`` bool ``[n]``: a window or clip as in prediction, not a whole region.
    """

    labels: tuple[str, ...]
    embeddings: NDArray[np.float32]
    targets: NDArray[np.bool_]
    weights: NDArray[np.float64]
    groups: NDArray[np.str_]
    is_unit: NDArray[np.bool_]


_Rows = tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]
"""Rows of one clip: first frames and those after the last ``[n, 2]``, targets, weights, and `is_unit`."""


def build_all(
    pool: Pool, frame_rate: float, controls: Sequence[Control], clips: Sequence[AnnotatedClip]
) -> dict[str, Examples | None]:
    """`build_examples` of each control that is learned, by the name of its head."""
    return {
        control.name: build_examples(pool, frame_rate, control, clips)
        for control in learned_controls(controls)
    }


def build_examples(
    pool: Pool, frame_rate: float, control: Control, clips: Sequence[AnnotatedClip]
) -> Examples | None:
    """Examples of ``control`` from every clip that was annotated for it, or None without any.

    Regions: windows as at prediction time, and each region as a whole; time without a label is an
    example of no label. Tags: one example for each clip, or for each region. Several annotators of one
    sound together weigh as much as one. The result depends on nothing but the arguments: subsampling is
    regular.

    Parameters
    ----------
    pool
        `Encoder.pool`.
    frame_rate
        Frames per second of the clips' frames.
    """
    name = control.name
    if control.type.draws_regions:
        submitted = [clip for clip in clips if name in clip.regions and clip.weight > 0]
    elif control.type.per_region:
        submitted = [clip for clip in clips if _inside(clip, name) and clip.weight > 0]
    else:
        submitted = [
            clip
            for clip in clips
            if clip.weight > 0
            and name in clip.tags
            and control.type.is_answer(clip.tags[name] & set(control.labels))
        ]
    if not submitted:
        return None
    most = int(np.clip(MAX_WINDOWS // len(submitted), MIN_WINDOWS_OF_CLIP, MAX_WINDOWS_OF_CLIP))
    parts: list[_Rows] = []
    for clip, weight in zip(submitted, _task_weights(submitted), strict=True):
        if control.type.draws_regions:
            parts.append(_region_rows(frame_rate, control, clip, weight, most))
        elif control.type.per_region:
            parts.append(_region_choice_rows(frame_rate, control, clip, weight, most))
        else:
            trust = clip.tag_weights.get(name, 1.0)
            parts.append(_tag_row(control, clip, weight * trust))
    for clip, (_, _, row_weights, _) in zip(submitted, parts, strict=True):
        if contested := clip.label_weights.get(name):
            row_weights *= [contested.get(label, 1.0) for label in control.labels]
    targets, weights, is_unit = (np.concatenate([part[k] for part in parts]) for k in (1, 2, 3))
    embeddings = pool_stretches(pool, [clip.frames for clip in submitted], [part[0] for part in parts])
    groups = np.repeat([clip.group for clip in submitted], [len(part[0]) for part in parts])
    return Examples(control.labels, embeddings, targets, weights, groups, is_unit)


def _task_weights(clips: Sequence[AnnotatedClip]) -> list[float]:
    """Weights in which the annotators of one sound share the weight of one."""
    shared: dict[tuple[str, int, float, bytes], list[AnnotatedClip]] = {}
    keys = []
    for clip in clips:
        # One recording may be cut into several tasks, so its group alone does not identify a task
        edge = np.ascontiguousarray(clip.frames[[0, len(clip.frames) // 2, -1]]).tobytes()
        keys.append((clip.group, len(clip.frames), clip.duration, edge))
        shared.setdefault(keys[-1], []).append(clip)
    weights = []
    for clip, key in zip(clips, keys, strict=True):
        weights_of_sound = [sharing.weight for sharing in shared[key]]
        weights.append(clip.weight * min(1.0, max(1.0, *weights_of_sound) / sum(weights_of_sound)))
    return weights


def _tag_row(control: Control, clip: AnnotatedClip, weight: float) -> _Rows:
    chosen = clip.tags[control.name]
    targets = np.array([[label in chosen for label in control.labels]], dtype=bool)
    whole = np.array([[0, len(clip.frames)]], dtype=np.intp)
    answered = [[label not in clip.open_tags.get(control.name, ()) for label in control.labels]]
    return whole, targets, np.array(answered) * weight, np.ones(1, dtype=bool)


def _inside(clip: AnnotatedClip, control: str) -> list[Region]:
    """Regions of a control that begin in the clip."""
    return [r for r in clip.regions.get(control, ()) if r.start < min(r.end, clip.duration)]


def _region_choice_rows(
    frame_rate: float, control: Control, clip: AnnotatedClip, weight: float, most: int
) -> _Rows:
    """At most ``most`` regions of one clip, each as a whole, with what was chosen for it."""
    regions = _inside(clip, control.name)
    regions = [regions[index] for index in _evenly(len(regions), min(most, len(regions)))]
    spans = [frames_between(r.start, r.end, frame_rate, len(clip.frames)) for r in regions]
    targets = np.array([[label in r.labels for label in control.labels] for r in regions], dtype=bool)
    weights = np.array([np.full(len(control.labels), weight * r.weight) for r in regions])
    return np.array(spans, dtype=np.intp), targets, weights, np.ones(len(regions), dtype=bool)


def _region_rows(frame_rate: float, control: Control, clip: AnnotatedClip, weight: float, most: int) -> _Rows:
    """Windows, at most ``most`` of them, and regions of one clip, which together weigh ``weight``."""
    count = len(clip.frames)
    length = window_length(frame_rate, count)
    regions = _inside(clip, control.name)
    starts = window_starts(frame_rate, count)
    begins, ends = starts / frame_rate, (starts + length) / frame_rate
    present, unsure, trust = _labels_in(begins, ends, control, regions)
    windows, shares = _subsample(np.any(present | unsure | (trust > 1), axis=1), most)
    total = weight * np.sqrt(max(1.0, clip.duration / EQUAL_WEIGHT_SECONDS))
    stretches = [np.stack([starts[windows], starts[windows] + length], axis=1)]
    targets, row_weights = [present[windows]], [~unsure[windows] * trust[windows] * (total * shares)[:, None]]

    whole = [region for region in regions if (region.labels | region.absent) & set(control.labels)]
    if whole:
        spans = [frames_between(region.start, region.end, frame_rate, count) for region in whole]
        stretches.append(np.array(spans, dtype=np.intp))
        region_present, region_unsure, region_trust = _labels_in(
            np.array([region.start for region in whole]),
            np.array([region.end for region in whole]),
            control,
            regions,
        )
        targets.append(region_present)
        row_weights.append(~region_unsure * region_trust * (total * REGION_WEIGHT_SHARE / len(whole)))
    is_unit = np.arange(len(windows) + len(whole)) < len(windows)
    return np.concatenate(stretches), np.concatenate(targets), np.concatenate(row_weights), is_unit


def _labels_in(
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
    control: Control,
    regions: Sequence[Region],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    """Presence, uncertainty and trust of each label in time spans: ``[n, C]`` each.

    Trust is the weight of the most trusted region that makes a label present, `STRONG_NEGATIVE_WEIGHT` where
    a region denies it, and 1 elsewhere. In a region that leaves other labels open, all of them are uncertain.
    """
    share = np.zeros((len(begins), len(control.labels)))
    trust = np.zeros_like(share)
    denied, is_open = np.zeros(share.shape, dtype=bool), np.zeros((len(begins), 1), dtype=bool)
    columns = {label: column for column, label in enumerate(control.labels)}
    for region in regions:
        common = np.minimum(ends, region.end) - np.maximum(begins, region.start)
        shorter = np.minimum(ends - begins, region.end - region.start)
        part = np.clip(common / shorter, 0.0, 1.0)
        weight = np.where(part >= PRESENT_SHARE, region.weight, 0.0)
        for label in region.labels & columns.keys():
            column = columns[label]
            share[:, column] = np.maximum(share[:, column], part)
            trust[:, column] = np.maximum(trust[:, column], weight)
        for label in region.absent & columns.keys():
            denied[:, columns[label]] |= part >= PRESENT_SHARE
        if region.is_open:
            is_open[:, 0] |= common > ABSENT_SHARE * (ends - begins)
    present = share >= PRESENT_SHARE
    denied &= ~present
    unsure = ((share > ABSENT_SHARE) | is_open) & ~present & ~denied
    return present, unsure, np.where(present, trust, np.where(denied, STRONG_NEGATIVE_WEIGHT, 1.0))


def _subsample(sounding: NDArray[np.bool_], most: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Subsample at most ``most`` windows, evenly spread; with the share of the clip that each stands for.

    Where both kinds occur, windows with and without a label get half of the places each.
    """
    kinds = [np.flatnonzero(sounding), np.flatnonzero(~sounding)]
    smaller = min(len(kind) for kind in kinds)
    places = [min(len(kind), max(most // 2, most - smaller)) for kind in kinds]
    if len(sounding) <= most:
        places = [len(kind) for kind in kinds]
    selected, shares = [], []
    for kind, count in zip(kinds, places, strict=True):
        if count:
            selected.append(kind[_evenly(len(kind), count)])
            shares.append(np.full(count, len(kind) / count / len(sounding)))
    order = np.argsort(np.concatenate(selected))
    return np.concatenate(selected)[order], np.concatenate(shares)[order]


def _evenly(available: int, count: int) -> NDArray[np.intp]:
    """``count`` different indices spread over ``range(available)``."""
    return ((np.arange(count) + 0.5) * available / count).astype(np.intp)
