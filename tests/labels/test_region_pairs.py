"""Regions that overlap are paired once each, the longest overlap first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from earmark.labels.region import Region
from earmark.labels.region_pairs import pair_regions


def region(start: float, end: float, *labels: str) -> Region:
    return Region(start, end, frozenset(labels))


LISTS = st.lists(
    st.builds(
        lambda start, length, label: region(start, start + length, label),
        st.integers(0, 12),
        st.integers(1, 6),
        st.sampled_from("ab"),
    ),
    max_size=6,
)


def share_labels(a: Region, b: Region) -> bool:
    return bool(a.labels & b.labels)


def overlap(a: Region, b: Region) -> float:
    return min(a.end, b.end) - max(a.start, b.start)


def test_the_longest_overlap_comes_first() -> None:
    annotated = [region(0, 4, "a"), region(5, 9, "a")]
    shown = [region(3, 8, "a"), region(3.5, 4, "a"), region(9, 10, "a")]
    assert pair_regions(annotated, shown) == [(1, 0), (0, 1)]


def test_preferred_pairs_come_before_longer_overlaps() -> None:
    annotated = [region(0, 4, "a")]
    shown = [region(0, 4, "b"), region(3, 5, "a")]
    assert pair_regions(annotated, shown) == [(0, 0)]
    assert pair_regions(annotated, shown, is_preferred=share_labels) == [(0, 1)]
    assert pair_regions(annotated, shown[:1], may_pair=share_labels) == []


@given(LISTS, LISTS)
def test_each_is_used_once_and_no_pair_is_left(first: list[Region], second: list[Region]) -> None:
    pairs = pair_regions(first, second, may_pair=share_labels)
    firsts, seconds = {i for i, _ in pairs}, {j for _, j in pairs}
    assert len(firsts) == len(seconds) == len(pairs)
    overlaps = [overlap(first[i], second[j]) for i, j in pairs]
    assert overlaps == sorted(overlaps, reverse=True)
    assert all(share_labels(first[i], second[j]) and overlap(first[i], second[j]) > 0 for i, j in pairs)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            if i not in firsts and j not in seconds:
                assert not share_labels(a, b) or overlap(a, b) <= 0
