"""Result items of Label Studio: regions and choices as its editor writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from earmark.labels.control import Control


def region_item(
    control: Control,
    start: float,
    end: float,
    label: str,
    score: float,
    duration: float,
    seed: str,
    channel: int = 0,
) -> dict[str, Any]:
    """Return the result item of one region; times in seconds, score in [0, 1]."""
    of_channel = (channel,) if channel else ()
    value = {**control.span_value(start, end), **control.value([label])}
    if "channel" in value:
        value["channel"] = channel
    return {
        "id": _item_id(seed, control.name, label, start, end, *of_channel),
        "from_name": control.from_name,
        "to_name": control.to_name,
        "type": control.result_type,
        "original_length": round(duration, 6),
        "score": round(score, 6),
        "value": value,
    }


def choices_item(control: Control, labels: Sequence[str], score: float, seed: str) -> dict[str, Any]:
    """Return the result item of a control's chosen tags; score in [0, 1]."""
    return {
        "id": _item_id(seed, control.name, *labels),
        "from_name": control.from_name,
        "to_name": control.to_name,
        "type": control.result_type,
        "score": round(score, 6),
        "value": control.value(labels),
    }


def region_choices_item(
    control: Control, drawing: Control, region: dict[str, Any], tags: Sequence[tuple[str, float]]
) -> dict[str, Any]:
    """Return the result item of what a control says of one region, which shares the region's id and times.

    Parameters
    ----------
    drawing, region
        The region's control and its result item.
    tags
        Labels with their scores.
    """
    span = {key: value for key, value in region["value"].items() if key != drawing.result_type}
    return {
        **region,
        "from_name": control.from_name,
        "type": control.result_type,
        "score": round(min(score for _, score in tags), 6),
        "value": {**span, **control.value([label for label, _ in tags])},
    }


def _item_id(*parts: object) -> str:
    """Return a short content hash as id: the same result has the same id, so duplicates are visible."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:10]
