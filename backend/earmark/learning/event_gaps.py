"""Event gaps learned from annotations: how long a pause of each label must be to separate two events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.head.correction_effort import Event, events_of
from earmark.head.examples import AnnotatedClip
from earmark.head.region_scorer import DEFAULT_GAP_SECONDS
from earmark.prediction.edge_refinement import EdgeRefiner
from earmark.prediction.pauses import find_pauses, pause_between

PRIOR_STRENGTH = 1.0
"""Recordings with misjudged pauses that a gap twice or half as long as the prior one must avoid."""
LONGEST_GAP_SECONDS = 3.0
"""Longer pauses separate events, whatever annotators drew: a region may be open-ended."""
MARGIN = 1.2
"""Factor from the longest pause within events, or the shortest between them, to the gap."""

Pauses = list[tuple[float, float, bool]]
"""Length in seconds, weight, and whether it separates two events."""


def learn_gaps(control: str, labels: Sequence[str], clips: Sequence[AnnotatedClip]) -> NDArray[np.float32]:
    """Return the gap in seconds of each label, ``[C]``.

    Pauses within annotated regions must be shorter, and those between neighbouring regions longer. The gap of
    a label misjudges the fewest of them, near that of all labels, and that near the default.

    Parameters
    ----------
    control
        Name of a regions control.
    clips
        Those without band levels are ignored.
    """
    by_label: dict[str, Pauses] = {label: [] for label in labels}
    for clip in clips:
        for label, pauses in _annotated_pauses(control, clip).items():
            if label in by_label:
                # Pauses of one recording are alike, so they count as one
                by_label[label] += [(length, weight / len(pauses), apart) for length, weight, apart in pauses]
    common = _best_gap([pause for pauses in by_label.values() for pause in pauses], DEFAULT_GAP_SECONDS)
    return np.array([_best_gap(by_label[label], common) for label in labels], dtype=np.float32)


def _annotated_pauses(control: str, clip: AnnotatedClip) -> dict[str, Pauses]:
    """Return the pauses within regions and between neighbouring ones, by label."""
    by_label: dict[str, Pauses] = {}
    if clip.levels is None:
        return by_label
    refiner = EdgeRefiner(clip.levels, clip.duration)
    last: dict[str, Event] = {}
    for event in events_of(clip.regions.get(control, ())):
        spans = find_pauses(refiner, (event.start, event.end))
        pauses = [(end - start, False) for start, end in spans]
        before = last.get(event.label)
        if before is not None and before.end <= event.start:
            pauses.append((pause_between(refiner, before[:2], event[:2]), True))
        if before is None or event.end > before.end:
            last[event.label] = event
        by_label.setdefault(event.label, []).extend(
            (length, clip.weight, apart) for length, apart in pauses if 0 < length <= LONGEST_GAP_SECONDS
        )
    return by_label


def _best_gap(pauses: Pauses, prior: float) -> float:
    """Return the gap that misjudges the fewest pauses, and is nearest to the prior one among equals."""
    if not pauses:
        return prior
    lengths, weights = np.array([pause[:2] for pause in pauses]).T
    separates = np.array([pause[2] for pause in pauses])
    edges = np.unique(lengths)
    gaps = np.concatenate([[prior, edges[0] / MARGIN, edges[-1] * MARGIN], np.sqrt(edges[1:] * edges[:-1])])
    misjudged = separates != (lengths >= gaps[:, None])
    costs = misjudged @ weights + PRIOR_STRENGTH * abs(np.log2(gaps / prior))
    return float(gaps[costs.argmin()])
