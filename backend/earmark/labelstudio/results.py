"""Conversion between Label Studio's result items and regions and tags."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from earmark.labels.controls import Control
from earmark.labels.region import Region

ACCEPTED_WEIGHT = 0.5
"""Weight of a prediction that was submitted unchanged, relative to what an annotator drew or chose.

The annotator may have overlooked it, and its edges are the model's own: with full weight, the model would
be trained on its own output.
"""
LONGEST_SECONDS = 1e9
"""Times beyond this, 30 years, are invalid."""


@dataclass(frozen=True)
class ReadResult:
    """An annotation's result, by control name.

    No region in a submitted annotation means that nothing sounds. A control without a choice is missing
    from ``tags``: not answered. An empty set means that none of its tags applies.
    """

    regions: dict[str, tuple[Region, ...]]
    tags: dict[str, frozenset[str]]
    tag_weights: dict[str, float] = field(default_factory=dict)
    """Weight of each control's choices in training, from 0 to 1, as `Region.weight` for regions."""


def region_item(
    control: Control, start: float, end: float, label: str, score: float, duration: float, seed: str
) -> dict[str, Any]:
    """Return the result item of one region; times in seconds, score in [0, 1]."""
    return {
        "id": _item_id(seed, control.name, label, start, end),
        "from_name": control.name,
        "to_name": control.to_name,
        "type": control.result_type,
        "original_length": round(duration, 6),
        "score": round(score, 6),
        "value": {
            "start": round(start, 6),
            "end": round(end, 6),
            "channel": 0,
            **control.type.value([label]),
        },
    }


def choices_item(control: Control, labels: Sequence[str], score: float, seed: str) -> dict[str, Any]:
    """Return the result item of a control's chosen tags; score in [0, 1]."""
    return {
        "id": _item_id(seed, control.name, *labels),
        "from_name": control.name,
        "to_name": control.to_name,
        "type": control.result_type,
        "score": round(score, 6),
        "value": control.type.value(labels),
    }


def read_result(
    result: Iterable[object],
    controls: Sequence[Control],
    names: Mapping[str, Mapping[str, str]] | None = None,
) -> ReadResult:
    """Parse an annotation's result, skipping items that are not usable regions or choices.

    Labels that are not (or no longer) in the label config are dropped.

    Parameters
    ----------
    names
        For each control, the current name of each renamed label.
    """
    regions: dict[str, list[Region]] = {c.name: [] for c in controls if c.type.draws_regions}
    tags: dict[str, frozenset[str]] = {}
    tag_weights: dict[str, float] = {}
    by_name = {control.name: control for control in controls}
    for item in result:
        control = by_name.get(str(item.get("from_name"))) if isinstance(item, dict) else None
        value = item.get("value") if isinstance(item, dict) else None
        if control is None or not isinstance(item, dict) or not isinstance(value, dict):
            continue
        labels = _labels(value, control, (names or {}).get(control.name, {}))
        weight = _weight(item)
        if not control.type.draws_regions:
            if labels:
                tags[control.name] = tags.get(control.name, frozenset()) | labels
                tag_weights[control.name] = max(weight, tag_weights.get(control.name, 0.0))
        elif labels and (span := read_span(value)):
            regions[control.name].append(Region(*span, labels, weight))
    return ReadResult({name: tuple(spans) for name, spans in regions.items()}, tags, tag_weights)


def _weight(item: dict[str, Any]) -> float:
    """Return an item's weight by its ``origin``: manual, predicted and changed, or predicted.

    Items without an origin come from the API, or are copies of predictions, which keep their score.
    """
    origin = item.get("origin")
    copied = origin is None and item.get("score") is not None
    return ACCEPTED_WEIGHT if origin == "prediction" or copied else 1.0


def _labels(value: Mapping[str, Any], control: Control, names: Mapping[str, str]) -> frozenset[str]:
    current = {names.get(label, label) for label in control.type.read_labels(value)}
    return frozenset(current & set(control.labels))


def read_span(value: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return start and end of a region's value in seconds; None where they are not usable times."""
    start, end = value.get("start"), value.get("end")
    for time in (start, end):
        # Compared without conversion: an integer may be too large for a float
        if isinstance(time, bool) or not isinstance(time, int | float) or not abs(time) < LONGEST_SECONDS:
            return None
    span = (max(0.0, float(start)), float(end))  # type: ignore[arg-type]
    return span if span[1] > span[0] else None


def _item_id(*parts: object) -> str:
    """Return a short content hash as id: the same result has the same id, so duplicates are visible."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:10]
