"""Rename detection: a label counts as renamed only where it is unambiguous."""

from __future__ import annotations

import pytest

from earmark.labels.label_config import parse_label_config
from earmark.labels.rename_detection import certain_renames


def controls(*labels: str, name: str = "label", tag: str = "Labels") -> str:
    """Labels are ``value`` or ``value=alias``."""
    child = "Label" if tag == "Labels" else "Choice"
    parts = []
    for label in labels:
        value, _, alias = label.partition("=")
        parts.append(f'<{child} value="{value}"' + (f' alias="{alias}"' if alias else "") + "/>")
    return f'<{tag} name="{name}" toName="a">{"".join(parts)}</{tag}>'


def renamed(before: str, after: str) -> list[tuple[str, str, str]]:
    audio = '<Audio name="a" value="$audio"/>'
    old, new = (parse_label_config(f"<View>{audio}{text}</View>") for text in (before, after))
    return [(rename.control.name, rename.old, rename.new) for rename in certain_renames(old, new)]


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        (["a", "b", "c"], ["a", "x", "c"], [("b", "x")]),
        (["a"], ["x"], [("a", "x")]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "a"], []),
        (["a", "b", "c"], ["a", "c"], []),  # removed
        (["a", "b"], ["a", "b", "c"], []),  # added
        (["a", "b", "c"], ["a", "c", "x"], []),  # elsewhere
        (["a", "b", "c"], ["c", "x", "a"], []),  # in its place, but nothing else is
        (["a", "b"], ["x", "y"], []),  # two at once
        (["a", "b"], ["x"], []),
        (["Dog", "b"], ["Dog=dog", "b"], [("Dog", "dog")]),
        (["Dog=dog", "b"], ["b", "Dog=hound"], [("dog", "hound")]),  # shown as before: place is no matter
        (["Dog=dog", "Cat=cat"], ["Dog", "Cat"], [("dog", "Dog"), ("cat", "Cat")]),
        (["Dog=dog"], ["Hound=dog"], []),  # results are spelled as before
        (["Dog", "b"], ["Dog=dog", "x"], [("Dog", "dog"), ("b", "x")]),
    ],
)
def test_what_counts_as_renamed(before: list[str], after: list[str], pairs: list[tuple[str, str]]) -> None:
    assert renamed(controls(*before), controls(*after)) == [("label", *pair) for pair in pairs]


def test_labels_of_other_controls_and_other_kinds_are_other_labels() -> None:
    assert renamed(controls("a"), controls("x", name="other")) == []
    assert renamed(controls("a"), controls("x", tag="Choices")) == []
    assert renamed(controls("a") + controls("a", name="two"), controls("x") + controls("a", name="two")) == [
        ("label", "a", "x")
    ]


def test_two_labels_that_are_shown_alike_cannot_be_told_apart() -> None:
    assert renamed(controls("Dog=dog", "Dog=hound"), controls("Dog=x", "b")) == []
