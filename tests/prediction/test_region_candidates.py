"""Regions of sounds with known edges: from a head that is right about each frame, and from levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.features.band_levels import BandLevelMeter
from earmark.head.model import ControlHead, Head
from earmark.head.region_scorer import RegionScorer
from earmark.labels.control import Control
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.prediction.postprocessing import DetectedRegion, predict_clip
from earmark.prediction.region_choice import LEAST_GAIN_SHOWN, choose_candidates
from tests.pooling import mean_pool as pool

RATE = 12.5
SECONDS = 12.0
NAMES = ("low", "high")
HERTZ = {"low": 400.0, "high": 4000.0}
CONTROL = Control("label", "audio", REGION_LABELS, NAMES, "audio")

Sound = tuple[float, float, str]


def levels_of(sounds: Sequence[Sound], seconds: float = SECONDS) -> NDArray[np.uint8]:
    """Band levels of tones in quiet noise."""
    rate = BandLevelMeter.sample_rate
    time = np.arange(int(seconds * rate)) / rate
    wave = 0.001 * np.random.default_rng(1).standard_normal(time.size)
    for start, end, label in sounds:
        wave += 0.1 * np.sin(2 * np.pi * HERTZ[label] * time) * ((time >= start) & (time < end))
    return BandLevelMeter().frames([wave.astype(np.float32)])


def head(factors: NDArray[np.float32] | None = None, scorer: RegionScorer | None = None) -> Head:
    """A head that reads each label's presence off a dimension of its own."""
    control = ControlHead(
        "label",
        REGION_LABELS,
        NAMES,
        np.zeros(2, dtype=np.float32),
        np.ones(2, dtype=np.float32),
        12 * np.eye(2, dtype=np.float32),
        np.full(2, -6, dtype=np.float32),
        np.full(2, 0.5, dtype=np.float32),
        overlap_factors=factors,
        scorer=scorer,
    )
    return Head("e-1", {"label": control})


def detected(
    sounds: Sequence[Sound],
    seconds: float = SECONDS,
    likely: float = 1.0,
    scorer: RegionScorer | None = None,
    with_levels: bool = True,
) -> tuple[DetectedRegion, ...]:
    """What is predicted; the frames show each sound, a little blurred."""
    frames = np.zeros((int(seconds * RATE), 2), dtype=np.float32)
    for start, end, label in sounds:
        first, last = round(start * RATE), round(end * RATE)
        column = NAMES.index(label)
        frames[max(0, first - 2) : last + 2, column] = np.maximum(
            frames[max(0, first - 2) : last + 2, column], likely / 2
        )
        frames[first:last, column] = likely
    levels = levels_of(sounds, seconds) if with_levels else None
    return predict_clip(head(scorer=scorer), [CONTROL], pool, RATE, frames, seconds, levels).regions


def in_turn(start: float, sounding: float, pause: float, count: int, label: str = "low") -> list[Sound]:
    """Sounds of one length with pauses of one length between them."""
    starts = [start + number * (sounding + pause) for number in range(count)]
    return [(start, start + sounding, label) for start in starts]


@pytest.mark.parametrize(
    "sounds",
    [
        [(2.0, 3.5, "low")],
        [(2.0, 3.5, "low"), (6.03, 6.57, "high")],
        [(2.0, 3.5, "low"), (4.0, 5.2, "low")],
        [(2.0, 3.5, "low"), (3.8, 4.4, "low"), (4.7, 6.0, "low")],
        in_turn(2.0, 0.3, 0.3, 8),
        [(1.0, 11.0, "low")],
        [(0.0, 2.0, "high"), (10.0, 12.0, "low")],
        [(2.0, 4.0, "low"), (4.0, 6.0, "high")],
    ],
    ids=["one", "two", "short gap", "0.3 s", "short events", "long", "at the ends", "neighbours"],
)
def test_edges_are_found_exactly_and_events_stay_as_they_are(sounds: list[Sound]) -> None:
    regions = detected(sounds)
    assert [region.label for region in regions] == [label for _, _, label in sounds]
    for region, (start, end, _) in zip(regions, sounds, strict=True):
        assert region.start == pytest.approx(start, abs=0.03)
        assert region.end == pytest.approx(end, abs=0.03)
        assert region.score > 0.5


@pytest.mark.parametrize(
    ("sounding", "pause", "count"),
    [(0.1, 0.1, 10), (0.3, 0.15, 6), (0.1, 0.05, 20), (1.5, 0.12, 3)],
)
def test_a_sound_with_short_pauses_is_one_event(sounding: float, pause: float, count: int) -> None:
    sounds = in_turn(2.0, sounding, pause, count)
    (region,) = detected(sounds)
    assert region.start == pytest.approx(2.0, abs=0.03)
    assert region.end == pytest.approx(sounds[-1][1], abs=0.15)


