"""Figures of one control: per class and over all classes, with intervals, confusions and calibration.

Metrics are defined as in scikit-learn, for any number of labels, and computed on weighted rows: of all
sounds with weights of one, and of the resamples of an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.events import EventFigures, event_figures
from earmark.evaluation.intervals import Bootstrap, Figure, figure_of, ratios, with_support
from earmark.evaluation.predictions import Measured
from earmark.head.metrics import (
    CALIBRATION_BINS,
    aucs,
    average_precisions,
    calibration_bins,
    calibration_error,
)
from earmark.labels.control import Control
from earmark.labels.region_pairs import pair_regions

NONE = "(none)"
"""Row and column of a confusion matrix for what was annotated or shown without a counterpart."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one label over sounds, each from 0 to 1.

    ``support``: sounds that have it, ``recordings`` likewise. ``ap``: average precision, ``auc``: area under
    the ROC curve.
    """

    label: str
    support: int
    recordings: int
    precision: Figure | None = None
    recall: Figure | None = None
    f1: Figure | None = None
    ap: Figure | None = None
    auc: Figure | None = None


@dataclass(frozen=True)
class CalibrationBin:
    """Probabilities between two bounds: their mean, and how often the label was there."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class ControlFigures:
    """Figures of one control on the sounds of all splits.

    ``overall``: ``micro_f1``, ``macro_f1``, ``map`` … ``confusion``: annotated in rows, shown in columns, of
    ``confusion_labels``. ``events``: for regions. ``agreement``: Krippendorff's alpha of each label.
    """

    control: str
    kind: str
    sounds: int
    recordings: int
    classes: tuple[ClassFigures, ...]
    overall: dict[str, Figure]
    confusion_labels: tuple[str, ...]
    confusion: tuple[tuple[float, ...], ...]
    calibration: tuple[CalibrationBin, ...]
    calibration_error: float | None
    events: EventFigures | None = None
    agreement: dict[str, float] = field(default_factory=dict)


def control_figures(
    control: Control, measured: Sequence[Measured], agreement: dict[str, float] | None = None
) -> ControlFigures | None:
    """Return the figures of a control; None where no sound was annotated for it."""
    answered = [(sound, labels) for sound in measured if (labels := sound.true_labels(control)) is not None]
    if not answered:
        return None
    sounds = [sound for sound, _ in answered]
    truth = np.array([[label in labels for label in control.labels] for _, labels in answered], dtype=bool)
    shown_labels = [sound.shown_labels(control) for sound in sounds]
    shown = np.array([[label in labels for label in control.labels] for labels in shown_labels], dtype=bool)
    probabilities = np.array(
        [
            [sound.prediction.probabilities.get(control.name, {}).get(label, 0.0) for label in control.labels]
            for sound in sounds
        ]
    )
    recordings = [sound.placed.recording for sound in sounds]
    bootstrap = Bootstrap(recordings)
    precisions = np.stack(
        [
            bootstrap.values(partial(average_precisions, truth[:, k], probabilities[:, k]))
            for k in range(len(control.labels))
        ]
    )
    classes = _class_figures(control.labels, truth, shown, probabilities, precisions, bootstrap)
    predicted, observed = probabilities.ravel(), truth.ravel()
    error = calibration_error(observed, predicted)
    confused, matrix = _confusion(control, sounds)
    return ControlFigures(
        control.name,
        control.type.name,
        len(sounds),
        len(set(recordings)),
        classes,
        _overall(truth, shown, precisions, bootstrap),
        confused,
        matrix,
        _calibration(predicted, observed),
        float(error) if np.isfinite(error) else None,
        event_figures(control, sounds, bootstrap) if control.type.draws_regions else None,
        dict(agreement or {}),
    )


