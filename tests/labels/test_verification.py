"""Controls that verify regions: which ones do, and which only look like it."""

from __future__ import annotations

import pytest

from earmark.labels.config_tree import parse_tree
from earmark.labels.verification import VerificationControl, find_verification_controls


def find(attributes: str, *choices: str, before: str = "") -> VerificationControl | None:
    inner = "".join(f'<Choice value="{choice}"/>' for choice in choices)
    root = parse_tree(f'<View>{before}<Choices perRegion="true" {attributes}>{inner}</Choices></View>')
    controls = find_verification_controls(
        [tag for tag in root.walk() if tag.name == "choices"], frozenset({"Dog", "Cat"})
    )
    return controls[0] if controls else None


@pytest.mark.parametrize(
    ("attributes", "choices", "role"),
    [
        ('name="q"', ("Correct", "Incorrect"), "verdict"),
        ('name="q"', ("correct", "wrong", "not sure"), "verdict"),
        ('name="q"', ("Correct", "Incorrect", "Too noisy"), "verdict"),
        ('name="q"', ("True_positive", "False-positive"), "verdict"),
        ('name="verified"', ("Yes", "No", "Maybe"), "verdict"),
        ('name="q"', ("Yes", "No"), "doubt"),
        ('name="q" earmark_role="verdict"', ("Yes", "No"), "verdict"),
        ('name="verified" earmark_role="label"', ("Yes", "No"), None),
        ('name="quality"', ("Good", "Fair", "Poor"), None),
        ('name="quality"', ("Good", "Bad"), None),
        ('name="corrected"', ("Dog", "other"), "correction"),
        ('name="caller"', ("Dog", "Cat"), None),
        ('name="caller" earmark_role="correction"', ("Dog", "Cat"), "correction"),
    ],
)
def test_verification_controls_are_recognised(
    attributes: str, choices: tuple[str, ...], role: str | None
) -> None:
    control = find(attributes, *choices)
    assert (control and control.role) == role


def test_the_question_before_it_counts() -> None:
    control = find('name="q"', "Yes", "No", before='<Header value="Is the label right?"/>')
    assert control is not None
    assert control.role == "verdict"


def test_verdicts_contradict_each_other() -> None:
    control = find('name="q"', "Correct", "Incorrect", "Unsure")
    assert control is not None
    assert [control.verdict(values) for values in (["Correct"], ["Incorrect"], ["Unsure"], [])] == [
        "right",
        "wrong",
        "unsure",
        None,
    ]
    assert control.verdict(["Correct", "Incorrect"]) == "unsure"
