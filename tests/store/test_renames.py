"""Renamed labels: from a former name to the present one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.store.renames import follow_chain


@pytest.mark.parametrize(
    ("renames", "labels", "followed"),
    [
        ([("a", "b")], "b", {"a": "b"}),
        ([("a", "b"), ("b", "c")], "c", {"a": "c", "b": "c"}),
        ([("a", "b"), ("b", "a")], "a", {"b": "a"}),
        ([("a", "b"), ("b", "a"), ("a", "d")], "d", {"a": "d", "b": "d"}),
        ([("a", "b"), ("x", "y")], "by", {"a": "b", "x": "y"}),
        ([("a", "b")], "", {}),  # renamed, then removed
        ([("a", "b")], "ab", {}),  # a new label has the old name: Label Studio shows it as that one
        ([("a", "b"), ("b", "c"), ("a", "d")], "cd", {"a": "d", "b": "c"}),
    ],
)
def test_chains(renames: list[tuple[str, str]], labels: str, followed: dict[str, str]) -> None:
    assert follow_chain(renames, set(labels)) == followed


def test_the_latest_former_name_is_first() -> None:
    assert list(follow_chain([("z", "m"), ("m", "a"), ("a", "k")], {"k"})) == ["a", "m", "z"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"))), st.sets(st.sampled_from("abcd"))
)
def test_every_chain_ends_at_a_label(renames: list[tuple[str, str]], labels: set[str]) -> None:
    followed = follow_chain(renames, labels)
    assert set(followed.values()) <= labels
    assert not set(followed) & labels
