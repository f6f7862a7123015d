from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.encoders.logmel import (
    ATTACK_LAGS,
    BANDS,
    FRAME_SAMPLES,
    MOVE_LAGS,
    SAMPLE_RATE_HZ,
    SMALLEST_SPREAD,
    STATIC_DIM,
    LogmelEncoder,
)
from tests.examples import with_examples


@pytest.fixture(scope="module")
def encoder() -> LogmelEncoder:
    return LogmelEncoder()


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    count = max(1, round(seconds * SAMPLE_RATE_HZ))
    return (0.1 * np.random.default_rng(seed).normal(size=count)).astype(np.float32)


def test_identity_is_constant_and_names_the_encoder(encoder: LogmelEncoder) -> None:
    assert encoder.identity == LogmelEncoder.IDENTITY
    assert encoder.identity.startswith("logmel-")
    assert encoder.name == "logmel"
    assert encoder.frame_rate == 12.5
    assert encoder.sample_rate == 32_000


@pytest.mark.parametrize("samples", [1, 319, 2559, 2560, 2561, 64 * 2560, 64 * 2560 + 1, 700_001])
def test_every_sample_lies_in_a_frame(encoder: LogmelEncoder, samples: int) -> None:
    frames = encoder.frames([noise(samples / SAMPLE_RATE_HZ)])
    assert frames.shape == (-(-samples // FRAME_SAMPLES), encoder.frame_dim)
    assert frames.dtype == np.float16
    assert np.isfinite(frames).all()


LONG = noise(12.3, seed=1)
CUTS = st.lists(st.integers(0, len(LONG)), max_size=12).map(sorted)


@with_examples(15)
@given(CUTS)
def test_frames_do_not_depend_on_the_blocks(encoder: LogmelEncoder, cuts: list[int]) -> None:
    whole = encoder.frames([LONG])
    assert np.array_equal(encoder.frames(np.split(LONG, cuts)), whole)


def test_frames_do_not_depend_on_many_tiny_blocks(encoder: LogmelEncoder) -> None:
    sound = LONG[: 6 * SAMPLE_RATE_HZ]
    assert np.array_equal(encoder.frames(iter(np.split(sound, 3000))), encoder.frames([sound]))


def test_frames_are_where_the_sound_is(encoder: LogmelEncoder) -> None:
    sound = np.zeros(8 * SAMPLE_RATE_HZ, dtype=np.float32)
    sound[int(4 * SAMPLE_RATE_HZ) : int(4.8 * SAMPLE_RATE_HZ)] = noise(0.8)
    level = encoder.frames([sound])[:, :64].astype(float).mean(axis=1)
    loud = np.flatnonzero(level > level.max() - 3)
    assert loud.min() == 50
    assert loud.max() in (59, 60)


def test_a_tone_is_in_its_band_and_tonal(encoder: LogmelEncoder) -> None:
    time = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = (0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    frames = encoder.frames([tone])[5:-5].astype(float)
    from librosa import mel_frequencies

    centres = mel_frequencies(n_mels=66, fmin=50, fmax=14_000)[1:-1]
    assert abs(centres[frames[:, :64].mean(axis=0).argmax()] - 1000) < 60
    noisy = encoder.frames([noise(2)])[5:-5].astype(float)
    flatness_of_octave = 128 + 3  # 800 to 1600 Hz
    assert frames[:, flatness_of_octave].mean() < noisy[:, flatness_of_octave].mean() - 2
    autocorrelation = 128 + 14
    assert frames[:, autocorrelation].mean() > noisy[:, autocorrelation].mean() + 0.5


@pytest.mark.parametrize(
    "sound",
    [np.zeros(1), np.zeros(50_000), np.full(50_000, 1e30), np.array([np.nan, np.inf, -np.inf] * 9000)],
    ids=["one sample", "silence", "huge", "not finite"],
)
def test_odd_sound_gives_finite_numbers(encoder: LogmelEncoder, sound: NDArray[Any]) -> None:
    frames = encoder.frames([sound.astype(np.float32)])
    assert np.isfinite(frames).all()
    assert np.isfinite(encoder.pool(frames)).all()


def test_pool_over_leading_dimensions_is_pool_of_each(encoder: LogmelEncoder) -> None:
    frames = encoder.frames([noise(4)])[:48].reshape(2, 3, 8, -1)
    pooled = encoder.pool(frames)
    assert pooled.shape == (2, 3, encoder.embedding_dim)
    assert pooled.dtype == np.float32
    for i in range(2):
        for j in range(3):
            assert pooled[i, j] == pytest.approx(encoder.pool(frames[i, j]), abs=1e-4)


def test_pool_statistics(encoder: LogmelEncoder) -> None:
    frames = encoder.frames([noise(3)])
    values = frames.astype(np.float64)[:, :STATIC_DIM]
    pooled = encoder.pool(frames)
    d = STATIC_DIM
    assert pooled[:d] == pytest.approx(values.mean(axis=0), abs=1e-3)
    assert np.exp(pooled[d : 2 * d]) == pytest.approx(values.std(axis=0) + SMALLEST_SPREAD, abs=1e-3)
    steps = np.abs(np.diff(values, axis=0)).mean(axis=0)
    assert np.exp(pooled[2 * d : 3 * d]) == pytest.approx(steps + SMALLEST_SPREAD, abs=1e-3)
    for index, percentile in enumerate((10, 50, 90)):
        expected = np.percentile(values, percentile, axis=0)
        assert pooled[(3 + index) * d : (4 + index) * d] == pytest.approx(expected, abs=1e-3)


def test_pool_of_one_frame(encoder: LogmelEncoder) -> None:
    frame = encoder.frames([noise(0.05)])
    assert frame.shape[0] == 1
    pooled = encoder.pool(frame)
    d = STATIC_DIM
    assert pooled[:d] == pytest.approx(frame[0, :d].astype(float), abs=1e-3)
    assert pooled[d : 3 * d] == pytest.approx(np.log(SMALLEST_SPREAD), abs=1e-3)


def test_pool_leaves_the_frames_alone(encoder: LogmelEncoder) -> None:
    frames = encoder.frames([noise(1)]).astype(np.float32)
    frames[3, :STATIC_DIM] -= 40  # far under the floor, which must be applied to a copy
    before = frames.copy()
    encoder.pool(frames)
    assert np.array_equal(frames, before)


def test_order_of_frames_matters_only_to_steps(encoder: LogmelEncoder) -> None:
    frames = encoder.frames([noise(2)])
    mixed = frames[np.random.default_rng(0).permutation(len(frames))]
    difference = np.abs(encoder.pool(frames) - encoder.pool(mixed))
    d = STATIC_DIM
    moving = (len(MOVE_LAGS) + 2 * len(ATTACK_LAGS)) * BANDS
    assert np.delete(difference, np.arange(2 * d, 3 * d))[:-moving].max() < 1e-3
    assert difference[2 * d : 3 * d].max() > 1e-3


def test_movement_is_told_from_steadiness(encoder: LogmelEncoder) -> None:
    """A tone that trembles 20 times a second moves inside frames, one with an attack rises once."""
    time = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = np.sin(2 * np.pi * 1000 * time)
    trembling = (0.1 * (1 + 0.8 * np.sin(2 * np.pi * 20 * time)) * tone).astype(np.float32)
    struck = (0.1 * np.where(time > 1, 1.0, 1e-3) * tone).astype(np.float32)
    steady = (0.1 * tone).astype(np.float32)
    band = int(encoder.frames([steady])[12, :BANDS].argmax())
    first = encoder.embedding_dim - (1 + len(MOVE_LAGS) + 2 * len(ATTACK_LAGS)) * BANDS
    inside, rise = first + band, first + (1 + len(MOVE_LAGS)) * BANDS + band
    pooled = {
        name: encoder.pool(encoder.frames([sound])[2:-2])
        for name, sound in (("trembling", trembling), ("struck", struck), ("steady", steady))
    }
    assert pooled["trembling"][inside] > pooled["steady"][inside] + 1
    assert pooled["struck"][inside] < pooled["trembling"][inside] - 0.5
    assert pooled["struck"][rise] > 5
    assert pooled["trembling"][rise] < 1
    assert pooled["steady"][rise] < 0.1
