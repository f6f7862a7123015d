"""Between Label Studio's result items and what was heard: regions and tags."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from backend.labelstudio.config import Control
from backend.regions import Region


@dataclass(frozen=True)
class ReadResult:
    """An annotation's result, by control name.

    Every control of the label config is in one of the two: a submitted annotation without a
    region says that nothing sounds, and one without a choice says nothing about the tags.
    """

    regions: dict[str, tuple[Region, ...]]
    tags: dict[str, frozenset[str]]


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


def read_result(result: Iterable[object], controls: Sequence[Control]) -> ReadResult:
    """Read an annotation's result; anything that is not a usable region or choice is passed over.

    Labels that the config does not have (any more) are dropped.
    """
    regions: dict[str, list[Region]] = {c.name: [] for c in controls if c.kind == "regions"}
    tags: dict[str, frozenset[str]] = {}
    by_name = {control.name: control for control in controls}
    for item in result:
        control = by_name.get(str(item.get("from_name"))) if isinstance(item, dict) else None
        value = item.get("value") if isinstance(item, dict) else None
        if control is None or not isinstance(value, dict):
            continue
        labels = _labels(value.get(control.result_type), control)
        if control.kind != "regions":
            if labels:
                tags[control.name] = tags.get(control.name, frozenset()) | labels
        elif labels and (span := _span(value)):
            regions[control.name].append(Region(*span, labels))
    return ReadResult({name: tuple(found) for name, found in regions.items()}, tags)


def _labels(value: object, control: Control) -> frozenset[str]:
    known = set(control.labels)
    return (
        frozenset(v for v in value if isinstance(v, str) and v in known)
        if isinstance(value, list)
        else frozenset()
    )


def _span(value: dict[str, Any]) -> tuple[float, float] | None:
    start, end = value.get("start"), value.get("end")
    for time in (start, end):
        if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
            return None
    span = (max(0.0, float(start)), float(end))  # type: ignore[arg-type]
    return span if span[1] > span[0] else None


def _item_id(*parts: object) -> str:
    """Short id that is the same for the same result, so that writing it twice is visible."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:10]
