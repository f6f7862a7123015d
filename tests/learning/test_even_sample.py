"""Samples are spread evenly, and none lies beyond the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.learning.even_sample import even_sample


@pytest.mark.parametrize("most", [60, 120, 300])
@given(count=st.integers(1, 3000))
def test_about_as_many_as_wanted(most: int, count: int) -> None:
    sample = even_sample(range(count), max(1.0, count / most))
    assert sample[0] == 0
    assert sample == sorted(set(sample))
    assert abs(len(sample) - min(count, most)) <= 1


def test_a_step_that_is_no_whole_number_ends_before_the_end() -> None:
    assert even_sample(range(65), 65 / 60)[-1] == 63
