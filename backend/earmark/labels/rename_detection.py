"""Rename detection: labels of an edited label config that are former labels under a new name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from earmark.labels.control import Control


@dataclass(frozen=True)
class Rename:
    """A label of a control that results spelled ``old`` and now spell ``new``."""

    control: Control
    old: str
    new: str


def certain_renames(before: Sequence[Control], after: Sequence[Control]) -> list[Rename]:
    """Find the labels that were renamed from one label config to the next.

    Label Studio does not distinguish a renamed label from one that was removed and another that was
    added, and learning under a wrong name is worse than learning anew. So a rename counts in two
    cases only, both within one control of the same name and type:

    - a label is shown under the same text as before, and results now spell it by an alias, no alias or
      another alias;
    - apart from those, exactly one name is removed, exactly one is new, and it stands in the same place
      of an otherwise equal list.

    Two at once, or one that also moved, are ambiguous. Hotkeys are no evidence: they go with the place,
    and people reassign them.
    """
    renames = []
    controls_before = {control.name: control for control in before}
    for control in after:
        old = controls_before.get(control.name)
        if old is not None and old.type is control.type:
            renames += [Rename(control, *pair) for pair in _renamed(old, control)]
    return renames


def _renamed(before: Control, after: Control) -> list[tuple[str, str]]:
    removed = [label for label in before.labels if label not in after.labels]
    new_labels = [label for label in after.labels if label not in before.labels]
    texts = [after.shown.get(label, label) for label in new_labels]
    pairs = []
    for label in removed:
        text = before.shown.get(label, label)
        if texts.count(text) == 1:
            pairs.append((label, new_labels[texts.index(text)]))
    if len({new for _, new in pairs}) < len(pairs):
        return []  # two labels were shown alike: the match is ambiguous
    new_names = dict(pairs)
    unmatched_old = [label for label in removed if label not in new_names]
    unmatched_new = [label for label in new_labels if label not in new_names.values()]
    if len(unmatched_old) == len(unmatched_new) == 1:
        new_names[unmatched_old[0]] = unmatched_new[0]
        if tuple(new_names.get(label, label) for label in before.labels) != after.labels:
            del new_names[unmatched_old[0]]
    return list(new_names.items())
