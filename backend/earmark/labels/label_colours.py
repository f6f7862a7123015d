"""Label colours: what the label config sets as ``background`` of its labels and choices."""

from __future__ import annotations

import re

from earmark.errors import LabelConfigError
from earmark.labels.config_tree import parse_tree

_TAGS = frozenset({"label", "choice"})
_COLOUR = re.compile(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})|[a-z]{3,30}", re.IGNORECASE)
"""Hexadecimal notation and names of colours; any other text is left out, as it comes from a label config."""


def label_colours(label_config: str) -> dict[str, str]:
    """Return colours by label, as the label config writes them; of several, the first.

    Labels without one are left out: the editor gives all of them the same green, which tells none apart.
    """
    colours: dict[str, str] = {}
    try:
        tags = parse_tree(label_config).walk() if label_config else iter(())
    except LabelConfigError:
        return colours  # trainings, predictions and the doctor report it
    for tag in tags:
        colour = tag.get("background").strip()
        if tag.name in _TAGS and _COLOUR.fullmatch(colour):
            colours.setdefault(tag.get("value"), colour)
    return colours
