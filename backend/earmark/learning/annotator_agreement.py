"""Annotator agreement: Krippendorff's alpha of each label, and pairs of annotators who disagree."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import krippendorff
import numpy as np
from numpy.typing import NDArray

from earmark.labels.control import Control
from earmark.labels.region import Region
from earmark.learning.annotated_clips import AnnotatedSound

BIN_SECONDS = 1.0
"""Regions are compared as present or absent in each second, the segment length of sed_eval: shorter
ones would count differences at the edges, which are never equal, as disagreement about the label."""

LEAST_COMMON = 0.5
"""Two annotators agree on the regions of a task where both mark this share of what either marks."""
TASKS_LISTED = 100
PAIRS_LISTED = 20


@dataclass
class Disagreement:
    """Two annotators who differ on a control.

    ``annotators``: their user ids in Label Studio, None where unknown. ``shared``: how many tasks
    both annotated. ``differing``: on how many of them they differ, of which ``tasks`` names at most
    `TASKS_LISTED`, and ``task_labels`` the labels that differ in each of these. ``labels``: on how many tasks
    they differ about each label.
    """

    control: str
    annotators: tuple[int | None, int | None]
    shared: int = 0
    differing: int = 0
    tasks: list[int] = field(default_factory=list)
    task_labels: list[list[str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    settled: int = 0
    """On how many further tasks they differ that a ground-truth or reviewed annotation settles."""


def disagreements(controls: Sequence[Control], annotated: Sequence[AnnotatedSound]) -> list[Disagreement]:
    """Pairs of annotators who differ on tasks that both annotated, those who differ most often first."""
    pairs = annotator_pairs(controls, annotated)
    return [pair for pair in pairs[:PAIRS_LISTED] if pair.differing]


def settling(annotators: Sequence[AnnotatedSound]) -> list[AnnotatedSound]:
    """Return the annotations of a task that decide its conflicts: ground truth, else reviewed ones."""
    ground_truth = [each for each in annotators if each.annotation.ground_truth]
    return ground_truth or [each for each in annotators if each.annotation.reviewed]


def annotator_pairs(controls: Sequence[Control], annotated: Sequence[AnnotatedSound]) -> list[Disagreement]:
    """Pairs of annotators with tasks that both annotated, those who differ most often first.

    Tags differ where other ones were chosen, regions where less than `LEAST_COMMON` of the marked seconds
    and labels is common to both.
    """
    pairs: dict[tuple[str, int | None, int | None], Disagreement] = {}
    for task, annotators in sorted(annotators_by_task(annotated).items()):
        for control in controls:
            for first, second in combinations(sorted(annotators, key=_annotator_order), 2):
                labels = differing_labels(control, first, second)
                if labels is None:
                    continue
                annotators_of_pair = first.annotation.completed_by, second.annotation.completed_by
                pair = pairs.setdefault(
                    (control.name, *annotators_of_pair), Disagreement(control.name, annotators_of_pair)
                )
                pair.shared += 1
                if labels and settling(annotators):
                    pair.settled += 1
                elif labels:
                    pair.differing += 1
                    pair.labels.update({label: pair.labels.get(label, 0) + 1 for label in labels})
                    if len(pair.tasks) < TASKS_LISTED:
                        pair.tasks.append(task)
                        pair.task_labels.append(labels)
    return sorted(pairs.values(), key=lambda pair: -pair.differing)


def label_agreement(
    controls: Sequence[Control], annotated: Sequence[AnnotatedSound]
) -> dict[str, dict[str, float]]:
    """Krippendorff's alpha of each label, over tasks with two annotators or more.

    Units are tasks for tags and seconds of tasks for regions; each annotator's value is whether the
    label is there (nominal). 1 is perfect agreement, 0 that of chance, below it is systematic
    disagreement. Of an annotator's several annotations of a task, the latest counts.

    Returns
    -------
    Alpha by control and label; labels on which it is not defined, because all values are the same
    or nothing was annotated twice, are left out.
    """
    shared = list(annotators_by_task(annotated).values())
    alphas_by_control = {}
    for control in controls:
        counts = [_counts(control, annotators) for annotators in shared]
        units = [count for count in counts if count is not None]
        if units:
            alphas_by_control[control.name] = _alphas(control, np.concatenate(units))
    return {name: alphas for name, alphas in alphas_by_control.items() if alphas}


def annotators_by_task(annotated: Sequence[AnnotatedSound]) -> dict[int, list[AnnotatedSound]]:
    """Return the latest annotation of each annotator, by task, of tasks with several annotators."""
    tasks: dict[int, dict[object, AnnotatedSound]] = defaultdict(dict)
    for annotated_sound in annotated:
        annotator = annotated_sound.annotation.completed_by
        key = ("annotation", annotated_sound.annotation.annotation_id) if annotator is None else annotator
        tasks[annotated_sound.task.task_id][key] = annotated_sound
    return {task: list(annotators.values()) for task, annotators in tasks.items() if len(annotators) > 1}


def _annotator_order(annotated_sound: AnnotatedSound) -> tuple[int, int]:
    annotator = annotated_sound.annotation.completed_by
    return (-1 if annotator is None else annotator, annotated_sound.annotation.annotation_id)


def differing_labels(control: Control, first: AnnotatedSound, second: AnnotatedSound) -> list[str] | None:
    """Labels about which two annotators of a task disagree; None where they cannot be compared."""
    counts = _counts(control, [first, second])
    if counts is None:
        return None
    common, marked = counts[..., 0] == 2, counts[..., 0] > 0
    least = 1.0 if control.type.of_clip else LEAST_COMMON
    agree = common.sum() >= least * marked.sum()
    columns = np.flatnonzero((common != marked).any(axis=0))
    return [] if agree else [control.labels[column] for column in columns]


def _alphas(control: Control, counts: NDArray[np.int64]) -> dict[str, float]:
    """Alpha of each label from ``counts`` ``[units, labels, 2]``: how many said present, and absent."""
    alphas = {}
    for column, label in enumerate(control.labels):
        values = counts[:, column]
        if (values.sum(axis=0) > 0).all():
            alpha = krippendorff.alpha(value_counts=values, level_of_measurement="nominal")
            if math.isfinite(alpha):
                alphas[label] = float(alpha)
    return alphas


def _counts(control: Control, annotators: Sequence[AnnotatedSound]) -> NDArray[np.int64] | None:
    """Present and absent in each unit of one task ``[units, labels, 2]``; None for fewer than two."""
    if not control.type.of_clip:
        sounds = [
            annotated_sound.sounds[control.data_key]
            for annotated_sound in annotators
            if control.data_key in annotated_sound.sounds and control.name in annotated_sound.read.regions
        ]
        if len(sounds) < len(annotators):
            return None
        bins = math.ceil(sounds[0].duration / BIN_SECONDS)
        values = [
            _presence(control, annotated_sound.read.regions[control.name], bins)
            for annotated_sound in annotators
        ]
    else:
        chosen = [
            annotated_sound.read.tags[control.name]
            for annotated_sound in annotators
            if control.name in annotated_sound.read.tags
        ]
        values = [np.array([[label in tags for label in control.labels]]) for tags in chosen]
    if len(values) < 2:
        return None
    present = np.sum(values, axis=0, dtype=np.int64)
    return np.stack([present, len(values) - present], axis=-1)


def _presence(control: Control, regions: Sequence[Region], bins: int) -> NDArray[np.bool_]:
    present = np.zeros((bins, len(control.labels)), dtype=bool)
    for region in regions:
        first, last = int(region.start / BIN_SECONDS), math.ceil(region.end / BIN_SECONDS)
        present[first:last, [control.labels.index(label) for label in region.labels]] = True
    return present
