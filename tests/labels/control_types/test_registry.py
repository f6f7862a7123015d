"""Registry of control types: stored names, and tags of label configs."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.labels.config_tree import parse_tree
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.control_types.registry import CONTROL_TYPES, type_named, type_of_tag


def test_the_names_that_heads_store_stay_readable() -> None:
    names = {"regions": REGION_LABELS, "single": SINGLE_CHOICE, "multiple": MULTIPLE_CHOICE}
    assert {name: type_named(name) for name in names} == names
    for unknown in ("nonsense", None, ["regions"]):
        with pytest.raises(ValueError, match="no control type"):
            type_named(unknown)


@pytest.mark.parametrize(
    ("tag", "control_type"),
    [
        ("<Labels/>", REGION_LABELS),
        ("<Choices/>", SINGLE_CHOICE),
        ('<Choices choice="multiple"/>', MULTIPLE_CHOICE),
        ("<TextArea/>", None),
    ],
)
def test_tags_have_types(tag: str, control_type: ControlType | None) -> None:
    assert type_of_tag(parse_tree(tag)) is control_type


@pytest.mark.parametrize("control_type", CONTROL_TYPES.values())
def test_labels_are_read_as_they_are_written(control_type: ControlType) -> None:
    written = control_type.value([("3",), ("4",)])
    assert control_type.read_paths(written) == (
        [("3",)] if control_type.result_type == "rating" else [("3",), ("4",)]
    )
    for invalid in ({}, {control_type.result_type: "a"}, {control_type.result_type: [1, None, [], [2]]}):
        assert control_type.read_labels(invalid) == []


@pytest.mark.parametrize("control_type", CONTROL_TYPES.values())
def test_exclusive_labels_share_one_probability(control_type: ControlType) -> None:
    probabilities = control_type.probabilities(np.array([[2.0, 1.0, -1.0], [-np.inf, -np.inf, -np.inf]]))
    assert np.isfinite(probabilities).all()
    assert (probabilities.sum(axis=1) == pytest.approx(1)) is control_type.exclusive
    taken = control_type.decisions(probabilities, np.full(3, 0.5))
    assert taken[0].tolist() == [True, not control_type.exclusive, False]
    assert 0 < control_type.certainty(probabilities[0]) < 1
