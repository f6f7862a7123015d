"""The effort of corrections, and figures of events beside those of sed_eval."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.head.correction_effort import (
    DELETE,
    DRAG,
    DRAW,
    RELABEL,
    TICK,
    Event,
    background_seconds,
    drawing_effort,
    edge_errors,
    events_found,
    events_of,
    false_alarms,
    region_effort,
    tag_effort,
)
from earmark.labels.region import Region
from tests.examples import with_examples
from tests.lazily import Lazy

dcase_util, sed_eval = Lazy("dcase_util.containers"), Lazy("sed_eval")

TRUE = [Event(1.0, 3.0, "a"), Event(5.0, 6.0, "b")]
EVENTS = st.lists(
    st.tuples(st.integers(0, 80), st.integers(1, 30), st.sampled_from("ab")).map(
        lambda drawn: Event(drawn[0] / 10, (drawn[0] + drawn[1]) / 10, drawn[2])
    ),
    max_size=5,
)


@pytest.mark.parametrize(
    ("shown", "effort"),
    [
        ([], 2 * DRAW),
        (TRUE, 0.0),
        ([*TRUE, Event(8.0, 9.0, "a")], DELETE),
        ([Event(1.0, 3.0, "b"), TRUE[1]], RELABEL),
        ([Event(1.2, 3.05, "a"), TRUE[1]], DRAG),
        ([Event(1.2, 2.0, "b"), TRUE[1]], DRAW + DELETE),  # cheaper than to relabel and drag it twice
        ([Event(1.0, 2.0, "a"), Event(2.0, 3.0, "a"), TRUE[1]], DRAG + DELETE),
    ],
)
def test_the_least_effort_is_counted(shown: list[Event], effort: float) -> None:
    assert region_effort(shown, TRUE) == effort


def test_a_region_of_two_labels_is_two_events() -> None:
    events = events_of([Region(1.0, 2.0, frozenset("ab"))])
    assert events == [Event(1.0, 2.0, "a"), Event(1.0, 2.0, "b")]
    assert region_effort(events, events) == 0.0
    assert drawing_effort(events) == 2 * DRAW


def test_tags_cost_a_click_each() -> None:
    assert tag_effort(frozenset("ab"), frozenset("bc"), exclusive=False) == 2 * TICK
    assert tag_effort(frozenset("a"), frozenset("b"), exclusive=True) == TICK
    assert tag_effort(frozenset("a"), frozenset("a"), exclusive=True) == 0.0


def test_false_alarms_and_background() -> None:
    shown = [Event(1.5, 2.0, "b"), Event(4.0, 4.5, "a"), Event(8.0, 9.0, "a")]
    assert false_alarms(shown, TRUE) == 2, "a wrong label over an event is no false alarm"
    assert false_alarms(shown, []) == 3
    assert background_seconds([*TRUE, Event(2.0, 3.5, "b")], 10.0) == pytest.approx(6.5)
    assert background_seconds([], 10.0) == 10.0


def test_each_event_is_paired_once() -> None:
    shown = [Event(1.0, 3.0, "a"), Event(1.2, 2.9, "a"), Event(5.5, 6.0, "b")]
    onsets, offsets = edge_errors(shown, TRUE)
    assert sorted(onsets) == [0.0, 0.5]
    assert sorted(offsets) == [0.0, 0.0]


@with_examples(60)
@given(shown=EVENTS, true=EVENTS)
def test_events_are_found_as_sed_eval_counts_them(shown: list[Event], true: list[Event]) -> None:
    metric = sed_eval.sound_event.EventBasedMetrics(["a", "b"], t_collar=0.2, percentage_of_length=0.5)
    metric.evaluate(_container(true), _container(shown))
    assert events_found(shown, true) == metric.overall["Ntp"]


@given(shown=EVENTS, true=EVENTS)
def test_correcting_never_costs_more_than_deleting_all_and_drawing_anew(
    shown: list[Event], true: list[Event]
) -> None:
    effort = region_effort(shown, true)
    assert abs(len(shown) - len(true)) * DELETE <= effort <= DELETE * len(shown) + drawing_effort(true)
    assert region_effort(true, true) == 0.0


def _container(events: list[Event]) -> Any:
    return dcase_util.MetaDataContainer(
        [{"file": "f", "onset": e.start, "offset": e.end, "event_label": e.label} for e in events]
    )
