"""Chunks hold every item once, in order, and no more than they may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from earmark.chunks import weighted_chunks


@given(st.lists(st.integers(0, 9)), st.integers(1, 4), st.integers(1, 20))
def test_no_chunk_is_too_large(weights: list[int], most_items: int, most_weight: int) -> None:
    chunks = list(weighted_chunks(enumerate(weights), lambda item: item[1], most_items, most_weight))
    assert [item for chunk in chunks for item in chunk] == list(enumerate(weights))
    for chunk in chunks:
        assert 1 <= len(chunk) <= most_items
        assert len(chunk) == 1 or sum(weight for _, weight in chunk) <= most_weight


def test_an_item_that_is_too_heavy_is_alone() -> None:
    assert list(weighted_chunks([1, 9, 1, 1], float, 10, 3)) == [[1], [9], [1, 1]]
