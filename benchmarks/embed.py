"""CNN14 against its reference: the same weights, the same clips, one clip at a time, run by turns.

``python -m benchmarks.embed [--quick]`` respects CNN14_ENGINE, CNN14_PRECISION and TORCH_THREADS. Weights
are random, with batch-norm statistics that matter; no network is needed. ``--encoder NAME`` measures another
encoder instead, on one core and with its real weights: ``ms_per_10_s_one_core``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.common import progress, report
from benchmarks.reference import random_cnn14, save_checkpoint
from earmark.audio.decode import read_blocks
from earmark.encoders import get_encoder, registry
from earmark.encoders.cnn14 import Cnn14Encoder
from earmark.encoders.engines.cpu_features import has_bf16, usable_cores
from earmark.settings import Settings, get_settings

RATE = 32_000
SECONDS = 10.0
FLOP = 2 * 20.0e9
"""Of the convolutions of one clip: a multiply-add is two."""
CLIPS = 6
GEMM = 3072
"""Rows and columns of the large matrix product."""
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Wave = NDArray[np.float32]


@dataclass
class Turns:
    """Seconds of several ways to do the same, measured by turns; each is told the number of its turn."""

    ways: dict[str, Callable[[int], object]]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def run(self, rounds: int) -> None:
        """Warm each way up once, then take turns; every round begins with another way."""
        names = list(self.ways)
        for way in self.ways.values():
            way(0)
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                started = time.perf_counter()
                self.ways[name](turn)
                self.seconds.setdefault(name, []).append(time.perf_counter() - started)

    def median(self, name: str) -> float:
        """Median seconds of one way."""
        return statistics.median(self.seconds[name])

    def least(self, name: str) -> float:
        """Least seconds of one way: what it takes when nothing else runs."""
        return min(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """Median, over the rounds, of how many times as long one takes as the other."""
        pairs = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return statistics.median(a / b for a, b in pairs)


class Reference:
    """panns_inference's network, with all the threads it wants."""

    def __init__(self, network: Any, device: str) -> None:
        self._network, self._device = network.to(device), device

    def __call__(self, waves: Wave) -> tuple[Wave, Wave]:
        """float32 ``[B, n]`` to embeddings ``[B, 2048]`` and probabilities ``[B, 527]``."""
        before = torch.get_num_threads()
        torch.set_num_threads(usable_cores())  # beside OpenVINO, our encoder leaves PyTorch one
        with torch.inference_mode():
            outputs = self._network(torch.from_numpy(waves).to(self._device))
            embedding, tags = outputs["embedding"].cpu().numpy(), outputs["clipwise_output"].cpu().numpy()
        torch.set_num_threads(before)
        return embedding, tags


def clip(seed: int) -> Wave:
    """Ten seconds: coloured noise that comes and goes, gliding tones, clicks; float32 ``[320000]``."""
    rng = np.random.default_rng(seed)
    n = round(SECONDS * RATE)
    t = np.arange(n) / RATE
    noise = np.convolve(rng.standard_normal(n), np.exp(-np.arange(64) / rng.uniform(2, 30)), "same")
    noise *= 0.1 * (1 + np.sin(2 * np.pi * rng.uniform(0.1, 3) * t)) / noise.std()
    tone = 0.3 * np.sin(2 * np.pi * (rng.uniform(80, 2000) + rng.uniform(-50, 300) * t) * t)
    clicks = 0.8 * (rng.random(n) < 3 / RATE)
    return (noise + tone * (rng.random() < 0.7) + clicks).astype(np.float32)


