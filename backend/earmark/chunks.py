"""Chunking of a sequence by number and weight, such as tasks by seconds of sound, or files by bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")


def weighted_chunks(
    items: Iterable[_Item], weight: Callable[[_Item], float], most_items: int, most_weight: float
) -> Iterator[list[_Item]]:
    """Cut items, in order, into chunks of ``most_items`` and of the weight ``most_weight`` at most.

    An item that is heavier by itself is a chunk of its own.
    """
    chunk: list[_Item] = []
    total = 0.0
    for item in items:
        heaviness = weight(item)
        if chunk and (len(chunk) >= most_items or total + heaviness > most_weight):
            yield chunk
            chunk, total = [], 0.0
        chunk.append(item)
        total += heaviness
    if chunk:
        yield chunk
