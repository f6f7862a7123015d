"""Evenly spread samples of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from earmark.head.examples import AnnotatedClip

MOST_CLIPS = 60
MOST_SECONDS = 300.0
"""Limits of the sound that a training predicts again: more takes time, and moves no figure."""

Item = TypeVar("Item")


def even_sample(items: Sequence[Item], step: float) -> list[Item]:
    """Return about every ``step``-th item, beginning with the first; ``step`` is at least 1.

    ``numpy.arange`` will not do: with a step that is no whole number its last place may be the end itself.
    """
    places = (int(number * step) for number in range(len(items)))
    return [items[place] for place in places if place < len(items)]


def sample_of_clips(positions: Sequence[int], clips: Sequence[AnnotatedClip]) -> list[int]:
    """Return evenly spread positions of clips: `MOST_CLIPS` and about `MOST_SECONDS` at most."""
    seconds = sum(clips[position].duration for position in positions)
    return even_sample(positions, max(1.0, len(positions) / MOST_CLIPS, seconds / MOST_SECONDS))
