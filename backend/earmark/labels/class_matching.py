"""Matching of a project's labels to an encoder's class names (AudioSet's): by name, never guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache

from earmark.encoders.audioset import audioset_labels
from earmark.labels.control import Control
from earmark.labels.control_types.base import SEPARATOR

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = re.compile("['’]")
_COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^(]*\))")
_JOINING = {"and", "etc"}
"""Words in place of a comma: "Burping_and_eructation" is AudioSet's "Burping, eructation"."""
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

SUGGESTIONS = 3
LEAST_RESEMBLANCE = 0.7
"""See `nearest_names`: half of all words, or 0.7 of the letters, are common."""
STEM_LETTERS = 4

Words = tuple[str, ...]
Names = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """AudioSet classes that match the labels of one control.

    ``classes``: for each matched label the indices of its classes, at least one, in the order of
    ``class_names``. ``unmatched``: the other labels. Both are in the control's order. ``former``: of labels
    that match by a former name alone, that name.
    """

    classes: dict[str, tuple[int, ...]]
    unmatched: tuple[str, ...]
    class_names: Names
    former: dict[str, str] = field(default_factory=dict)

    def names(self, label: str) -> tuple[str, ...] | None:
        """Class names of a label, or None where it has no match."""
        indices = self.classes.get(label)
        return tuple(self.class_names[index] for index in indices) if indices else None

    def suggestions(self) -> dict[str, tuple[str, ...]]:
        """For each unmatched label the nearest class names, likeliest first; they are only shown."""
        return {label: nearest_names(label, self.class_names) for label in self.unmatched}


def match_labels(control: Control, class_names: Names | None = None) -> Match:
    """Match every label of a control by its own name and by its hints.

    ``class_names`` are the encoder's, AudioSet's 527 where they are None.

    A name matches a class when they are equal but for case, punctuation and plural; or when it so
    equals one of the synonyms that AudioSet separates by commas ("car horn" in "Vehicle horn, car
    horn, honking"), unless another class has that synonym too; or when it does so but for spaces and
    hyphens ("hihat", "cow bell"), unless two classes would then be meant. Hints (``predicted_values``, and
    the shown value where an alias stands in its place) are read by the same rules; a label may thus
    stand for several classes. A renamed label that matches nothing so has the class of its latest former name
    that matches one.
    """
    names = audioset_labels() if class_names is None else class_names
    classes: dict[str, tuple[int, ...]] = {}
    former_names: dict[str, str] = {}
    if not control.type.names_sounds:
        return Match(classes, (), names)
    for label in control.labels:
        candidates = [match_name(label, names), *_match_parts(control.hints.get(label, ()), names)]
        indices = sorted({index for index in candidates if index is not None})
        if indices:
            classes[label] = tuple(indices)
            continue
        for former in control.former.get(label, ()):
            name = former.rpartition(SEPARATOR)[2] if label in control.paths else former
            index = match_name(name, names)
            if index is not None:
                classes[label], former_names[label] = (index,), former
                break
    unmatched = tuple(label for label in control.labels if label not in classes)
    return Match(classes, unmatched, names, former_names)


def match_name(name: str, class_names: Names | None = None) -> int | None:
    """Index of the class that one name matches, or None."""
    all_names = audioset_labels() if class_names is None else class_names
    names, synonyms = _tables(all_names)
    words = _normalised(name)
    return names.get(words, synonyms.get(words, _joined_table(all_names).get("".join(words))))


@lru_cache(maxsize=1024)
def nearest_names(label: str, class_names: Names) -> tuple[str, ...]:
    """Return up to `SUGGESTIONS` class names that resemble a label: by common words, else by spelling."""
    words = _normalised(label)
    if not words:
        return ()
    scored = []
    for name in class_names:
        parts = {_normalised(part) for part in _COMMA_OUTSIDE_BRACKETS.split(name)}
        score = max(_resemblance(words, part) for part in parts)
        if score >= LEAST_RESEMBLANCE:
            scored.append((-score, name))
    return tuple(name for _, name in sorted(scored)[:SUGGESTIONS])


def _resemblance(words: Words, other_words: Words) -> float:
    """Similarity in [0, 1]: above a half with words in common ("barking" and "bark"), else by letters."""
    common = sum(any(_share_stem(word, candidate) for candidate in other_words) for word in words)
    if common:
        return 0.5 + 0.5 * common / (len(words) + len(other_words) - common)
    matcher = SequenceMatcher(None, "".join(words), "".join(other_words))
    if matcher.real_quick_ratio() < LEAST_RESEMBLANCE or matcher.quick_ratio() < LEAST_RESEMBLANCE:
        return 0.0
    return matcher.ratio()


def _share_stem(first: str, second: str) -> bool:
    """Whether words are equal, or one begins with the other, which has `STEM_LETTERS` at least."""
    shorter, longer = sorted((first, second), key=len)
    return first == second or (len(shorter) >= STEM_LETTERS and longer.startswith(shorter))


def _match_parts(parts: Sequence[str], class_names: Names) -> list[int | None]:
    """Match comma-separated hints, which are also cut at the commas within a class name.

    The longest run of parts that is a whole name is taken for that class: "Canidae", "dogs",
    "wolves" are one class, and not also "Dog".
    """
    names, _ = _tables(class_names)
    indices: list[int | None] = []
    start = 0
    while start < len(parts):
        for end in range(len(parts), start + 1, -1):
            whole = names.get(_normalised(", ".join(parts[start:end])))
            if whole is not None:
                indices.append(whole)
                start = end
                break
        else:
            indices.append(match_name(parts[start], class_names))
            start += 1
    return indices


@lru_cache(maxsize=8)
def _tables(class_names: Names) -> tuple[dict[Words, int], dict[Words, int]]:
    """Classes by their whole name, and by those synonyms that belong to one class alone."""
    names = {_normalised(name): index for index, name in enumerate(class_names)}
    owners: dict[Words, int] = {}
    shared: Counter[Words] = Counter()
    for index, name in enumerate(class_names):
        for synonym in {_normalised(part) for part in _COMMA_OUTSIDE_BRACKETS.split(name)}:
            owners[synonym] = index
            shared[synonym] += 1
    return names, {synonym: index for synonym, index in owners.items() if synonym and shared[synonym] == 1}


@lru_cache(maxsize=8)
def _joined_table(class_names: Names) -> dict[str, int]:
    """Classes by the joined words of a name or synonym, without those shared by several classes."""
    owners: dict[str, set[int]] = {}
    for index, name in enumerate(class_names):
        for part in (name, *_COMMA_OUTSIDE_BRACKETS.split(name)):
            owners.setdefault("".join(_normalised(part)), set()).add(index)
    return {joined: index for joined, (index, *others) in owners.items() if joined and not others}


def _normalised(text: str) -> Words:
    """Singular words in lower case; digits count, because "Siren 2" is not "Siren"."""
    plain = _APOSTROPHES.sub("", text.casefold())
    words = (word for word in _WORD.findall(plain) if word not in _JOINING)
    return tuple(_singular(word) for word in words)


def _singular(word: str) -> str:
    """Singular of an English word. In doubt the word is unchanged: an irregular plural finds no match."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 3 or word in _NO_PLURAL or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]
