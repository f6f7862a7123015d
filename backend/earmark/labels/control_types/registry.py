"""Registry of control types: by tag of a label config, and by the name that heads store."""

from __future__ import annotations

from earmark.labels.config_tree import Tag
from earmark.labels.control_types import choices, labels, rating, taxonomy, timeline_labels
from earmark.labels.control_types.base import ControlType

_MODULES = (labels, timeline_labels, choices, taxonomy, rating)

TAG_CLASSES: tuple[type[ControlType], ...] = (
    labels.Labels,
    timeline_labels.TimelineLabels,
    choices.Choices,
    taxonomy.Taxonomy,
    rating.Rating,
)
CONTROL_TYPES: dict[str, ControlType] = {
    value.name: value
    for module in _MODULES
    for value in vars(module).values()
    if isinstance(value, ControlType)
}


def type_of_tag(tag: Tag) -> ControlType | None:
    """Return the type of a control tag; None where no class takes it."""
    types = (tag_class.of_tag(tag) for tag_class in TAG_CLASSES)
    return next((control_type for control_type in types if control_type is not None), None)


def type_named(name: object) -> ControlType:
    """Return the type with a stored name; ValueError where there is none."""
    control_type = CONTROL_TYPES.get(name) if isinstance(name, str) else None
    if control_type is None:
        raise ValueError(f"there is no control type {name!r}")
    return control_type
