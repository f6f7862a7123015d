"""Hour-long recordings through the whole predict path: time, memory, and how both grow."""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from benchmarks.common import progress, report
from benchmarks.predict_http import CONFIG, KEY, LABELS, make_clips, train
from benchmarks.reference import random_checkpoint
from earmark.encoders import registry
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.settings import Settings

RATE = 44_100
BLOCK_SECONDS = 10
SAMPLE_SECONDS = 0.02


def main() -> None:
    """Run the benchmark; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 and 6 minutes instead of 10 and 60")
    parser.add_argument("--encoder", choices=registry.names(), default="cnn14")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    minutes = (1, 6) if arguments.quick else (10, 60)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            "DATA_DIR": str(folder / "data"),
            "AUDIO_ROOTS": "/",
            "ENCODER": arguments.encoder,
            "LOG_LEVEL": "ERROR",
        }
        if registry.takes_checkpoint(arguments.encoder):
            environment["CNN14_CHECKPOINT"] = str(random_checkpoint(folder))
        settings = Settings(_env_file=None, **{k.lower(): v for k, v in environment.items()})
        train(settings, make_clips(folder, len(LABELS)))
        figures = []
        for length in minutes:
            path = make_recording(folder / f"{length}.flac", length)
            progress(f"hearing {length} minutes")
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.long_file", "--measure", str(path)],
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            figures.append(json.loads(run.stdout.splitlines()[-1]))
            progress(f"{length} minutes: {figures[-1]}")
        short, long = figures
        report(
            realtime_factor=60 * minutes[1] / long["seconds"],
            peak_rss_increase_mb=long["peak_rss_increase_mb"],
            growth_exponent=math.log(long["seconds"] / short["seconds"]) / math.log(minutes[1] / minutes[0]),
            minutes=list(minutes),
            seconds=[short["seconds"], long["seconds"]],
            peak_rss_increase_mb_short=short["peak_rss_increase_mb"],
            encoder=arguments.encoder,
        )


def measure(path: Path) -> dict[str, Any]:
    """Seconds and peak memory of predicting one recording, in this fresh process.

    The encoder is loaded and warmed on a short clip first: that memory is there for any clip.
    """
    with Services(Settings()) as services:
        predictor = Predictor(services)
        with tempfile.TemporaryDirectory() as name:
            warm_up = make_clips(Path(name), 1)[0]
            predict(predictor, warm_up)
        process = psutil.Process()
        before, peak, done = process.memory_info().rss, 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(SAMPLE_SECONDS):
                peak = max(peak, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.perf_counter()
        predict(predictor, path)
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
    return {
        "seconds": seconds,
        "peak_rss_increase_mb": (peak - before) / 1e6,
        "maximum_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def predict(predictor: Predictor, path: Path) -> None:
    """Predict one recording as a task."""
    answer = predictor.predict([{"id": 1, "data": {"audio": str(path)}}], KEY, CONFIG)
    assert not answer.failures, answer.failures


def make_recording(path: Path, minutes: int) -> Path:
    """Seeded stereo FLAC at 44.1 kHz: noise whose level changes, and a tone now and then."""
    random = np.random.default_rng(minutes)
    block = random.standard_normal((BLOCK_SECONDS * RATE, 2)) * 0.05
    tone = 0.3 * np.sin(2 * np.pi * 400 * np.arange(2 * RATE) / RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, subtype="PCM_16") as file:
        for _ in range(minutes * 60 // BLOCK_SECONDS):
            part = block * random.uniform(0.2, 1.0)
            if random.random() < 0.3:
                part[RATE : 3 * RATE] += tone[:, None]
            file.write(part)
    return path


if __name__ == "__main__":
    main()
