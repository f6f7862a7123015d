"""Conflicts between annotators: each counts by who agrees, unless ground truth or a reviewer settles them."""

from __future__ import annotations

import pytest

from earmark.head.examples import build_examples
from earmark.labels.control import Control
from earmark.labels.control_types.choices import SINGLE_CHOICE
from earmark.labels.region import Region
from earmark.learning.annotated_clips import AnnotatedSound, annotated_clips
from earmark.learning.annotator_agreement import annotator_pairs, disagreements
from earmark.learning.conflicts import label_weights
from tests.learning.test_annotator_agreement import REGIONS, TAGS, annotated_sound
from tests.pooling import mean_pool as pool

SINGLE = Control("t", "audio", SINGLE_CHOICE, ("x", "y"), "audio")


def weights(control: Control, *annotated: AnnotatedSound) -> list[dict[str, float]]:
    by_annotation = label_weights([control], annotated)
    return [
        dict(by_annotation.get(sound.annotation.annotation_id, {}).get(control.name, {}))
        for sound in annotated
    ]


def as_truth(annotated: AnnotatedSound) -> AnnotatedSound:
    annotated.annotation.ground_truth = True
    return annotated


def test_each_of_two_counts_half_about_what_they_differ_on() -> None:
    first, second = annotated_sound(1, 1, "xy"), annotated_sound(1, 2, "x")
    assert weights(TAGS, first, second) == [{"y": 0.5}, {"y": 0.5}]
    assert (
        weights(SINGLE, annotated_sound(1, 1, "x"), annotated_sound(1, 2, "y")) == [{"x": 0.5, "y": 0.5}] * 2
    )
    assert weights(TAGS, annotated_sound(1, 1, "x"), annotated_sound(2, 2, "y")) == [{}, {}], (
        "of different tasks"
    )


def test_a_majority_counts_more() -> None:
    settled = weights(
        TAGS,
        annotated_sound(1, 1, "x"),
        annotated_sound(1, 2, "x"),
        annotated_sound(1, 3, "x"),
        annotated_sound(1, 4, ""),
    )
    assert settled == [{"x": 0.75}] * 3 + [{"x": 0.25}]


@pytest.mark.parametrize("settled_by", ["ground_truth", "reviewed"])
def test_ground_truth_or_a_reviewer_settles_it(settled_by: str) -> None:
    judge, right, wrong = annotated_sound(1, 1, "x"), annotated_sound(1, 2, "x"), annotated_sound(1, 3, "y")
    setattr(judge.annotation, settled_by, True)
    assert weights(TAGS, judge, right, wrong) == [{}, {}, {"x": 0.0, "y": 0.0}]
    pairs = annotator_pairs([TAGS], [judge, right, wrong])
    assert {pair.annotators: (pair.differing, pair.settled) for pair in pairs} == {
        (1, 2): (0, 0),
        (1, 3): (0, 1),
        (2, 3): (0, 1),
    }
    assert disagreements([TAGS], [judge, right, wrong]) == []


def test_training_follows_the_weights() -> None:
    truth = as_truth(annotated_sound(1, 1, "x", Region(0, 2, frozenset("x"))))
    other = annotated_sound(1, 2, "y", Region(0, 2, frozenset("y")))
    for control in (TAGS, REGIONS):
        clips = annotated_clips([truth, other], [control], label_weights([control], [truth, other]))
        examples = build_examples(pool, 12.5, control, clips)
        assert examples is not None
        believed = examples.targets & (examples.weights > 0)
        assert believed[:, 0].any()
        assert not believed[:, 1].any()
