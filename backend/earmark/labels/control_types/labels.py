"""``Labels``: time spans of a sound, each with labels."""

from __future__ import annotations

from earmark.labels.config_tree import Tag
from earmark.labels.control_types.base import ControlType


class Labels(ControlType):
    """Regions with onset, offset and labels."""

    result_type = "labels"
    label_tag = "Label"
    draws_regions = True

    @classmethod
    def of_tag(cls, tag: Tag) -> ControlType | None:
        """Return the type of a ``Labels`` tag."""
        return REGION_LABELS if tag.name == "labels" else None


REGION_LABELS = Labels("regions")
