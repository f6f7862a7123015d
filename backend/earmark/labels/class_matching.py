"""A project's labels among AudioSet's 527 classes: matched by name, never guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from earmark.encoders.audioset import audioset_labels
from earmark.labels.controls import Control

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = re.compile("['’]")
_COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^(]*\))")
_JOINING = {"and", "etc"}
"""Words that do the work of a comma: "Burping_and_eructation" is AudioSet's "Burping, eructation"."""
_IRREGULAR = {
    "buses": "bus",
    "canoes": "canoe",
    "children": "child",
    "geese": "goose",
    "leaves": "leaf",
    "men": "man",
    "mice": "mouse",
    "shoes": "shoe",
    "wolves": "wolf",
    "women": "woman",
}
_NO_PLURAL = {"blues", "series"}

Words = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """Which AudioSet classes the labels of one control stand for.

    ``classes``: for each matched label the indices of its classes, at least one, in the order of
    ``audioset_labels()``. ``unmatched``: the other labels. Both are in the control's order.
    """

    classes: dict[str, tuple[int, ...]]
    unmatched: tuple[str, ...]

    def names(self, label: str) -> tuple[str, ...] | None:
        """AudioSet's names for a label, or None where it has no match."""
        found = self.classes.get(label)
        return tuple(audioset_labels()[index] for index in found) if found else None


def match_labels(control: Control) -> Match:
    """Match every label of a control by its own name and by its hints.

    A name matches a class when they are equal but for case, punctuation and plural; or when it so
    equals one of the synonyms that AudioSet separates by commas ("car horn" in "Vehicle horn, car
    horn, honking"), unless another class has that synonym too; or when it does so but for spaces and
    hyphens ("hihat", "cow bell"), unless two classes would then be meant. Hints (``predicted_values``, and
    the shown value where an alias stands in its place) are read by the same rules; a label may thus
    stand for several classes.
    """
    classes: dict[str, tuple[int, ...]] = {}
    for label in control.labels:
        found = [match_name(label), *_match_parts(control.hints.get(label, ()))]
        known = sorted({index for index in found if index is not None})
        if known:
            classes[label] = tuple(known)
    return Match(classes, tuple(label for label in control.labels if label not in classes))


def match_name(name: str) -> int | None:
    """Index of the class that one name stands for, or None."""
    names, synonyms = _tables()
    words = _normalised(name)
    return names.get(words, synonyms.get(words, _joined_table().get("".join(words))))


def _match_parts(parts: Sequence[str]) -> list[int | None]:
    """Match comma-separated hints, in which a class's own commas are cuts like any other.

    The longest run of parts that is a whole name is taken for that class: "Canidae", "dogs",
    "wolves" are one class, and not also "Dog".
    """
    names, _ = _tables()
    found: list[int | None] = []
    at = 0
    while at < len(parts):
        for end in range(len(parts), at + 1, -1):
            whole = names.get(_normalised(", ".join(parts[at:end])))
            if whole is not None:
                found.append(whole)
                at = end
                break
        else:
            found.append(match_name(parts[at]))
            at += 1
    return found


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[Words, int], dict[Words, int]]:
    """Classes by their whole name, and by those synonyms that are of one class alone."""
    names = {_normalised(name): index for index, name in enumerate(audioset_labels())}
    owners: dict[Words, int] = {}
    shared: Counter[Words] = Counter()
    for index, name in enumerate(audioset_labels()):
        for synonym in {_normalised(part) for part in _COMMA_OUTSIDE_BRACKETS.split(name)}:
            owners[synonym] = index
            shared[synonym] += 1
    return names, {synonym: index for synonym, index in owners.items() if synonym and shared[synonym] == 1}


@lru_cache(maxsize=1)
def _joined_table() -> dict[str, int]:
    """Classes by the words of a name or synonym without what is between them, where only one has these."""
    owners: dict[str, set[int]] = {}
    for index, name in enumerate(audioset_labels()):
        for part in (name, *_COMMA_OUTSIDE_BRACKETS.split(name)):
            owners.setdefault("".join(_normalised(part)), set()).add(index)
    return {joined: index for joined, (index, *others) in owners.items() if joined and not others}


def _normalised(text: str) -> Words:
    """Singular words in lower case; digits count, because "Siren 2" is not "Siren"."""
    plain = _APOSTROPHES.sub("", text.casefold())
    words = (word for word in _WORD.findall(plain) if word not in _JOINING)
    return tuple(_singular(word) for word in words)


def _singular(word: str) -> str:
    """Singular of an English word. Where in doubt the word stays: an odd plural finds no match."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 3 or word in _NO_PLURAL or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]
