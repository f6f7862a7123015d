"""Evenly spread samples of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def even_sample(items: Sequence[Item], step: float) -> list[Item]:
    """Return about every ``step``-th item, beginning with the first; ``step`` is at least 1.

    ``numpy.arange`` will not do: with a step that is no whole number its last place may be the end itself.
    """
    places = (int(number * step) for number in range(len(items)))
    return [items[place] for place in places if place < len(items)]
