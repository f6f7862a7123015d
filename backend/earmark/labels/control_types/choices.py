"""``Choices``: one or several tags, of a whole clip or of each region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from earmark.labels.config_tree import Tag
from earmark.labels.control_types.base import ControlType, Path


class Choices(ControlType):
    """Tags: exactly one of them, or any number."""

    result_type = "choices"
    label_tag = "Choice"

    @classmethod
    def of_tag(cls, tag: Tag) -> ControlType | None:
        """Return the type of a ``Choices`` tag."""
        if tag.name != "choices":
            return None
        several, nested = tag.get("choice").lower() == "multiple", tag.flag("allownested")
        if tag.flag("perregion"):
            return (
                (REGION_NESTED_TAGS if several else REGION_NESTED_CHOICE)
                if nested
                else (REGION_TAGS if several else REGION_CHOICE)
            )
        return (
            (NESTED_TAGS if several else NESTED_CHOICE)
            if nested
            else (MULTIPLE_CHOICE if several else SINGLE_CHOICE)
        )

    def config_paths(self, tag: Tag) -> list[tuple[Path, Tag]]:
        """Return the choices, without those in other choices, which the editor skips."""
        return [
            (path, choice)
            for path, choice in super().config_paths(tag)
            if _depth(choice, self.label_tag) == 0
        ]


class NestedChoices(Choices):
    """Choices in choices (``allowNested``): results hold each with those above it."""

    def config_paths(self, tag: Tag) -> list[tuple[Path, Tag]]:
        """Return all choices with those above them; of a single choice the leaves, which can be chosen."""
        paths = nested_paths(tag, self.label_tag)
        above = {path[:-1] for path, _ in paths}
        return [(path, choice) for path, choice in paths if not (self.exclusive and path in above)]

    def value(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Return each choice with those above it."""
        return {self.result_type: [list(path) for path in paths]}


def nested_paths(tag: Tag, label_tag: str) -> list[tuple[Path, Tag]]:
    """Return the labels in a tag with those above them, in document order."""
    nested: list[tuple[Path, Tag]] = []

    def visit(parent: Tag, above: Path) -> None:
        for child in parent.children:
            path = above
            if child.name == label_tag.lower() and (name := child.get("alias") or child.get("value")):
                path = (*above, name)
                nested.append((path, child))
            visit(child, path)

    visit(tag, ())
    return nested


def _depth(choice: Tag, label_tag: str) -> int:
    return sum(around.name == label_tag.lower() for around in choice.ancestors)


SINGLE_CHOICE = Choices("single", exclusive=True)
MULTIPLE_CHOICE = Choices("multiple")
NESTED_CHOICE = NestedChoices("nested-single", exclusive=True)
NESTED_TAGS = NestedChoices("nested-multiple")
REGION_CHOICE = Choices("region-single", exclusive=True, per_region=True)
REGION_TAGS = Choices("region-multiple", per_region=True)
REGION_NESTED_CHOICE = NestedChoices("region-nested-single", exclusive=True, per_region=True)
REGION_NESTED_TAGS = NestedChoices("region-nested-multiple", per_region=True)
