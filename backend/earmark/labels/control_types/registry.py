"""Registry of control types: by tag of a label config, and by the name that heads store."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE, Choices
from earmark.labels.control_types.labels import REGION_LABELS, Labels

TAG_CLASSES: tuple[type[ControlType], ...] = (Labels, Choices)
CONTROL_TYPES = {
    control_type.name: control_type for control_type in (REGION_LABELS, SINGLE_CHOICE, MULTIPLE_CHOICE)
}


def type_of_tag(tag: Element) -> ControlType | None:
    """Return the type of a control tag; None where no class takes it."""
    types = (tag_class.of_tag(tag) for tag_class in TAG_CLASSES)
    return next((control_type for control_type in types if control_type is not None), None)


def type_named(name: object) -> ControlType:
    """Return the type with a stored name; ValueError where there is none."""
    control_type = CONTROL_TYPES.get(name) if isinstance(name, str) else None
    if control_type is None:
        raise ValueError(f"there is no control type {name!r}")
    return control_type
