"""Records: spans around what was left open or lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from earmark.export.records import NOTHING, AnnotatedSpan, spans_without

PAIRS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted), max_size=6)


@given(PAIRS, PAIRS)
def test_spans_without_gaps_hold_all_that_lies_outside_of_them(
    spans: list[list[int]], gaps: list[list[int]]
) -> None:
    left = spans_without(
        [AnnotatedSpan(start, end, "anna") for start, end in spans], [(start, end) for start, end in gaps]
    )
    for second in range(20):
        middle = second + 0.5
        expected = sum(a < middle < b for a, b in spans) * (not any(a < middle < b for a, b in gaps))
        assert sum(span.start < middle < span.end for span in left) == expected
    if left != (NOTHING,):
        assert left
        assert all(span.end > span.start and span.annotator == "anna" for span in left)
