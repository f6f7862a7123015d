"""Which labels of an edited label config are old ones under a new name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from earmark.labels.controls import Control


@dataclass(frozen=True)
class Rename:
    """A label of a control that results spelled ``old`` and now spell ``new``."""

    control: Control
    old: str
    new: str


def certain_renames(before: Sequence[Control], after: Sequence[Control]) -> list[Rename]:
    """Find the labels that were renamed from one label config to the next.

    Label Studio does not tell a renamed label from one that was removed and another that was added,
    and learning under a wrong name is worse than learning anew. So a renaming counts in two cases
    only, both within one control of the same name and kind:

    - a label is shown under the same text as before, and results now spell it by an alias, no alias or
      another alias;
    - apart from those, exactly one name is gone, exactly one is new, and it stands in the same place
      of an otherwise equal list.

    Two at once, or one that also moved, are a rearrangement in which anything may be meant. Hotkeys
    tell nothing: they go with the place, and people deal them out anew.
    """
    found = []
    earlier = {control.name: control for control in before}
    for control in after:
        old = earlier.get(control.name)
        if old is not None and old.kind == control.kind:
            found += [Rename(control, *pair) for pair in _renamed(old, control)]
    return found


def _renamed(before: Control, after: Control) -> list[tuple[str, str]]:
    gone = [label for label in before.labels if label not in after.labels]
    fresh = [label for label in after.labels if label not in before.labels]
    texts = [after.shown.get(label, label) for label in fresh]
    pairs = []
    for label in gone:
        text = before.shown.get(label, label)
        if texts.count(text) == 1:
            pairs.append((label, fresh[texts.index(text)]))
    if len({new for _, new in pairs}) < len(pairs):
        return []  # two labels were shown alike: which of them it is, nobody can tell
    now = dict(pairs)
    rest = [label for label in gone if label not in now]
    added = [label for label in fresh if label not in now.values()]
    if len(rest) == len(added) == 1:
        now[rest[0]] = added[0]
        if tuple(now.get(label, label) for label in before.labels) != after.labels:
            del now[rest[0]]
    return list(now.items())
