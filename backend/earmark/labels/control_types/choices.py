"""``Choices``: one or several tags of a whole clip."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from earmark.labels.control_types.base import ControlType


class Choices(ControlType):
    """Tags of the whole clip: exactly one of them, or any number."""

    result_type = "choices"
    label_tag = "Choice"

    @classmethod
    def of_tag(cls, tag: Element) -> ControlType | None:
        """Return the type of a ``Choices`` tag; one for each region (``perRegion``) is left alone."""
        if tag.tag != "Choices" or tag.get("perRegion", "false").lower() == "true":
            return None
        return MULTIPLE_CHOICE if tag.get("choice") == "multiple" else SINGLE_CHOICE


SINGLE_CHOICE = Choices("single", exclusive=True)
MULTIPLE_CHOICE = Choices("multiple")
