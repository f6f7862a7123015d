"""Segment metrics: distance of a prediction from the annotation that followed it.

Regions are measured in seconds and tags by number, for each label, as found, missed and
extra. From the sums follow the segment-based F1 and error rate of DCASE (Mesaros, Heittola and
Virtanen, "Metrics for Polyphonic Sound Event Detection", Applied Sciences 6, 2016; as sed_eval
computes them), here with segments so short that only time counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.metrics import lwlrap
from earmark.labels.control import Control
from earmark.labels.region import Region
from earmark.labels.region_pairs import pair_regions
from earmark.labelstudio.result_reader import ReadResult
from earmark.learning.correction_figures import Correction

SAME_SECONDS = 0.005
"""An edge moved by less counts as unmoved: Label Studio's interface draws nothing finer."""

Parts = dict[str, float]
"""``found``, ``missed`` and ``extra``: seconds of regions, or numbers of tags."""


@dataclass
class Distance:
    """Sums over annotations of one control.

    ``labels``: parts of each label that occurs. ``substituted``: how much was missed while another
    label was extra. ``ranked``: sum of lwlrap over the true labels of annotations for which the
    probabilities are stored, ``ranked_labels`` their number. ``annotations``: how many are summed.
    ``correction``: what correcting cost, of the annotations for which it was measured.
    """

    labels: dict[str, Parts] = field(default_factory=dict)
    substituted: float = 0.0
    ranked: float = 0.0
    ranked_labels: float = 0.0
    annotations: int = 0
    correction: Correction = field(default_factory=Correction)

    def add(self, stored: Mapping[str, Any]) -> None:
        """Add one annotation's distance as it is stored: that of `measure`, with its ``correction``."""
        for label, parts in stored["labels"].items():
            sums = self.labels.setdefault(label, dict.fromkeys(parts, 0.0))
            for part, value in parts.items():
                sums[part] += value
        self.substituted += stored["substituted"]
        if stored.get("lwlrap") is not None:  # null: an earlier release ranked no true label
            true = sum(parts["found"] + parts["missed"] for parts in stored["labels"].values())
            self.ranked += stored["lwlrap"] * true
            self.ranked_labels += true
        self.annotations += 1
        if "correction" in stored:  # scores of earlier releases lack it
            self.correction.add(Correction(**stored["correction"]))

    def summary(self) -> dict[str, float]:
        """``annotations``; where defined ``f1``, ``error_rate``, ``lwlrap``, and `Correction.figures`."""
        found, missed, extra = (
            sum(parts[name] for parts in self.labels.values()) for name in ("found", "missed", "extra")
        )
        figures = {**self.correction.figures(), "annotations": float(self.annotations)}
        if found + missed + extra > 0:
            figures["f1"] = 2 * found / (2 * found + missed + extra)
        if found + missed > 0:
            figures["error_rate"] = (missed + extra - self.substituted) / (found + missed)
        if self.ranked_labels:
            figures["lwlrap"] = self.ranked / self.ranked_labels
        return figures


