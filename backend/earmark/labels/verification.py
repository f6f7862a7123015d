"""Verification: per-region controls by which annotators judge a region's label, or correct it.

Such a control is recognised by its use, or by ``earmark_role="verdict"`` or ``"correction"`` on its tag
(``"label"`` for one that only looks like it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from earmark.labels.config_tree import Tag

Role = Literal["verdict", "correction", "doubt"]
Verdict = Literal["right", "wrong", "unsure"]

_RIGHT = {
    "accept", "accepted", "agree", "agreed", "approve", "approved", "confirm", "confirmed", "correct",
    "match", "matches", "ok", "present", "real", "right", "tp", "true", "true positive", "valid", "verified",
}  # fmt: skip
_WRONG = {
    "absent", "bad", "disagree", "fake", "false", "false alarm", "false positive", "fp", "incorrect",
    "invalid", "mismatch", "mistake", "not correct", "not present", "reject", "rejected", "wrong",
}  # fmt: skip
_UNSURE = {
    "cannot tell", "cant tell", "dont know", "maybe", "not clear", "not sure", "possible", "possibly", "skip",
    "uncertain", "unclear", "undecided", "unknown", "unsure", "unverified",
}  # fmt: skip
_YES, _NO = {"yes", "y"}, {"no", "n"}
_JUDGING = re.compile(
    r"correct|verif|verdict|valid|agree|confirm|right|review|judg|accept|approve|is_?true|true_?label|check"
)
_CORRECTING_NAME = re.compile(r"correct|actual|true|real|should|instead|fix|relabel|revis|new_?label")


@dataclass(frozen=True)
class VerificationControl:
    """A per-region control that verifies a region's label, or corrects it.

    ``verdict``: says whether the label is right. ``correction``: says what it is instead. ``doubt``: its
    "no" may mean either, so the label of such a region is left open. ``right``, ``wrong``, ``unsure``: values
    of a verdict, as results spell them.
    """

    name: str
    role: Role
    right: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()

    def verdict(self, values: Iterable[str]) -> Verdict | None:
        """Return the verdict of a control's values: ``unsure`` where they differ, None without any."""
        words: dict[Verdict, frozenset[str]] = {
            "right": self.right,
            "wrong": self.wrong,
            "unsure": self.unsure,
        }
        verdicts = [verdict for verdict, spellings in words.items() if spellings & set(values)]
        if len(verdicts) > 1:
            return "unsure"
        return verdicts[0] if verdicts else None


def find_verification_controls(
    tags: Sequence[Tag], region_labels: frozenset[str]
) -> list[VerificationControl]:
    """Return those among per-region ``Choices`` and ``Taxonomy`` tags of one sound that verify regions.

    ``region_labels``: every label and shown text of the sound's region controls.
    """
    verdicts = [control for tag in tags if (control := _verdict(tag)) is not None]
    names = {control.name for control in verdicts if control.role == "verdict"}
    corrections = [
        VerificationControl(tag.get("name"), "correction")
        for tag in tags
        if tag.get("name") not in {control.name for control in verdicts}
        and _corrects(tag, names, region_labels)
    ]
    return verdicts + corrections


def _verdict(tag: Tag) -> VerificationControl | None:
    role = tag.get("earmark_role").strip().lower()
    if role not in ("", "verdict"):
        return None
    values = [(choice.get("alias") or choice.get("value"), choice.get("value")) for choice in _choices(tag)]
    right, wrong, unsure, other = set[str](), set[str](), set[str](), set[str]()
    plain = True
    for name, text in values:
        words = {_folded(name), _folded(text)}
        plain = plain and not words & (_YES | _NO)
        for verdict, vocabulary in ((right, _RIGHT | _YES), (wrong, _WRONG | _NO), (unsure, _UNSURE)):
            if words & vocabulary:
                verdict.add(name)
                break
        else:
            other.add(name)
    judging = role == "verdict" or (plain and bool(right)) or bool(_JUDGING.search(_question(tag)))
    if not wrong or not (right or role == "verdict") or (other and not judging):
        return None
    if not judging:
        return VerificationControl(tag.get("name"), "doubt", wrong=frozenset(wrong), unsure=frozenset(unsure))
    return VerificationControl(
        tag.get("name"), "verdict", frozenset(right), frozenset(wrong), frozenset(unsure | other)
    )


def _corrects(tag: Tag, verdicts: set[str], region_labels: frozenset[str]) -> bool:
    role = tag.get("earmark_role").strip().lower()
    if role:
        return role == "correction"
    named = bool(_CORRECTING_NAME.search(tag.get("name").lower()))
    labels = {name for choice in _choices(tag) for name in (choice.get("alias"), choice.get("value")) if name}
    of_regions = bool(labels & region_labels)
    follows = any(around.get("whentagname") in verdicts for around in tag.lineage())
    return (named and (of_regions or bool(verdicts))) or (bool(verdicts) and (of_regions or follows))


def _choices(tag: Tag) -> list[Tag]:
    return [child for child in tag.walk() if child.name == "choice"]


def _folded(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", text.casefold().replace("_", " ").replace("-", " ")).split())


def _question(tag: Tag) -> str:
    """Return a control's name with the heading before it, in lower case."""
    headings = [""]
    for sibling in tag.ancestors[-1].children if tag.ancestors else ():
        if sibling is tag:
            break
        headings = [sibling.get("value")] if sibling.name in ("header", "text") else headings
    return f"{tag.get('name')} {headings[-1]}".lower()
