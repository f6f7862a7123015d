"""Overlap factors learned from annotations, and the suppression of regions by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from earmark.head.examples import AnnotatedClip
from earmark.labels.region import Region
from earmark.prediction.overlap import (
    DEFAULT_FACTOR,
    EXCLUSIVE_FACTOR,
    Stretch,
    learn_overlap_factors,
    suppress_overlaps,
)
from earmark.prediction.stretches import find_stretches

RATE = 10.0


def clip(*regions: tuple[float, float, str], duration: float = 10.0) -> AnnotatedClip:
    drawn = tuple(Region(start, end, frozenset([label])) for start, end, label in regions)
    return AnnotatedClip(np.zeros((10, 2)), duration, "g", 1.0, {"c": drawn}, {})


def curves(seconds: float, *events: tuple[int, float, float, float], labels: int = 2) -> NDArray[Any]:
    """Probabilities of labels: column, onset, offset and height of each event."""
    probabilities = np.full((round(seconds * RATE), labels), 0.01, dtype=np.float32)
    for column, start, end, height in events:
        probabilities[round(start * RATE) : round(end * RATE), column] = height
    return probabilities


def suppressed(
    probabilities: NDArray[Any], factors: NDArray[Any] | None, threshold: float = 0.2
) -> list[Stretch]:
    limits = np.full(probabilities.shape[1], threshold)
    stretches = [
        (column, *stretch)
        for column in range(probabilities.shape[1])
        for stretch in find_stretches(probabilities[:, column], threshold, RATE)
    ]
    return sorted(suppress_overlaps(probabilities, limits, factors, stretches))


def exclusive(labels: int = 2) -> NDArray[Any]:
    return np.eye(labels, dtype=np.float32)


def test_labels_that_share_clips_and_never_seconds_are_exclusive() -> None:
    clips = [clip((0, 4, "a"), (4.1, 9, "b"), (2, 6, "c")) for _ in range(20)]
    factors = learn_overlap_factors("c", ("a", "b", "c"), clips)
    assert factors[0, 1] == factors[1, 0] < EXCLUSIVE_FACTOR
    assert factors[0, 2] == factors[1, 2] == 1.0
    assert (np.diag(factors) == 1.0).all()


def test_a_project_without_any_overlap_tells_of_pairs_that_were_never_in_one_clip() -> None:
    labels = tuple(f"l{number}" for number in range(40))
    clips = [clip((1, 8, labels[number % 40])) for number in range(60)]
    factors = learn_overlap_factors("c", labels, clips)
    assert factors[~np.eye(40, dtype=bool)].max() < EXCLUSIVE_FACTOR


def test_before_any_annotation_pairs_have_the_default() -> None:
    for clips in ([], [clip()], [clip((0, 1, "unknown"))]):
        factors = learn_overlap_factors("c", ("a", "b"), clips)
        assert factors[0, 1] == pytest.approx(DEFAULT_FACTOR)


def test_one_region_tells_little_and_hand_drawn_borders_tell_nothing() -> None:
    few = learn_overlap_factors("c", ("a", "b"), [clip((0, 5, "a"), (5, 9, "b"))])
    assert few[0, 1] > EXCLUSIVE_FACTOR
    clips = [clip((0, 5.15, "a"), (5.0, 9, "b")) for _ in range(20)]
    assert learn_overlap_factors("c", ("a", "b"), clips)[0, 1] < EXCLUSIVE_FACTOR


def test_both_labels_of_one_region_overlap() -> None:
    both = AnnotatedClip(np.zeros((10, 2)), 10.0, "g", 1.0, {"c": (Region(1, 5, frozenset(["a", "b"])),)}, {})
    assert learn_overlap_factors("c", ("a", "b"), [both] * 5)[0, 1] == 1.0


def test_of_nine_faint_labels_on_the_same_seconds_the_best_is_left() -> None:
    heights = [0.64, 0.52, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.21]
    events = [(column, 1.0, 4.0, height) for column, height in enumerate(heights)]
    for factors in (None, exclusive(9)):
        assert suppressed(curves(6, *events, labels=9), factors) == [(0, 10, 40)]


def test_two_sure_labels_stay_before_any_annotation_and_not_where_they_exclude_each_other() -> None:
    probabilities = curves(10, (0, 1.0, 5.0, 0.97), (1, 4.0, 8.0, 0.95))
    assert suppressed(probabilities, None) == [(0, 10, 50), (1, 40, 80)]
    assert suppressed(probabilities, exclusive()) == [(0, 10, 50), (1, 50, 80)]


def test_labels_that_overlap_in_annotations_overlap_in_predictions() -> None:
    probabilities = curves(10, (0, 1.0, 5.0, 0.9), (1, 4.0, 8.0, 0.3))
    assert suppressed(probabilities, np.ones((2, 2))) == [(0, 10, 50), (1, 40, 80)]


def test_a_better_region_in_the_middle_splits_the_other() -> None:
    probabilities = curves(10, (0, 4.0, 5.0, 0.9), (1, 1.0, 9.0, 0.6))
    assert suppressed(probabilities, exclusive()) == [(0, 40, 50), (1, 10, 40), (1, 50, 90)]


def test_a_rest_below_the_threshold_goes() -> None:
    probabilities = curves(10, (0, 2.0, 5.0, 0.9), (1, 3.0, 5.0, 0.5), (1, 5.0, 8.0, 0.17))
    assert suppressed(probabilities, exclusive()) == [(0, 20, 50)]


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 60), st.just(4)), elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.float32, (4, 4), elements=st.sampled_from([0.0, 0.3, 1.0])),
    st.floats(0.05, 0.9),
)
def test_what_is_kept_lies_in_what_was_found_and_exclusive_labels_are_apart(
    probabilities: NDArray[Any], factors: NDArray[Any], threshold: float
) -> None:
    factors = np.minimum(factors, factors.T)
    np.fill_diagonal(factors, 1.0)
    before = suppressed(probabilities, np.ones((4, 4)), threshold)
    chosen = suppressed(probabilities, factors, threshold)
    sounding = np.zeros(probabilities.shape, dtype=int)
    for column, first, last in chosen:
        assert any(c == column and f <= first < last <= e for c, f, e in before)
        assert probabilities[first:last, column].max() >= np.float32(threshold)
        sounding[first:last, column] += 1
    assert sounding.max(initial=0) <= 1
    for label in range(4):
        for other in range(4):
            if factors[label, other] == 0:
                assert not (sounding[:, label] & sounding[:, other]).any()
    if before:
        means = [probabilities[first:last, column].mean(dtype=np.float64) for column, first, last in before]
        assert before[int(np.argmax(means))] in chosen, "the best one of all is never cut"