def cosine(a: Wave, b: Wave) -> float:
    """Cosine between two vectors."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def compare(theirs: Reference, ours: Cnn14Encoder, clips: list[Wave]) -> tuple[float, float]:
    """Smallest cosine between the embeddings; largest difference of embeddings and probabilities."""
    cosines, errors = [], []
    for wave in clips:
        expected, expected_tags = (output[0] for output in theirs(wave[None]))
        frames = np.concatenate(list(ours.frames_in_chunks([wave])))
        pooled = ours.pool(frames)
        cosines.append(cosine(pooled, expected))
        errors += [np.abs(pooled - expected).max(), np.abs(ours.tags(pooled) - expected_tags).max()]
    return min(cosines), float(max(errors))


def in_memory(theirs: Reference, ours: Cnn14Encoder, clips: list[Wave], rounds: int) -> Turns:
    """From waveform to embedding, with a matrix product of the same precision between."""
    matrix = torch.randn(GEMM, GEMM).to(ours.plan.device, _TYPES[ours.plan.precision])

    def multiply(_turn: int) -> object:
        before = torch.get_num_threads()
        torch.set_num_threads(usable_cores())
        corner = (matrix @ matrix)[0, 0].item()
        torch.set_num_threads(before)
        return corner

    turns = Turns(
        {
            "panns": lambda turn: theirs(clips[turn % CLIPS][None]),
            "ours": lambda turn: ours.pool(ours.frames([clips[turn % CLIPS]])),
            "gemm": multiply,
        }
    )
    turns.run(rounds)
    return turns


def from_file(theirs: Reference, ours: Cnn14Encoder, folder: Path, rounds: int) -> Turns:
    """From a 44.1 kHz stereo FLAC on disk to embedding."""
    paths = []
    for seed in range(CLIPS):
        rng = np.random.default_rng(seed)
        mono = librosa.resample(clip(100 + seed), orig_sr=RATE, target_sr=44_100, res_type="soxr_hq")
        stereo = np.stack([mono, 0.8 * mono + 0.01 * rng.standard_normal(mono.size)], axis=1)
        paths.append(folder / f"{seed}.flac")
        soundfile.write(paths[-1], np.clip(stereo, -1, 1), 44_100, subtype="PCM_16")
    turns = Turns(
        {
            "panns": lambda turn: theirs(librosa.load(paths[turn % CLIPS], sr=RATE)[0][None]),
            "ours": lambda turn: ours.pool(ours.frames(read_blocks(paths[turn % CLIPS], RATE))),
        }
    )
    turns.run(rounds)
    return turns


def on_gpu(theirs: Reference, ours: Cnn14Encoder, quick: bool) -> dict[str, float]:
    """Clips a second at the best batch size of each; ours come from as many threads, one clip each."""
    rates: dict[str, list[float]] = {"clips_per_second": [], "clips_per_second_panns": []}
    for size in (8, 32) if quick else (8, 16, 32, 64):
        progress(f"GPU, {size} clips at once")
        batch = np.stack([clip(seed) for seed in range(size)])
        with ThreadPoolExecutor(size) as pool:
            turns = Turns(
                {
                    "clips_per_second": partial(_from_threads, pool, ours, batch),
                    "clips_per_second_panns": partial(_whole_batch, theirs, batch),
                }
            )
            turns.run(5)
        for name, measured in rates.items():
            measured.append(size / turns.median(name))
    return {name: max(measured) for name, measured in rates.items()}


def _whole_batch(theirs: Callable[[Wave], object], batch: Wave, _turn: int) -> object:
    return theirs(batch)


def _from_threads(pool: ThreadPoolExecutor, ours: Cnn14Encoder, batch: Wave, _turn: int) -> list[Wave]:
    return list(pool.map(lambda wave: ours.pool(ours.frames([wave])), batch))


def _encoder(checkpoint: Path, settings: Settings, precision: str) -> Cnn14Encoder:
    return Cnn14Encoder(
        checkpoint,
        threads=settings.torch_threads,
        engine=settings.cnn14_engine,
        precision=precision,
    )


def measure(folder: Path, quick: bool) -> dict[str, object]:
    """Run everything and return the figures."""
    settings = get_settings()
    network = random_cnn14()
    checkpoint = save_checkpoint(network, folder / "cnn14.pth")
    clips = [clip(seed) for seed in range(CLIPS)]
    compared = clips[:3] if quick else clips
    rounds = 5 if quick else 30

    exact = _encoder(checkpoint, settings, "fp32")
    theirs = Reference(network, exact.plan.device)
    progress(f"comparing with {exact.plan}")
    figures: dict[str, object] = {"fp32_max_abs_error": compare(theirs, exact, compared)[1]}
    del exact

    ours = _encoder(checkpoint, settings, settings.cnn14_precision)
    progress(f"comparing with {ours.plan}")
    figures["cosine_min"] = compare(theirs, ours, compared)[0]
    progress(f"{rounds} rounds from memory")
    memory = in_memory(theirs, ours, clips, rounds)
    progress(f"{rounds} rounds from FLAC")
    file = from_file(theirs, ours, folder, rounds)
    peak = 2.0 * GEMM**3 / memory.least("gemm")
    figures |= {
        "ratio_vs_panns": memory.ratio("panns", "ours"),
        "ratio_vs_panns_e2e": file.ratio("panns", "ours"),
        "share_of_gemm_peak": FLOP / memory.least("ours") / peak,
        "engine": ours.plan.engine,
        "precision": ours.plan.precision,
        "threads": ours.plan.threads,
        "has_bf16": has_bf16(),
        "ms": 1000 * memory.median("ours"),
        "ms_panns": 1000 * memory.median("panns"),
        "ms_e2e": 1000 * file.median("ours"),
        "ms_panns_e2e": 1000 * file.median("panns"),
        "gemm_gflop_per_s": peak / 1e9,
        "rounds": rounds,
    }
    if ours.plan.device != "cpu":
        figures |= on_gpu(theirs, ours, quick)
    return figures


def measure_one_core(name: str, quick: bool) -> dict[str, object]:
    """From waveform to frames and the clip's embedding, by one thread: the least and the median time."""
    encoder = get_encoder(Settings(encoder=name, torch_threads=1))
    waves = [soxr.resample(clip(seed), RATE, encoder.sample_rate) for seed in range(CLIPS)]
    processor: list[float] = []

    def embed(turn: int) -> object:
        started = time.process_time()
        embedding = encoder.pool(encoder.frames([waves[turn % CLIPS]]))
        processor.append(time.process_time() - started)
        return embedding

    turns = Turns({name: embed})
    rounds = 10 if quick else 50
    with threadpool_limits(limits=1):
        turns.run(rounds)
    return {
        "encoder": encoder.identity,
        "ms_per_10_s_one_core": 1000 * turns.least(name),
        "ms_per_10_s_one_core_median": 1000 * turns.median(name),
        "processor_ms_per_10_s": 1000 * min(processor),
        "bytes_per_10_s": encoder.frames([waves[0]]).nbytes,
        "rounds": rounds,
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, within a minute")
    parser.add_argument("--encoder", choices=registry.names(), default="cnn14", help="default: cnn14")
    arguments = parser.parse_args()
    if arguments.encoder != Cnn14Encoder.name:
        report(**measure_one_core(arguments.encoder, arguments.quick))
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.quick)
    report(**figures)


if __name__ == "__main__":
    main()
