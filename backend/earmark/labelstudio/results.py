"""Between Label Studio's result items and what was heard: regions and tags."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from earmark.labels.controls import Control
from earmark.labels.region import Region

ACCEPTED_WEIGHT = 0.5
"""Weight of a prediction that was submitted as it came, relative to what somebody drew or chose.

A person saw it and let it stand, but it may also have been overlooked, and its edges are the model's
own: with full weight a model would teach itself what it already believes.
"""
LONGEST_SECONDS = 1e9
"""No recording is 30 years long: a later time is a mistake."""


@dataclass(frozen=True)
class ReadResult:
    """An annotation's result, by control name.

    A submitted annotation without a region says that nothing sounds. A control without a choice is missing
    from ``tags``: by itself that says nothing about them. An empty set says that none of them applies.
    """

    regions: dict[str, tuple[Region, ...]]
    tags: dict[str, frozenset[str]]
    tag_weights: dict[str, float] = field(default_factory=dict)
    """How far the choices of a control are trusted, from 0 to 1, as `Region.weight` is for regions."""


def region_item(
    control: Control, start: float, end: float, label: str, score: float, duration: float, seed: str
) -> dict[str, Any]:
    """Return one region as Label Studio's interface draws it; times in seconds, score in [0, 1]."""
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
            control.result_type: [label],
        },
    }


def choices_item(control: Control, labels: Sequence[str], score: float, seed: str) -> dict[str, Any]:
    """Return the chosen tags of one control as one result; score in [0, 1]."""
    return {
        "id": _item_id(seed, control.name, *labels),
        "from_name": control.name,
        "to_name": control.to_name,
        "type": control.result_type,
        "score": round(score, 6),
        "value": {control.result_type: list(labels)},
    }


def read_result(
    result: Iterable[object],
    controls: Sequence[Control],
    names: Mapping[str, Mapping[str, str]] | None = None,
) -> ReadResult:
    """Read an annotation's result; anything that is not a usable region or choice is passed over.

    Labels that the config does not have (any more) are dropped.

    Parameters
    ----------
    names
        For each control what former names of labels are called now.
    """
    regions: dict[str, list[Region]] = {c.name: [] for c in controls if c.kind == "regions"}
    tags: dict[str, frozenset[str]] = {}
    tag_weights: dict[str, float] = {}
    by_name = {control.name: control for control in controls}
    for item in result:
        control = by_name.get(str(item.get("from_name"))) if isinstance(item, dict) else None
        value = item.get("value") if isinstance(item, dict) else None
        if control is None or not isinstance(item, dict) or not isinstance(value, dict):
            continue
        labels = _labels(value.get(control.result_type), control, (names or {}).get(control.name, {}))
        weight = _weight(item)
        if control.kind != "regions":
            if labels:
                tags[control.name] = tags.get(control.name, frozenset()) | labels
                tag_weights[control.name] = max(weight, tag_weights.get(control.name, 0.0))
        elif labels and (span := read_span(value)):
            regions[control.name].append(Region(*span, labels, weight))
    return ReadResult({name: tuple(found) for name, found in regions.items()}, tags, tag_weights)


def _weight(item: dict[str, Any]) -> float:
    """Weight of an item by its ``origin``: made by hand, predicted and changed, or predicted.

    Items without one come through the API, or are copies of predictions, which keep their score.
    """
    origin = item.get("origin")
    copied = origin is None and item.get("score") is not None
    return ACCEPTED_WEIGHT if origin == "prediction" or copied else 1.0


def _labels(value: object, control: Control, names: Mapping[str, str]) -> frozenset[str]:
    if not isinstance(value, list):
        return frozenset()
    found = {names.get(label, label) for label in value if isinstance(label, str)}
    return frozenset(found & set(control.labels))


def read_span(value: Mapping[str, Any]) -> tuple[float, float] | None:
    """Start and end of a region's value in seconds; None where they are no usable times."""
    start, end = value.get("start"), value.get("end")
    for time in (start, end):
        # Compared as it is: a whole number may be too large for any float
        if isinstance(time, bool) or not isinstance(time, int | float) or not abs(time) < LONGEST_SECONDS:
            return None
    span = (max(0.0, float(start)), float(end))  # type: ignore[arg-type]
    return span if span[1] > span[0] else None


def _item_id(*parts: object) -> str:
    """Short id that is the same for the same result, so that writing it twice is visible."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:10]
