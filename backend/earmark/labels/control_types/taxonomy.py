"""``Taxonomy``: labels of a hierarchy, of a whole clip or of each region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from earmark.labels.config_tree import Tag
from earmark.labels.control_types.base import ControlType, Path
from earmark.labels.control_types.choices import nested_paths


class Taxonomy(ControlType):
    """Any number of labels, each with those above it."""

    result_type = "taxonomy"
    label_tag = "Choice"

    @classmethod
    def of_tag(cls, tag: Tag) -> ControlType | None:
        """Return the type of a ``Taxonomy`` tag."""
        if tag.name != "taxonomy":
            return None
        return REGION_TAXONOMY if tag.flag("perregion") else TAXONOMY

    def config_paths(self, tag: Tag) -> list[tuple[Path, Tag]]:
        """Return all labels with those above them."""
        return nested_paths(tag, self.label_tag)

    def value(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Return each label with those above it."""
        return {self.result_type: [list(path) for path in paths]}


TAXONOMY = Taxonomy("taxonomy")
REGION_TAXONOMY = Taxonomy("region-taxonomy", per_region=True)
