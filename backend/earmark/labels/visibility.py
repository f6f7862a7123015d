"""Visibility of controls: the conditions (``visibleWhen``) under which an annotator could answer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from earmark.labels.config_tree import Tag

Chosen = Mapping[str, frozenset[str]]
"""Values chosen in an annotation, by name of the ``Choices`` or ``Taxonomy``."""

_REGION_KINDS = {"region-selected", "no-region-selected"}
_CHOICE_KINDS = {"choice-selected", "choice-unselected"}


@dataclass(frozen=True)
class Condition:
    """One ``visibleWhen``, with what narrows it down.

    ``tag``: the control that is asked about, any if empty. ``values``: choices or labels, any if empty.
    """

    kind: str
    tag: str = ""
    values: tuple[str, ...] = ()

    def is_met(self, chosen: Chosen) -> bool | None:
        """Whether an annotation's choices meet the condition; None where they do not decide it."""
        if self.kind not in _CHOICE_KINDS:
            return None
        relevant = [values for tag, values in chosen.items() if self.tag in ("", tag)]
        selected = any(values & set(self.values) if self.values else values for values in relevant)
        return selected == (self.kind == "choice-selected")

    def admits(self, control: str, labels: frozenset[str]) -> bool:
        """Whether a region with labels of a control meets the condition; True if that is about no region."""
        if self.kind != "region-selected":
            return True
        return self.tag in ("", control) and (not self.values or bool(labels & set(self.values)))


def conditions_of(tag: Tag) -> tuple[Condition, ...]:
    """Return the conditions of a tag and of the tags around it."""
    conditions = []
    for around in tag.lineage():
        kind = around.get("visiblewhen")
        labels, choices = around.names("whenlabelvalue"), around.names("whenchoicevalue")
        if kind in _CHOICE_KINDS:
            conditions.append(Condition(kind, around.get("whentagname"), choices))
        elif kind in _REGION_KINDS:
            conditions.append(Condition(kind, around.get("whentagname"), labels))
        elif not kind and choices:
            conditions.append(Condition("choice-selected", "", choices))
        if kind not in _REGION_KINDS and labels and around.flag("perregion"):
            conditions.append(Condition("region-selected", "", labels))
    return tuple(conditions)