def measure(
    control: Control,
    annotated: ReadResult,
    predicted: ReadResult,
    probabilities: Mapping[str, float] | None,
) -> dict[str, Any] | None:
    """Distance of a prediction from an annotation, for one control; None where the annotation leaves it open.

    Parameters
    ----------
    probabilities
        Of each label to be in the clip, if available: tags are then ranked, too.

    Returns
    -------
    ``labels`` (`Parts` by label, those without any left out), ``substituted`` in the same unit, and
    ``lwlrap`` in (0, 1] for annotated tags with probabilities. ``suggested``: how many regions or tags
    were shown, ``accepted``: how many of them were submitted unchanged. ``edges``: of regions whose label
    was found, the distances of shown onsets and offsets from the annotated ones, in seconds.
    """
    if not control.type.of_clip:
        if control.name not in annotated.regions:
            return None
        return _regions(annotated.regions[control.name], predicted.regions.get(control.name, ()))
    if control.name not in annotated.tags:
        return None
    true_tags, shown_tags = annotated.tags[control.name], predicted.tags.get(control.name, frozenset())
    labels = {
        label: _parts(
            label in true_tags and label in shown_tags,
            label in true_tags - shown_tags,
            label in shown_tags - true_tags,
        )
        for label in sorted(true_tags | shown_tags)
    }
    stored = {
        "labels": labels,
        "substituted": float(min(len(true_tags - shown_tags), len(shown_tags - true_tags))),
        "suggested": len(shown_tags),
        "accepted": len(shown_tags & true_tags),
    }
    if probabilities and true_tags:  # without a true label there is nothing to rank
        truth = np.array([[label in true_tags for label in control.labels]])
        scores = np.array([[probabilities.get(label, 0.0) for label in control.labels]])
        stored["lwlrap"] = lwlrap(truth, scores)
    return stored


def _regions(annotated: Sequence[Region], predicted: Sequence[Region]) -> dict[str, Any]:
    """`measure` of regions. Nothing changes between neighbouring edges, so sums over these are exact."""
    edges = np.array(sorted({time for r in (*annotated, *predicted) for time in (r.start, r.end)}))
    labels = sorted(frozenset().union(*(r.labels for r in (*annotated, *predicted))))
    seconds = np.diff(edges)
    true, shown = (_presence(regions, edges, labels) for regions in (annotated, predicted))
    missed, extra = true & ~shown, shown & ~true & ~_left_open(annotated, edges, labels)
    sums = seconds @ (true & shown), seconds @ missed, seconds @ extra
    return {
        "labels": {label: _parts(*parts) for label, *parts in zip(labels, *sums, strict=True)},
        "substituted": float(seconds @ np.minimum(missed.sum(axis=1), extra.sum(axis=1))),
        **_edge_distances(annotated, predicted),
    }


def _edge_distances(annotated: Sequence[Region], predicted: Sequence[Region]) -> dict[str, Any]:
    """Pair each shown region with the annotated one of the same labels that it overlaps most, each once."""
    pairs = pair_regions(
        predicted, annotated, may_pair=lambda guess, truth: bool(guess.labels & truth.labels)
    )
    edges, accepted = list[float](), 0
    for place, number in pairs:
        guess, truth = predicted[place], annotated[number]
        moved = [abs(guess.start - truth.start), abs(guess.end - truth.end)]
        edges += [round(seconds, 3) for seconds in moved]
        accepted += guess.labels == truth.labels and max(moved) < SAME_SECONDS
    return {"suggested": len(predicted), "accepted": accepted, "edges": edges}


def _presence(
    regions: Sequence[Region], edges: NDArray[np.float64], labels: Sequence[str]
) -> NDArray[np.bool_]:
    """Presence of each label between neighbouring edges: bool ``[len(edges) - 1, len(labels)]``."""
    sounding = np.zeros((max(0, len(edges) - 1), len(labels)), dtype=bool)
    for region in regions:
        first, last = np.searchsorted(edges, (region.start, region.end))
        sounding[first:last, [labels.index(label) for label in region.labels]] = True
    return sounding


def _left_open(
    regions: Sequence[Region], edges: NDArray[np.float64], labels: Sequence[str]
) -> NDArray[np.bool_]:
    """Labels of which annotated regions say nothing, between neighbouring edges: as `_presence`."""
    is_open = np.zeros((max(0, len(edges) - 1), len(labels)), dtype=bool)
    for region in regions:
        first, last = np.searchsorted(edges, (region.start, region.end))
        columns = [column for column, label in enumerate(labels) if label not in region.absent]
        is_open[first:last, columns if region.is_open else []] = True
    return is_open


def _parts(found: float, missed: float, extra: float) -> Parts:
    return {"found": float(found), "missed": float(missed), "extra": float(extra)}
