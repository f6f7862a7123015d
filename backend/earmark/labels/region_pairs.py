"""Pairing of regions that overlap: shown ones with annotated ones, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class TimeSpan(Protocol):
    """Anything with a start and an end, in seconds."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


A = TypeVar("A", bound=TimeSpan)
B = TypeVar("B", bound=TimeSpan)


def pair_regions(
    first: Sequence[A],
    second: Sequence[B],
    *,
    may_pair: Callable[[A, B], bool] = lambda a, b: True,
    is_preferred: Callable[[A, B], bool] = lambda a, b: False,
) -> list[tuple[int, int]]:
    """Return places in ``first`` and in ``second`` of regions that belong together.

    Greedy: preferred pairs come first, then those that overlap longest; of equal ones, the earlier in
    ``first``, then in ``second``. Regions that only touch do not overlap.
    """
    candidates = sorted(
        (not is_preferred(a, b), max(a.start, b.start) - min(a.end, b.end), i, j)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
        if a.start < b.end and b.start < a.end and may_pair(a, b)
    )
    pairs, firsts, seconds = list[tuple[int, int]](), set[int](), set[int]()
    for _, _, i, j in candidates:
        if i not in firsts and j not in seconds:
            firsts.add(i)
            seconds.add(j)
            pairs.append((i, j))
    return pairs
