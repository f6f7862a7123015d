"""Edges move to the clearest change of band levels near them, never far, and never into each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.features.band_levels import BANDS, HOP_SECONDS, BandLevelMeter
from earmark.prediction.edge_refinement import (
    DETECTED_REACH_SECONDS,
    DRAWN_REACH_SECONDS,
    LARGEST_MOVE_SHARE,
    SHORTEST_SECONDS,
    EdgeRefiner,
    Span,
)

RATE = BandLevelMeter.sample_rate
SECONDS = 8.0
EVENT = (2.0, 4.0)
TONE = (3.2, 5.6)
"""A high tone that begins before the event ends."""


def refiner_of(wave: NDArray[np.float64]) -> EdgeRefiner:
    return EdgeRefiner(BandLevelMeter().frames([wave.astype(np.float32)]), len(wave) / RATE)


def noise(spans: list[Span], loud: float = 0.1, quiet: float = 0.001) -> NDArray[np.float64]:
    """Noise that is loud in the spans."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    sounding = np.any([(time >= start) & (time < end) for start, end in spans], axis=0)
    wave = np.random.default_rng(3).standard_normal(time.size) * np.where(sounding, loud, quiet)
    return np.asarray(wave, dtype=np.float64)


@pytest.fixture(scope="module")
def event() -> EdgeRefiner:
    return refiner_of(noise([EVENT]))


@pytest.mark.parametrize(("start", "end"), [(1.8, 4.25), (2.4, 3.7), (2.0, 4.0), (1.5, 3.5)])
def test_edges_are_found(event: EdgeRefiner, start: float, end: float) -> None:
    assert np.allclose(event.refine((start, end)), EVENT, atol=0.02)


@pytest.mark.parametrize(("start", "end"), [(0.2, 1.2), (2.7, 3.3), (0.0, SECONDS)])
def test_edges_with_no_change_near_them_stay(event: EdgeRefiner, start: float, end: float) -> None:
    assert event.refine((start, end)) == (start, end)


def test_edges_follow_the_sound_of_their_own_bands() -> None:
    """A low sound from 1 to 4 s, and a high one from 3.2 to 5.6 s, each with an edge of the other near."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    low = np.sin(2 * np.pi * 300 * time) * ((time >= 1.0) & (time < 4.0))
    high = np.sin(2 * np.pi * 6000 * time) * ((time >= TONE[0]) & (time < TONE[1]))
    both = refiner_of(0.1 * low + 0.1 * high + noise([], quiet=0.001))
    assert np.allclose(both.refine((0.8, 3.8)), (1.0, 4.0), atol=0.03)
    assert np.allclose(both.refine((3.4, 5.4)), TONE, atol=0.03)


@given(start=st.floats(0, SECONDS - 0.01), length=st.floats(0.01, SECONDS), drawn=st.booleans())
def test_no_edge_moves_far_and_none_crosses(
    event: EdgeRefiner, start: float, length: float, drawn: bool
) -> None:
    end = min(start + length, SECONDS)
    most = DRAWN_REACH_SECONDS if drawn else DETECTED_REACH_SECONDS
    onset, offset = event.refine((start, end), most)
    reach = min(most, LARGEST_MOVE_SHARE * (end - start)) + 1e-9
    assert abs(onset - start) <= reach
    assert abs(offset - end) <= reach
    assert 0 <= onset < offset <= SECONDS


spans = st.builds(
    lambda start, length: (start, min(start + length, SECONDS)),
    st.floats(0, SECONDS - 0.2),
    st.floats(0.2, 3),
)


@pytest.mark.parametrize("detected", [(0.6, 5.4), (0.6, 3.9), (1.9, 6.0)])
def test_background_at_the_ends_of_a_detected_region_is_cut_off(event: EdgeRefiner, detected: Span) -> None:
    refined = event.refine_detected(detected)
    assert np.allclose(refined, EVENT, atol=0.02)


@pytest.mark.parametrize("detected", [(0.6, 5.4), (0.9, 4.9)])
def test_noise_that_is_louder_for_a_moment_is_background(detected: Span) -> None:
    """A tone in few bands, 25 dB above noise whose hops differ by more than the margin."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    sounding = (time >= EVENT[0]) & (time < EVENT[1])
    tone = 0.1 * np.sin(2 * np.pi * 440 * time) * sounding
    refined = refiner_of(tone + noise([], quiet=0.01)).refine_detected(detected)
    assert np.allclose(refined, EVENT, atol=0.03)


def test_a_detected_region_of_background_alone_stays(event: EdgeRefiner) -> None:
    assert event.refine_detected((5.0, 7.0)) == (5.0, 7.0)


@given(levels=st.integers(0, 2**32 - 1), detected=spans)
def test_refined_edges_lie_in_the_sound_and_in_order(levels: int, detected: Span) -> None:
    random = np.random.default_rng(levels)
    hops = round(SECONDS / HOP_SECONDS)
    changing = np.repeat(random.integers(0, 255, (hops // 20, BANDS), dtype=np.uint8), 20, axis=0)
    start, end = EdgeRefiner(changing, SECONDS).refine_detected(detected)
    assert 0 <= start < end <= SECONDS
    assert end - start >= min(SHORTEST_SECONDS, detected[1] - detected[0]) - 1e-9


@pytest.mark.parametrize("hops", [1, 2, 30, 200])
def test_short_sounds_keep_their_edges(hops: int) -> None:
    seconds = hops * HOP_SECONDS
    silence = EdgeRefiner(np.zeros((hops, BANDS), np.uint8), seconds)
    assert silence.refine((0.0, seconds)) == (0.0, seconds)
    assert silence.refine((5.0, 6.0)) == (5.0, 6.0)