def _class_figures(
    labels: Sequence[str],
    truth: NDArray[np.bool_],
    shown: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    precisions: NDArray[np.float64],
    bootstrap: Bootstrap,
) -> tuple[ClassFigures, ...]:
    """Return the figures of each label that was annotated or shown.

    ``truth``, ``shown``, ``probabilities`` ``[n, C]``; ``precisions``: average precisions of each label,
    ``[C, 1 + B]`` (see `Bootstrap.values`).
    """
    rows = []
    for k, label in enumerate(labels):
        true, taken, scores = truth[:, k], shown[:, k], probabilities[:, k]
        if not true.any() and not taken.any():
            continue
        hit, support = true & taken, bootstrap.recordings_with(true)
        figures = (
            bootstrap.ratio(hit, taken),
            bootstrap.ratio(hit, true),
            bootstrap.ratio(2 * hit, true * 1 + taken),
            figure_of(precisions[k]),
            bootstrap.figure(partial(aucs, true, scores)),
        )
        rows.append(
            ClassFigures(
                label, int(true.sum()), support, *(with_support(figure, support) for figure in figures)
            )
        )
    return tuple(rows)


def _overall(
    truth: NDArray[np.bool_],
    shown: NDArray[np.bool_],
    precisions: NDArray[np.float64],
    bootstrap: Bootstrap,
) -> dict[str, Figure]:
    """Return micro and macro averages, as of `_class_figures`; macro ones are over the labels that occur."""
    hit, taken, true = (truth & shown).sum(axis=1), shown.sum(axis=1), truth.sum(axis=1)
    figures = {
        "micro_precision": bootstrap.ratio(hit, taken),
        "micro_recall": bootstrap.ratio(hit, true),
        "micro_f1": bootstrap.ratio(2 * hit, true + taken),
    }
    occurring = truth.any(axis=0)
    if occurring.any():
        a, b = truth[:, occurring], shown[:, occurring]
        figures["macro_f1"] = bootstrap.figure(lambda w: _means(ratios(2 * (w @ (a & b)), w @ a + w @ b)))
        figures["map"] = figure_of(_means(precisions[occurring].T))
    return {name: figure for name, figure in figures.items() if figure is not None}


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the finite values of each row ``[B, C]``; NaN without any."""
    finite = np.isfinite(values)
    return ratios(np.where(finite, values, 0.0).sum(axis=1), finite.sum(axis=1).astype(np.float64))


def _confusion(
    control: Control, sounds: Sequence[Measured]
) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    """Count what was shown for what was annotated, of tags by sound, of regions by overlap.

    A missed label beside wrong ones counts as taken for them, in equal parts.
    """
    place = {label: number for number, label in enumerate((*control.labels, NONE))}
    matrix = np.zeros((len(place), len(place)))
    nothing = place[NONE]
    for sound in sounds:
        for true, shown in _pairs(control, sound):
            for label in true & shown:
                matrix[place[label], place[label]] += 1
            missed, extra = sorted(true - shown), sorted(shown - true)
            for label in missed:
                for other in extra:
                    matrix[place[label], place[other]] += 1 / len(extra)
                if not extra:
                    matrix[place[label], nothing] += 1
            if not missed:
                for other in extra:
                    matrix[nothing, place[other]] += 1
    used = [k for k in range(len(place)) if matrix[k].any() or matrix[:, k].any()]
    names = list(place)
    return tuple(names[k] for k in used), tuple(tuple(map(float, matrix[k, used])) for k in used)


def _pairs(control: Control, sound: Measured) -> list[tuple[frozenset[str], frozenset[str]]]:
    offered = frozenset(control.labels)
    if not control.type.draws_regions:
        return [((sound.true_labels(control) or frozenset()), sound.shown_tags(control) & offered)]
    true = list(sound.clip.regions[control.name])
    shown = sound.shown_regions(control)
    pairs = pair_regions(true, shown, is_preferred=lambda a, b: bool(a.labels & b.labels))
    missed = set(range(len(true))) - {i for i, _ in pairs}
    extra = set(range(len(shown))) - {j for _, j in pairs}
    nothing = frozenset[str]()
    return [
        *((true[i].labels & offered, shown[j].labels & offered) for i, j in pairs),
        *((true[i].labels & offered, nothing) for i in sorted(missed)),
        *((nothing, shown[j].labels & offered) for j in sorted(extra)),
    ]


def _calibration(predicted: NDArray[np.float64], observed: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = calibration_bins(predicted)
    return tuple(
        CalibrationBin(
            float(edges[k]), float(edges[k + 1]), int(own.sum()),
            float(predicted[own].mean()), float(observed[own].mean()),
        )
        for k in range(CALIBRATION_BINS)
        if (own := bins == k).any()
    )  # fmt: skip
