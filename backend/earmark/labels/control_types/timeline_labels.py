"""``TimelineLabels``: time spans of a video, in frames, each with labels."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor
from typing import Any

from earmark.labels.config_tree import Tag
from earmark.labels.control_types.base import ControlType, usable_span


class TimelineLabels(ControlType):
    """Regions of a video's sound. The editor counts frames from 1, and both ends belong to the region."""

    result_type = "timelinelabels"
    label_tag = "Label"
    draws_regions = True

    @classmethod
    def of_tag(cls, tag: Tag) -> ControlType | None:
        """Return the type of a ``TimelineLabels`` tag."""
        return TIMELINE_LABELS if tag.name == "timelinelabels" else None

    def span_value(self, start: float, end: float, frame_rate: float) -> dict[str, Any]:
        """Return the frames that a region covers."""
        first = floor(start * frame_rate + 1e-6) + 1
        return {"ranges": [{"start": first, "end": max(first, ceil(end * frame_rate - 1e-6))}]}

    def read_span(self, value: Mapping[str, Any], frame_rate: float) -> tuple[float, float] | None:
        """Return the seconds from the first frame's begin to the last one's end."""
        ranges = value.get("ranges")
        only = ranges[0] if isinstance(ranges, list) and ranges and isinstance(ranges[0], dict) else {}
        span = usable_span(only.get("start"), only.get("end") or only.get("start"))
        if span is None and type(only.get("start")) is int and only["start"] == only.get("end"):
            span = usable_span(only["start"], only["start"] + 0.5)  # a single frame
            return None if span is None else ((span[0] - 1) / frame_rate, span[0] / frame_rate)
        return None if span is None else (max(0.0, span[0] - 1) / frame_rate, span[1] / frame_rate)


TIMELINE_LABELS = TimelineLabels("timeline")