@pytest.mark.parametrize("with_levels", [True, False], ids=["levels", "frames"])
def test_the_gap_that_separates_events_is_that_of_their_label(with_levels: bool) -> None:
    """Calls 0.7 s apart: an event each of the low label, and one event together of the high one."""
    scorer = replace(RegionScorer.default(2), gaps=np.array([0.2, 1.0], dtype=np.float32))
    sounds = [*in_turn(0.5, 0.3, 0.7, 5, "low"), *in_turn(6.0, 0.3, 0.7, 5, "high")]
    regions = detected(sounds, scorer=scorer, with_levels=with_levels)
    assert [region.label for region in regions] == ["low"] * 5 + ["high"]
    assert regions[-1].start == pytest.approx(6.0, abs=0.03 if with_levels else 0.2)
    assert regions[-1].end == pytest.approx(10.3, abs=0.03 if with_levels else 0.2)


def test_no_more_regions_are_shown_than_the_editor_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.prediction.postprocessing.MOST_REGIONS", 3)
    for levels in (levels_of(five := in_turn(1.0, 1.0, 1.0, 5)), None):
        frames = np.zeros((int(SECONDS * RATE), 2), dtype=np.float32)
        for start, end, _ in five:
            frames[round(start * RATE) : round(end * RATE), 0] = 1.0
        prediction = predict_clip(head(), [CONTROL], pool, RATE, frames, SECONDS, levels)
        assert len(prediction.regions) == 3
        assert prediction.left_out == 2


def test_silence_and_labels_that_are_unlikely_show_nothing() -> None:
    assert detected([]) == ()
    assert detected([(2.0, 2.3, "low")], likely=0.0) == ()


def test_sounds_of_different_labels_may_overlap() -> None:
    sounds: list[Sound] = [(2.0, 5.0, "low"), (4.0, 8.0, "high")]
    assert {region.label for region in detected(sounds)} == {"low", "high"}


spans = st.tuples(st.integers(0, 50), st.integers(1, 30), st.integers(0, 1), st.integers(-10, 30))


@given(drawn=st.lists(spans, max_size=25))
def test_regions_of_one_label_never_overlap_and_all_save_work(
    drawn: list[tuple[int, int, int, int]],
) -> None:
    edges = np.array([(start / 10, (start + length) / 10) for start, length, _, _ in drawn]).reshape(-1, 2)
    columns = np.array([column for _, _, column, _ in drawn], dtype=np.intp)
    gains = np.array([gain / 10 for _, _, _, gain in drawn])
    chosen = choose_candidates(gains, edges, columns, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert all(gains[place] > LEAST_GAIN_SHOWN for place in chosen)
    assert chosen == sorted(chosen, key=lambda place: -gains[place])
    for place in chosen:
        for other in chosen:
            common = min(edges[place, 1], edges[other, 1]) - max(edges[place, 0], edges[other, 0])
            shorter = min(edges[place, 1] - edges[place, 0], edges[other, 1] - edges[other, 0])
            if other != place and common > 0:
                assert columns[place] != columns[other]
                assert common <= 0.1 * shorter + 1e-9, "these labels never overlap"
    if (gains > LEAST_GAIN_SHOWN).any():
        assert chosen[0] == int(gains.argmax())


@pytest.mark.slow
def test_an_hour_of_alternating_sounds_keeps_memory_small_and_events_apart() -> None:
    sounds: list[Sound] = [(float(t), t + 1.0, NAMES[(t // 3) % 2]) for t in range(1, 118, 3)]
    regions = detected(sounds, 120.0)
    assert [region.label for region in regions] == [label for _, _, label in sounds]


@pytest.mark.parametrize("seed", [0, 2, 4, 5, 6, 7])
def test_a_head_that_is_sure_of_a_label_before_its_sound_moves_no_edge(seed: int) -> None:
    """As an encoder's classes are in noise, whose level moves by 2 dB: the sound is 20 dB louder."""
    rate = BandLevelMeter.sample_rate
    time = np.arange(int(SECONDS * rate)) / rate
    wave = 0.01 * np.random.default_rng(seed).standard_normal(time.size)
    wave *= 1 + 0.25 * np.sin(2 * np.pi * (0.9 * time + seed / 12))
    wave += 0.1 * np.sin(2 * np.pi * HERTZ["low"] * time) * ((time >= 4.0) & (time < 4.7))
    levels = BandLevelMeter().frames([wave.astype(np.float32)])
    frames = np.zeros((int(SECONDS * RATE), 2), dtype=np.float32)
    frames[round(2.4 * RATE) : round(4.7 * RATE), 0] = 1.0
    (region,) = predict_clip(head(), [CONTROL], pool, RATE, frames, SECONDS, levels).regions
    assert region.start == pytest.approx(4.0, abs=0.03)
    assert region.end == pytest.approx(4.7, abs=0.03)
