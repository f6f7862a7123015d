"""Find labels that are nearly equal, which may be one label with a typing error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

LEAST_LETTERS = 5
"""Labels from this length on are compared letter by letter: of shorter ones, many differ by one."""


def nearly_equal(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of labels that differ only in case, spaces, underscores and hyphens, or in one letter.

    Numbers that differ, as in ``type 1`` and ``type 2``, are no typing error.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        spellings["".join(char for char in label.casefold() if char not in " _-")].append(label)
    # Two words are one letter apart if a word is left over in common when each loses at most one letter
    remainders: dict[str, list[str]] = defaultdict(list)
    for word in spellings:
        if len(word) >= LEAST_LETTERS:
            for rest in {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}:
                remainders[rest].append(word)
    pairs = {pair for words in remainders.values() for pair in combinations(words, 2) if _letter_apart(*pair)}
    near = [pair for same in spellings.values() for pair in combinations(same, 2)]
    return sorted(near + [(spellings[a][0], spellings[b][0]) for a, b in pairs])


def _letter_apart(a: str, b: str) -> bool:
    """Return whether one word becomes the other by adding, leaving out or changing one letter."""
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return len(a) <= 1 and len(b) <= 1 and (a + b).isalpha()
