"""The gap that separates two events of a label, learned from sounds whose pauses are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from earmark.features.band_levels import BandLevelMeter
from earmark.head.examples import AnnotatedClip
from earmark.head.region_scorer import DEFAULT_GAP_SECONDS
from earmark.labels.region import Region
from earmark.learning.event_gaps import LONGEST_GAP_SECONDS, learn_gaps

SECONDS = 10.0
LABELS = ("low", "high")
HERTZ = {"low": 400.0, "high": 4000.0}

Calls = Sequence[tuple[float, float]]


def calls(start: float, sounding: float, pause: float, count: int) -> list[tuple[float, float]]:
    """Starts and ends of calls with pauses of one length between them."""
    starts = [start + number * (sounding + pause) for number in range(count)]
    return [(start, start + sounding) for start in starts]


def clip(
    number: int,
    sounds: dict[str, Calls],
    regions: Sequence[tuple[float, float, str]],
    levels: bool = True,
    weight: float = 1.0,
) -> AnnotatedClip:
    """Calls of each label in quiet noise, and what was drawn."""
    rate = BandLevelMeter.sample_rate
    time = np.arange(int(SECONDS * rate)) / rate
    wave = 0.001 * np.random.default_rng(number).standard_normal(time.size)
    for label, spans in sounds.items():
        for start, end in spans:
            wave += 0.1 * np.sin(2 * np.pi * HERTZ[label] * time) * ((time >= start) & (time < end))
    return AnnotatedClip(
        np.zeros((125, 2), dtype=np.float32),
        SECONDS,
        f"g{number}",
        weight=weight,
        regions={"label": tuple(Region(start, end, frozenset([label])) for start, end, label in regions)},
        levels=BandLevelMeter().frames([wave.astype(np.float32)]) if levels else None,
    )


def series(number: int, pause: float, together: bool, levels: bool = True) -> AnnotatedClip:
    """Four low calls, drawn as one region or as one each."""
    spans = calls(1.0 + 0.1 * number, 0.3, pause, 4)
    drawn = [(spans[0][0], spans[-1][1], "low")] if together else [(*span, "low") for span in spans]
    return clip(number, {"low": spans}, drawn, levels)


def test_before_annotations_and_without_levels_the_default_is_kept() -> None:
    default = pytest.approx([DEFAULT_GAP_SECONDS] * 2)
    assert learn_gaps("label", LABELS, []).tolist() == default
    unmeasured = [series(number, 0.5, together=True, levels=False) for number in range(6)]
    assert learn_gaps("label", LABELS, unmeasured).tolist() == default
    assert learn_gaps("other", LABELS, [series(0, 0.5, together=True)]).tolist() == default


def test_calls_that_are_drawn_as_one_have_a_gap_above_their_pauses() -> None:
    gaps = learn_gaps("label", LABELS, [series(number, 0.5, together=True) for number in range(4)])
    assert 0.5 < gaps[0] < 1.0


def test_calls_that_are_drawn_apart_have_a_gap_below_their_pauses() -> None:
    gaps = learn_gaps("label", LABELS, [series(number, 0.12, together=False) for number in range(4)])
    assert 0.03 < gaps[0] < 0.12


def test_each_label_has_its_own_gap() -> None:
    annotated = []
    for number in range(4):
        low, high = calls(0.5, 0.3, 0.5, 4), calls(5.0, 0.4, 0.12, 4)
        drawn = [(low[0][0], low[-1][1], "low"), *((*span, "high") for span in high)]
        annotated.append(clip(number, {"low": low, "high": high}, drawn))
    gaps = learn_gaps("label", LABELS, annotated)
    assert gaps[1] < 0.12 < 0.5 < gaps[0]


def test_a_single_annotation_moves_no_gap_far() -> None:
    gaps = learn_gaps("label", LABELS, [series(0, 1.0, together=True)])
    assert gaps.tolist() == pytest.approx([DEFAULT_GAP_SECONDS] * 2)


def test_long_silences_in_regions_are_no_pauses() -> None:
    annotated = [clip(number, {"low": [(0.5, 1.0), (8.0, 9.0)]}, [(0.5, 9.0, "low")]) for number in range(6)]
    gaps = learn_gaps("label", LABELS, annotated)
    assert 0 < gaps[0] <= DEFAULT_GAP_SECONDS < LONGEST_GAP_SECONDS


def test_the_most_frequent_habit_decides() -> None:
    annotated = [series(number, 0.5, together=number != 2) for number in range(5)]
    assert learn_gaps("label", LABELS, annotated)[0] > 0.5
