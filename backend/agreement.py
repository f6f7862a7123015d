"""How far several annotators of the same tasks agree, label by label."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import krippendorff
import numpy as np
from numpy.typing import NDArray

from backend.clips import Heard
from backend.labelstudio.config import Control
from backend.regions import Region

BIN_SECONDS = 1.0
"""Regions are compared as present or absent in each second, the segment length of sed_eval: shorter
ones would count differences at the edges, on which nobody agrees, as disagreement about the label."""


def label_agreement(controls: Sequence[Control], heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
    """Krippendorff's alpha of each label, over tasks with two annotators or more.

    Units are tasks for tags and seconds of tasks for regions; each annotator's value is whether the
    label is there (nominal). 1 is perfect agreement, 0 that of chance, below it is systematic
    disagreement. Who annotated a task twice counts with the later annotation.

    Returns
    -------
    Alpha by control and label; labels on which it is not defined, because all values are the same
    or nothing was annotated twice, are left out.
    """
    tasks: dict[int, dict[object, Heard]] = defaultdict(dict)
    for one in heard:
        annotator = one.annotation.completed_by
        key = ("annotation", one.annotation.annotation_id) if annotator is None else annotator
        tasks[one.task.task_id][key] = one
    shared = [list(annotators.values()) for annotators in tasks.values() if len(annotators) > 1]
    found = {}
    for control in controls:
        counts = [_counts(control, annotators) for annotators in shared]
        units = [count for count in counts if count is not None]
        if units:
            found[control.name] = _alphas(control, np.concatenate(units))
    return {name: alphas for name, alphas in found.items() if alphas}


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


def _counts(control: Control, annotators: Sequence[Heard]) -> NDArray[np.int64] | None:
    """Present and absent in each unit of one task ``[units, labels, 2]``; None for fewer than two."""
    if control.kind == "regions":
        sounds = [one.sounds[control.data_key] for one in annotators if control.data_key in one.sounds]
        if len(sounds) < len(annotators):
            return None
        bins = math.ceil(sounds[0].duration / BIN_SECONDS)
        values = [_presence(control, one.read.regions[control.name], bins) for one in annotators]
    else:
        chosen = [one.read.tags[control.name] for one in annotators if control.name in one.read.tags]
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
