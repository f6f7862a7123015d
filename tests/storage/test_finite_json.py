"""JSON without NaN and infinity: what it writes, any parser reads."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from earmark.storage.finite_json import dumps, is_finite, loads

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=20,
)


def refuse(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON")


def with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_nulls(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_nulls(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(ANY_JSON)
def test_numbers_that_are_not_finite_become_null_and_all_else_is_kept(value: Any) -> None:
    for ensure_ascii in (True, False):
        text = dumps(value, ensure_ascii=ensure_ascii)
        assert json.loads(text, parse_constant=refuse) == with_nulls(value)
    assert is_finite(value) == (with_nulls(value) == value)


def test_pythons_own_names_of_numbers_are_read_as_null() -> None:
    assert loads('{"a": [NaN, Infinity, -Infinity, 1.5]}') == {"a": [None, None, None, 1.5]}
