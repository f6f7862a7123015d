"""Labels that are nearly equal."""

from __future__ import annotations

import pytest

from earmark.importing.label_similarity import nearly_equal


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Acoustic_guitar", "Acoustic_guitax"),
        ("Acoustic_guitar", "Acoustic guitar"),
        ("Acoustic_guitar", "acoustic-guitar"),
        ("Acoustic_guitar", "Acoustic_gitar"),
        ("Acoustic_guitar", "Acoustic_guitarr"),
        ("owl", "Owl"),
    ],
)
def test_one_label_in_two_spellings_is_found(a: str, b: str) -> None:
    assert nearly_equal([b, "Trumpet", a]) == [tuple(sorted((a, b)))]


@pytest.mark.parametrize(
    "labels",
    [
        ("cat", "bat"),
        ("type 1", "type 2"),
        ("call 1", "call 12"),
        ("Acoustic_guitar", "Electric_guitar"),
        ("guitar", "gtuiar"),
        ("", "a"),
        (),
    ],
)
def test_other_labels_are_not(labels: tuple[str, ...]) -> None:
    assert nearly_equal(labels) == []


@pytest.mark.slow
def test_many_labels_are_compared_quickly() -> None:
    assert nearly_equal(f"species number {number}" for number in range(20_000)) == []
