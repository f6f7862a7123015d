"""Downmix: mean, one channel, and channels that cancel each other out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.audio.channels import Downmix
from tests.examples import with_examples

RATE = 800
Samples = NDArray[np.float32]


def noise(seconds: float, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)


def mixed(block: Samples, lengths: list[int] | None = None, channel: int | None = None) -> Samples:
    downmix, parts, at = Downmix(RATE, channel), [], 0
    for length in [*(lengths or []), len(block)]:
        if at < len(block) and length:
            parts.append(downmix.mix(block[at : at + length]))
        at += length
    return np.concatenate([*parts, downmix.rest()])


def test_channels_are_averaged() -> None:
    left, right = noise(2.5, 1), noise(2.5, 2)
    np.testing.assert_allclose(mixed(np.stack([left, right], axis=1)), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("right", [-1.0, -0.98])
def test_channels_that_cancel_out_are_still_sound(right: float) -> None:
    left = noise(3)
    np.testing.assert_allclose(mixed(np.stack([left, right * left], axis=1)), left, atol=1e-6)


@pytest.mark.parametrize(
    ("shares", "taken"), [((0.25, 0.25, -0.5), 2), ((-0.5, 0.25, 0.25), 0), ((0.5, -0.6, 0.1), 0)]
)
def test_the_louder_channel_is_taken(shares: tuple[float, ...], taken: int) -> None:
    """The last case: of channels that are nearly as loud, the first one."""
    sound = noise(2)
    block = np.stack([share * sound for share in shares], axis=1)
    np.testing.assert_allclose(mixed(block), shares[taken] * sound, atol=1e-6)


def test_a_stretch_that_cancels_out_begins_at_full_level() -> None:
    left = np.full(4 * RATE, 0.5, np.float32)
    right = left.copy()
    right[2 * RATE :] *= -1
    mono = mixed(np.stack([left, right], axis=1))
    np.testing.assert_allclose(mono, 0.5, atol=1e-6)


def test_one_channel_alone() -> None:
    left, right = noise(2, 1), noise(2, 2)
    block = np.stack([left, right], axis=1)
    np.testing.assert_array_equal(mixed(block, channel=1), right)
    np.testing.assert_array_equal(mixed(block, channel=7), right)


def test_what_is_not_finite_is_silence() -> None:
    block = np.array([[np.nan, 0.5], [np.inf, -np.inf], [0.25, 0.75]], np.float32)
    np.testing.assert_allclose(mixed(block), [0.25, 0, 0.5])


@given(
    lengths=st.lists(st.integers(0, 3 * RATE), max_size=8),
    channels=st.integers(1, 4),
    seed=st.integers(0, 100),
    opposite=st.booleans(),
    planar=st.booleans(),
)
@with_examples(60)
def test_blocks_do_not_change_the_mix(
    lengths: list[int], channels: int, seed: int, opposite: bool, planar: bool
) -> None:
    block = np.stack([noise(5.3, seed + channel) for channel in range(channels)], axis=1)
    if opposite and channels > 1:
        block[: 2 * RATE] = 0
        block[: 2 * RATE, 0] = noise(2, seed)
        block[: 2 * RATE, 1] = -noise(2, seed)
    if planar:
        block = np.asfortranarray(block)
    np.testing.assert_allclose(mixed(block, lengths), mixed(block), atol=1e-6)
