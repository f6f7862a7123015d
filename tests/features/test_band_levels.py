"""Band levels: their time axis, their scale, and that blocks do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.features.band_levels import BANDS, HOP_SECONDS, STEP_DB, BandLevelMeter, decibels

RATE = BandLevelMeter.sample_rate


@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 400_000))
def test_blocks_do_not_matter(cuts: list[int], samples: int) -> None:
    samples = min(samples, 60_000)
    wave = np.random.default_rng(1).standard_normal(samples).astype(np.float32) * 0.1
    meter = BandLevelMeter()
    whole = meter.frames([wave])
    assert whole.shape == (max(1, -(-samples // 320)), BANDS)
    assert (meter.frames(np.split(wave, sorted(cuts))) == whole).all()


def test_a_step_is_seen_in_its_hop() -> None:
    wave = np.zeros(RATE, np.float32)
    wave[RATE // 2 :] = np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE)
    loudest = decibels(BandLevelMeter().frames([wave])).max(axis=1)
    assert np.flatnonzero(loudest > loudest.max() - 10)[0] == round(0.5 / HOP_SECONDS)


@pytest.mark.parametrize("gain", [0.5, 0.05, 0.005])
def test_levels_are_decibels(gain: float) -> None:
    wave = np.random.default_rng(2).standard_normal(RATE).astype(np.float32) * 0.2
    meter = BandLevelMeter()
    difference = decibels(meter.frames([wave * np.float32(gain)])) - decibels(meter.frames([wave]))
    assert abs(difference[5:-5].mean() - 20 * np.log10(gain)) < STEP_DB


def test_full_scale_stays_in_range() -> None:
    wave = np.sign(np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)).astype(np.float32)
    assert BandLevelMeter().frames([wave]).max() < 255
