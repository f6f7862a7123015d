"""A single choice is shown when it tells more than chance would."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.head.model import ControlHead, Head
from earmark.head.zero_shot import NONE_OF_THESE
from earmark.labels.control import Control
from earmark.labels.control_types.choices import SINGLE_CHOICE
from earmark.prediction.label_mapping import as_configured
from earmark.prediction.postprocessing import CHOICE_MARGIN, predict_clip


def tags_of(probabilities: list[float], labels: list[str], configured: list[str]) -> list[str]:
    """What is shown where a head is this sure of its labels."""
    count = len(labels)
    head = ControlHead(
        "c",
        SINGLE_CHOICE,
        tuple(labels),
        np.zeros(1, np.float32),
        np.ones(1, np.float32),
        np.zeros((1, count), np.float32),
        np.log(probabilities).astype(np.float32),
        np.full(count, 0.5, np.float32),
    )
    control = Control("c", "audio", SINGLE_CHOICE, tuple(configured), "audio")
    served = as_configured(Head("e-1", {"c": head}), [control], {})
    prediction = predict_clip(
        served, [control], lambda f: f.mean(axis=-2).astype(np.float32), 10.0, np.zeros((5, 1)), 0.5
    )
    return [label for label, _ in prediction.tags.get("c", ())]


@pytest.mark.parametrize("count", [2, 3, 10, 50])
def test_the_floor_is_a_margin_above_chance(count: int) -> None:
    labels = [f"l{number}" for number in range(count)]
    floor = 1 / count + CHOICE_MARGIN * (1 - 1 / count)
    for share, shown in ((floor + 0.01, ["l0"]), (floor - 0.01, [])):
        others = (1 - share) / (count - 1)
        assert tags_of([share, *[others] * (count - 1)], labels, labels) == shown


def test_chance_counts_labels_that_were_never_annotated() -> None:
    assert tags_of([0.5, 0.5 - 1e-3], ["a", "b"], ["a", "b"]) == []
    assert tags_of([0.5, 0.5 - 1e-3], ["a", "b"], ["a", "b", "c", "d"]) == ["a"]


def test_a_head_that_knows_one_label_alone_tells_nothing() -> None:
    assert tags_of([1.0], ["a"], ["a", "b"]) == []
    assert tags_of([0.9, 0.1], ["a", "b"], ["a", "c"]) == []  # b was removed


def test_none_of_these_competes_unseen() -> None:
    assert tags_of([0.2, 0.01, 0.79], ["a", "b", NONE_OF_THESE], ["a", "b", "c"]) == []
    assert tags_of([0.6, 0.01, 0.39], ["a", "b", NONE_OF_THESE], ["a", "b", "c"]) == ["a"]
