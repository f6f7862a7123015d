"""What an annotator was shown and what was submitted instead, for the page's list of corrections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from earmark.labels.control import Control
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import ReadResult
from earmark.learning.segment_metrics import SAME_SECONDS
from earmark.store.models import Annotation

REGIONS_STORED = 200
"""Of one prediction and control: more than a picture of it can show."""
LONGEST_OPEN_SECONDS = 1800.0
"""A task that was open for longer was left and taken up again."""
PAIRS_STORED = 20


def stored_result(read: ReadResult) -> dict[str, Any]:
    """Return a prediction as JSON values.

    ``regions``: for each control ``[start, end, labels]`` in seconds, the first `REGIONS_STORED`; ``tags``:
    for each control its labels.
    """
    return {
        "regions": {
            name: [
                [round(region.start, 3), round(region.end, 3), sorted(region.labels)]
                for region in regions[:REGIONS_STORED]
            ]
            for name, regions in read.regions.items()
        },
        "tags": {name: sorted(labels) for name, labels in read.tags.items()},
    }


def is_changed(distance: Mapping[str, Any]) -> bool:
    """Whether something else was submitted than shown, by the distance that `measure` returned."""
    missed = sum(parts["missed"] for parts in distance["labels"].values())
    return bool(distance["accepted"] < distance["suggested"] or missed > 2 * SAME_SECONDS)


def seconds_open(annotation: Annotation) -> float:
    """Return how long the task was open until Submit; 0 where that is unknown, or it was left meanwhile."""
    seconds = annotation.updated_at - annotation.shown_at if annotation.shown_at else 0.0
    return round(seconds, 1) if 0 < seconds <= LONGEST_OPEN_SECONDS and not annotation.worked_on else 0.0


def confusions(
    control: Control, annotated: ReadResult, predicted: ReadResult
) -> list[tuple[str, str, float]]:
    """Return pairs of labels: the one submitted, the one shown in its place, and how much.

    Regions count by seconds in which the one label was missed and the other extra, tags by number.
    """
    pairs: dict[tuple[str, str], float] = {}
    if not control.type.of_clip:
        for truth in annotated.regions.get(control.name, ()):
            for guess in predicted.regions.get(control.name, ()):
                seconds = min(truth.end, guess.end) - max(truth.start, guess.start)
                if seconds > 0 and not truth.labels & guess.labels:
                    _count(pairs, truth, guess, seconds)
    elif control.name in annotated.tags:
        true_tags = annotated.tags[control.name]
        shown_tags = predicted.tags.get(control.name, frozenset())
        for submitted in true_tags - shown_tags:
            for shown in shown_tags - true_tags:
                pairs[submitted, shown] = pairs.get((submitted, shown), 0.0) + 1.0
    largest = sorted(pairs.items(), key=lambda pair: -pair[1])[:PAIRS_STORED]
    return [(submitted, shown, round(amount, 3)) for (submitted, shown), amount in largest]


def _count(pairs: dict[tuple[str, str], float], truth: Region, guess: Region, seconds: float) -> None:
    for submitted in truth.labels:
        for shown in guess.labels:
            pairs[submitted, shown] = pairs.get((submitted, shown), 0.0) + seconds
