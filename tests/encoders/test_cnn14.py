"""CNN14 against its reference, panns_inference, on seeded random weights."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earmark.encoders import cnn14
from earmark.encoders.audioset import AUDIOSET_LABELS_CSV, audioset_labels
from earmark.encoders.cnn14 import FRAME_SAMPLES, SHORTEST, Cnn14Encoder
from earmark.encoders.engines import Plan, plans
from earmark.errors import WeightsError
from earmark.storage.atomic_files import sha256_of

pytestmark = pytest.mark.slow

PROJECT_ROOT = Path(__file__).parents[2]
SHARED_CSV = PROJECT_ROOT.parent / "shared/audio/reference/class_labels_indices.csv"
REFERENCE_WAV = SHARED_CSV.with_name("R9_ZSCveAHg_7s.wav")
REAL_CHECKPOINT = PROJECT_ROOT / "data/weights/Cnn14_mAP=0.431.pth"


PLANS = plans(device="cpu")


@pytest.fixture(scope="module", params=PLANS, ids=lambda plan: f"{plan.engine}-{plan.precision}")
def encoder(request: pytest.FixtureRequest, checkpoint: Path) -> Cnn14Encoder:
    """CNN14 on each engine and precision of this machine in turn."""
    plan: Plan = request.param
    encoder = Cnn14Encoder(checkpoint, device="cpu", engine=plan.engine, precision=plan.precision)
    assert encoder.plan == plan
    return encoder


@pytest.fixture(scope="module")
def usual(checkpoint: Path) -> Cnn14Encoder:
    """CNN14 on the engine that is chosen by itself."""
    return Cnn14Encoder(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Cnn14Encoder:
    """CNN14 on PyTorch in float32."""
    return Cnn14Encoder(checkpoint, device="cpu", engine="torch", precision="fp32")


@pytest.fixture(scope="module")
def expected(reference: Any) -> Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Embedding and probabilities by the reference, computed once for each length."""

    @cache
    def of(samples: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        wave = sound(samples / 32000, seed=samples)
        padded = np.pad(wave, (0, max(0, SHORTEST - wave.size)))
        with torch.inference_mode():
            outputs = reference(torch.from_numpy(padded)[None])
        return outputs["embedding"][0].numpy(), outputs["clipwise_output"][0].numpy()

    return of


def rounding(encoder: Cnn14Encoder) -> float:
    """How far frames may be apart, as a share of the largest, when convolutions add in another order."""
    return 1e-5 if encoder.plan.precision == "fp32" else 1e-2


def sound(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise that swells and fades over a gliding tone: float32 ``[n]`` at 32 kHz."""
    n = round(seconds * 32000)
    t = np.arange(n) / 32000
    noise = np.random.default_rng(seed).standard_normal(n)
    wave = 0.2 * noise * (0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * t)) + 0.3 * np.sin(
        2 * np.pi * (300 + 150 * t) * t
    )
    return wave.astype(np.float32)


def in_pieces(wave: NDArray[np.float32], seed: int) -> Iterator[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    at = 0
    while at < wave.size:
        size = int(rng.integers(1, 200_000))
        yield wave[at : at + size]
        at += size


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def joined(encoder: Cnn14Encoder, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate(list(encoder.frames_in_chunks([wave])))


@pytest.mark.parametrize("samples", [1600, 9919, 9920, 10240, 32000, 100_003, 320_000, 638_720, 1_920_000])
def test_equals_the_reference(
    encoder: Cnn14Encoder,
    expected: Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32]]],
    samples: int,
) -> None:
    """Exactly, in float32; nearly, in half precision. From 0.05 s to 60 s.

    Kept frames are of 11 bits each, which moves an embedding by 3e-4 at most, and a probability by less.
    """
    embedding, tags = expected(samples)
    frames = joined(encoder, sound(samples / 32000, seed=samples))
    pooled = encoder.pool(frames)

    assert frames.shape == (max(1, (samples // 320 + 1) // 32), 2048)
    assert embedding.std() > 0.01, "the reference must not be dead, or anything equals it"
    if encoder.plan.precision == "fp32":
        np.testing.assert_allclose(pooled, embedding, atol=1e-4, rtol=0)
        np.testing.assert_allclose(encoder.tags(pooled), tags, atol=1e-4, rtol=0)
        rounded = encoder.pool(frames.astype(np.float16))
        np.testing.assert_allclose(rounded, embedding, atol=3e-4, rtol=0)
        np.testing.assert_allclose(encoder.tags(rounded), tags, atol=1e-4, rtol=0)
    else:
        assert cosine(pooled, embedding) >= 0.9999
        np.testing.assert_allclose(encoder.tags(pooled), tags, atol=5e-3, rtol=0)


def test_chunks_equal_one_pass(encoder: Cnn14Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the borders, to rounding: every frame, not only the summary of all."""
    waves = [sound(frames * FRAME_SAMPLES / 32000 + more, seed=3) for frames, more in ((20, 0), (28, 0.31))]
    whole = [joined(encoder, wave) for wave in waves]
    monkeypatch.setattr(cnn14, "CHUNK_FRAMES", 12)
    for wave, expected in zip(waves, whole, strict=True):
        chunked = list(encoder.frames_in_chunks(in_pieces(wave, seed=1)))
        assert len(chunked) >= 2
        chunked_frames = np.concatenate(chunked)
        assert chunked_frames.shape == expected.shape
        np.testing.assert_allclose(chunked_frames, expected, atol=rounding(encoder) * expected.max(), rtol=0)


def test_less_context_would_show(plain: Cnn14Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context is as short as it may be, and the comparison above sees when it is shorter."""
    wave = sound(12.0, seed=4)
    expected = joined(plain, wave)
    monkeypatch.setattr(cnn14, "CHUNK_FRAMES", 12)
    monkeypatch.setattr(cnn14, "CONTEXT_FRAMES", 3)
    assert np.abs(joined(plain, wave) - expected).max() > 1e-5 * expected.max()


def test_minutes_pass_in_several_chunks(encoder: Cnn14Encoder) -> None:
    """The product's own chunk length, once: a border at 57.6 s of 60.3 s against a pass around it."""
    wave = sound(60.3, seed=5)
    chunks = list(encoder.frames_in_chunks(in_pieces(wave, seed=2)))
    assert len(chunks) == 2
    frames = np.concatenate(chunks)
    start = 170 * FRAME_SAMPLES  # a pass of its own around the border
    around = joined(encoder, wave[start:])
    assert frames.shape == ((wave.size // 320 + 1) // 32, 2048)
    np.testing.assert_allclose(frames[174:], around[4:], atol=rounding(encoder) * frames.max(), rtol=0)


def test_clips_together_are_what_they_are_alone(encoder: Cnn14Encoder) -> None:
    assert encoder._engine is not None
    waves = np.stack([sound(1.25, seed=seed) for seed in range(3)])
    together = encoder._engine.run(waves)
    alone = np.concatenate([encoder._engine.run(wave[None]) for wave in waves])
    np.testing.assert_allclose(together, alone, atol=rounding(encoder) * alone.max())


def test_frames_are_finite_float16(usual: Cnn14Encoder) -> None:
    frames = usual.frames([sound(1.0)])
    np.testing.assert_allclose(frames.astype(np.float32), joined(usual, sound(1.0)), rtol=1e-3, atol=1e-6)
    assert frames.dtype == np.float16
    assert np.isfinite(usual.frames([np.full(20_000, 1e6, np.float32)])).all()
    assert usual.frames([np.zeros(1, np.float32)]).shape == (1, 2048)


def test_values_beyond_float16_are_held(usual: Cnn14Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual, "_run", lambda chunk: np.full((3, 2048), 1e6, np.float32))
    assert (usual.frames([sound(1.0)]) == np.float16(65504)).all()


def test_no_sample_is_an_error(usual: Cnn14Encoder) -> None:
    with pytest.raises(ValueError, match="no sample"):
        usual.frames([])
    with pytest.raises(ValueError, match="no sample"):
        usual.frames([np.empty(0, np.float32)])


def test_pool_takes_batches(usual: Cnn14Encoder) -> None:
    frames = usual.frames([sound(3.0)])
    runs = np.stack([frames[0:3], frames[4:7]])
    pooled = usual.pool(runs)
    assert pooled.dtype == np.float32
    assert pooled.shape == (2, usual.embedding_dim)
    np.testing.assert_allclose(pooled[1], usual.pool(frames[4:7]), rtol=1e-5, atol=1e-6)
    assert usual.tags(pooled).shape == (2, 527)


def test_tags_of_extreme_logits_stay_probabilities(usual: Cnn14Encoder) -> None:
    tags = usual.tags(np.full(2048, 1e4, np.float32))
    assert np.isfinite(tags).all()
    assert tags.min() >= 0
    assert tags.max() <= 1


def test_threads_share_the_engine_in_turns(usual: Cnn14Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads, clips of three lengths: never two passes at once, and everyone gets their own."""
    inside = threading.Lock()
    overlaps: list[bool] = []
    engine = usual._engine
    assert engine is not None
    run, shared = engine.run, engine.shared_seconds

    class Watched:
        shared_seconds = shared

        def run(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
            alone = inside.acquire(blocking=False)
            overlaps.append(not alone)
            outputs = run(waveforms)
            if alone:
                inside.release()
            return outputs

    waves = [sound(0.5 + 0.5 * (i % 3), seed=i) for i in range(16)]
    alone = [usual.frames([wave]) for wave in waves]
    monkeypatch.setattr(usual, "_engine", Watched())
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda wave: usual.frames([wave]), waves))
    assert overlaps
    assert not any(overlaps)
    for actual, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(
            actual.astype(np.float32),
            expected.astype(np.float32),
            atol=rounding(usual) * float(expected.max()),
        )


def test_identity_is_the_checkpoints_digest(usual: Cnn14Encoder, checkpoint: Path) -> None:
    assert usual.identity == f"cnn14-{sha256_of(checkpoint)[:12]}"
    assert (usual.name, usual.sample_rate, usual.frame_rate) == ("cnn14", 32000, 3.125)


@pytest.mark.parametrize(
    "fault", ["missing key", "unknown key", "shape", "no model", "values", "noise", "empty"]
)
def test_other_content_is_a_weights_error(checkpoint: Path, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "bad.pth"
    content = torch.load(checkpoint, weights_only=True, mmap=True)
    weights = content["model"]
    if fault == "missing key":
        del weights["bn0.weight"]
    elif fault == "unknown key":
        weights["bn7.weight"] = torch.ones(1)
    elif fault == "shape":
        weights["fc_audioset.bias"] = torch.ones(10)
    elif fault == "values":
        content = {"model": {"fc1.weight": 3}}
    elif fault == "no model":
        content = [1, 2]
    if fault == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(4000))
    elif fault == "empty":
        path.touch()
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match="does not hold the weights of Cnn14"):
        Cnn14Encoder(path, device="cpu")


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (marker,))

    torch.save({"model": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError):
        Cnn14Encoder(tmp_path / "evil.pth", device="cpu")
    assert not marker.exists()


def test_missing_file_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        Cnn14Encoder(tmp_path / "none.pth", device="cpu")


def test_importing_encoders_imports_no_engine() -> None:
    modules = "earmark.encoders, earmark.features.extractor, earmark.encoders.cnn14, earmark.encoders.engines"
    heavy = "{'torch', 'openvino', 'onnxruntime', 'onnx'}"
    code = f"import sys, {modules}; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 0


def test_labels_are_audiosets() -> None:
    labels = audioset_labels()
    assert len(labels) == len(set(labels)) == 527
    assert (labels[0], labels[137], labels[526]) == ("Speech", "Music", "Field recording")


def test_labels_file_equals_the_shared_one() -> None:
    if not SHARED_CSV.is_file():
        pytest.skip("AudioSet's class list to compare with is not beside the project")
    assert _rows(AUDIOSET_LABELS_CSV) == _rows(SHARED_CSV)


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_published_output_with_the_real_weights() -> None:
    """PANNs' published probabilities for its example clip."""
    if not REAL_CHECKPOINT.is_file() or not REFERENCE_WAV.is_file():
        pytest.skip("the published weights or the reference clip are not on this machine")
    from earmark.audio.decode import read_blocks

    encoder = Cnn14Encoder(REAL_CHECKPOINT)
    tags = encoder.tags(encoder.pool(encoder.frames(read_blocks(REFERENCE_WAV, encoder.sample_rate))))
    best = np.argsort(tags)[::-1][:4]
    assert [audioset_labels()[i] for i in best] == [
        "Speech",
        "Telephone bell ringing",
        "Inside, small room",
        "Telephone",
    ]
    np.testing.assert_allclose(tags[best], [0.893, 0.754, 0.235, 0.183], atol=0.01)
