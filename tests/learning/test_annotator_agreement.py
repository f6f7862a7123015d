"""Krippendorff's alpha where its value is known."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.features.extractor import EncodedSound
from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import ReadResult
from earmark.learning.annotated_clips import AnnotatedSound
from earmark.learning.annotator_agreement import disagreements, label_agreement
from earmark.store.models import Annotation, Task

TAGS = Control("t", "audio", MULTIPLE_CHOICE, ("x", "y"), "audio")
REGIONS = Control("r", "audio", REGION_LABELS, ("x", "y"), "audio")
SOUND = EncodedSound("0" * 64, 4.0, np.zeros((4, 1), np.float16))


def annotated_sound(
    task: int, annotator: int | None, tags: str | None = None, *regions: Region
) -> AnnotatedSound:
    read = ReadResult({"r": regions}, {} if tags is None else {"t": frozenset(tags)})
    number = 1000 * task + (annotator or 0)
    annotation = Annotation(annotation_id=number, completed_by=annotator, result=[])
    return AnnotatedSound(annotation, Task(task_id=task, data={}), read, {"audio": SOUND})


def alpha_of_two(pairs: list[tuple[bool, bool]]) -> float:
    """Nominal alpha of two coders without missing values (Krippendorff 2011, section A)."""
    values = [value for pair in pairs for value in pair]
    count = len(values)
    ones = sum(values)
    observed = sum(2 for first, other in pairs if first != other) / count
    expected = 2 * ones * (count - ones) / (count * (count - 1))
    return 1 - observed / expected


def test_tags_of_two_annotators() -> None:
    given = ["xy", "x", "y", "x", "y", "xy"]
    others = ["x", "x", "y", "y", "y", "xy"]
    pairs = [("x" in first, "x" in other) for first, other in zip(given, others, strict=True)]
    annotations = [annotated_sound(task, 1, tags) for task, tags in enumerate(given)]
    annotations += [annotated_sound(task, 2, tags) for task, tags in enumerate(others)]
    agreement = label_agreement([TAGS], annotations)
    assert agreement["t"]["x"] == pytest.approx(alpha_of_two(pairs))
    assert set(agreement["t"]) == {"x", "y"}
    # Who looked at a task alone agrees with nobody; an open choice says nothing
    more = [
        annotated_sound(50, 1, "x"),
        annotated_sound(51, 1, "y"),
        annotated_sound(52, 1, "x"),
        annotated_sound(52, 2, None),
    ]
    assert label_agreement([TAGS], [*annotations, *more]) == agreement


def test_regions_are_compared_second_by_second() -> None:
    annotations = [
        annotated_sound(1, 1, None, Region(0.2, 1.9, frozenset("x"))),  # seconds 0 and 1
        annotated_sound(1, 2, None, Region(0.0, 2.1, frozenset("x"))),  # seconds 0, 1 and 2
        annotated_sound(2, 1, None),
        annotated_sound(2, 2, None),
    ]
    pairs = [(True, True), (True, True), (False, True), (False, False), *[(False, False)] * 4]
    agreement = label_agreement([REGIONS], annotations)
    assert agreement == {"r": {"x": pytest.approx(alpha_of_two(pairs))}}, "nobody used y: it has no agreement"


def test_perfect_agreement_is_one_and_a_second_annotation_replaces_the_first() -> None:
    annotations = [
        annotated_sound(task, who, "x" if task % 2 else "y") for task in range(4) for who in (1, 2)
    ]
    assert label_agreement([TAGS], annotations) == {"t": {"x": 1.0, "y": 1.0}}
    assert label_agreement([TAGS], [annotated_sound(1, 2, "y"), *annotations]) == {"t": {"x": 1.0, "y": 1.0}}
    assert label_agreement([TAGS], [annotated_sound(1, 1, "x"), annotated_sound(1, 1, "y")]) == {}


def test_annotators_without_a_number_are_different_ones() -> None:
    first, second = annotated_sound(1, None, "x"), annotated_sound(1, None, "y")
    second.annotation.annotation_id = 7
    assert label_agreement([TAGS], [first, second])["t"]["x"] < 0.1


def test_each_task_has_the_labels_that_differ_in_it() -> None:
    annotations = [
        annotated_sound(1, 1, "x"),
        annotated_sound(1, 2, "xy"),
        annotated_sound(2, 1, "x"),
        annotated_sound(2, 2, None),
    ]
    annotations += [
        annotated_sound(3, 1, "x"),
        annotated_sound(3, 2, ""),
        annotated_sound(4, 1, "y"),
        annotated_sound(4, 2, "y"),
    ]
    (pair,) = disagreements([TAGS], annotations)
    assert (pair.tasks, pair.task_labels) == ([1, 3], [["y"], ["x"]])
