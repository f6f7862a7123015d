"""Distances against sums over a fine grid, as sed_eval counts segments."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import ReadResult
from earmark.learning.segment_metrics import Distance, measure
from earmark.storage.finite_json import dumps, loads

LABELS = ("a", "b", "c")
REGIONS = Control("r", "audio", REGION_LABELS, LABELS, "audio")
TAGS = Control("t", "audio", MULTIPLE_CHOICE, LABELS, "audio")


def regions(*drawn: Region) -> ReadResult:
    return ReadResult({"r": drawn}, {})


def tags(*labels: str) -> ReadResult:
    return ReadResult({"r": ()}, {"t": frozenset(labels)} if labels else {})


def figures(control: Control, *pairs: tuple[ReadResult, ReadResult]) -> dict[str, float]:
    total = Distance()
    for annotated, predicted in pairs:
        stored = measure(control, annotated, predicted, None)
        assert stored is not None
        total.add(stored)
    return total.summary()


def test_a_region_found_in_part() -> None:
    wanted = regions(Region(1.0, 3.0, frozenset("a")), Region(2.0, 3.0, frozenset("b")))
    given_ = regions(Region(2.0, 4.0, frozenset("a")), Region(2.0, 2.5, frozenset("c")))
    stored = measure(REGIONS, wanted, given_, None)
    assert stored is not None
    assert stored["labels"] == {
        "a": {"found": 1.0, "missed": 1.0, "extra": 1.0},
        "b": {"found": 0.0, "missed": 1.0, "extra": 0.0},
        "c": {"found": 0.0, "missed": 0.0, "extra": 0.5},
    }
    assert stored["substituted"] == 0.5  # c in the place of b, for half a second
    total = figures(REGIONS, (wanted, given_))
    assert total["f1"] == pytest.approx(2 * 1 / (2 * 1 + 2 + 1.5))
    assert total["error_rate"] == pytest.approx((2 + 1.5 - 0.5) / 3)


def test_tags_and_their_ranking() -> None:
    stored = measure(TAGS, tags("a", "b"), tags("b", "c"), {"a": 0.4, "b": 0.9, "c": 0.6})
    assert stored is not None
    assert stored["labels"] == {
        "a": {"found": 0.0, "missed": 1.0, "extra": 0.0},
        "b": {"found": 1.0, "missed": 0.0, "extra": 0.0},
        "c": {"found": 0.0, "missed": 0.0, "extra": 1.0},
    }
    assert stored["substituted"] == 1.0
    assert stored["lwlrap"] == pytest.approx((1 + 2 / 3) / 2)
    assert measure(TAGS, tags(), tags("a"), None) is None, "an open choice says nothing"


def test_nothing_to_find_and_nothing_found_is_no_figure() -> None:
    assert figures(REGIONS, (regions(), regions())) == {"annotations": 1.0}
    extra = figures(REGIONS, (regions(), regions(Region(0, 1, frozenset("a")))))
    assert extra == {"annotations": 1.0, "f1": 0.0}


def test_sums_over_annotations_weigh_seconds_and_labels() -> None:
    good, bad = regions(Region(0, 9, frozenset("a"))), regions(Region(0, 1, frozenset("b")))
    assert figures(REGIONS, (good, good), (bad, regions()))["f1"] == pytest.approx(18 / 19)
    total = Distance()
    for stored in (
        measure(TAGS, tags("a", "b"), tags(), {"a": 1.0, "b": 0.9, "c": 0.1}),
        measure(TAGS, tags("c"), tags(), {"a": 1.0, "b": 0.9, "c": 0.1}),
    ):
        assert stored is not None
        total.add(stored)
    assert total.summary()["lwlrap"] == pytest.approx((1 + 1 + 1 / 3) / 3)


def test_an_annotator_who_removes_every_tag_is_counted() -> None:
    """No label is true, so there is no ranking; the tag that was shown is extra."""
    nothing = ReadResult({"r": ()}, {"t": frozenset()})
    stored = measure(TAGS, nothing, tags("a"), {"a": 0.9, "b": 0.2, "c": 0.1})
    assert stored is not None
    assert "lwlrap" not in stored
    total = Distance()
    total.add(loads(dumps(stored)))
    total.add({**stored, "lwlrap": None})  # as earlier releases stored it
    assert total.summary() == {"annotations": 2.0, "f1": 0.0}


some_tags = st.frozensets(st.sampled_from(LABELS))


@given(st.lists(st.tuples(some_tags, some_tags, st.booleans()), max_size=6))
def test_whatever_is_ticked_gives_finite_figures(
    clips: list[tuple[frozenset[str], frozenset[str], bool]],
) -> None:
    """Distances go through the database's JSON, and come back as figures that the API can send."""
    total = Distance()
    for wanted, given_, ranked in clips:
        stored = measure(
            TAGS,
            ReadResult({"r": ()}, {"t": wanted}),
            ReadResult({"r": ()}, {"t": given_}),
            {"a": 0.9, "b": 0.2, "c": 0.1} if ranked else None,
        )
        assert stored is not None
        assert loads(dumps(stored)) == stored, "a number that JSON cannot hold"
        total.add(stored)
    assert all(map(math.isfinite, total.summary().values()))


ticks = st.integers(0, 20)
region = st.builds(
    lambda start, length, labels: Region(start / 10, (start + length) / 10, labels),
    ticks,
    st.integers(1, 10),
    st.frozensets(st.sampled_from(LABELS), min_size=1),
)


@given(st.lists(region, max_size=6), st.lists(region, max_size=6))
def test_regions_are_counted_as_segments_would_be(wanted: list[Region], given_: list[Region]) -> None:
    true_positive = false_positive = false_negative = substituted = reference = 0
    for tick in range(40):
        middle = (tick + 0.5) / 10
        true, shown = (
            {label for r in side if r.start < middle < r.end for label in r.labels}
            for side in (wanted, given_)
        )
        true_positive += len(true & shown)
        false_positive += len(shown - true)
        false_negative += len(true - shown)
        substituted += min(len(shown - true), len(true - shown))
        reference += len(true)
    total = figures(REGIONS, (regions(*wanted), regions(*given_)))
    if wanted or given_:
        f1 = 2 * true_positive / (2 * true_positive + false_positive + false_negative)
        assert total["f1"] == pytest.approx(f1, abs=1e-9)
    if wanted:
        error_rate = (false_positive + false_negative - substituted) / reference
        assert total["error_rate"] == pytest.approx(error_rate, abs=1e-9)
