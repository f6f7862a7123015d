"""The real server: how long Label Studio waits for a prediction.

``cold``: a sound that was never heard. ``warm``: its frames are stored. The naive server decodes
with librosa and runs panns_inference's Cnn14 for each request; both sides answer the same clips in
turn, in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile

from benchmarks.common import free_port, progress, report
from benchmarks.reference import random_checkpoint
from earmark.encoders import registry
from earmark.learning.training import learn
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import record_event

KEY = "1.1700000000"
PROJECT = {"id": 1, "created_at": "2023-11-14T22:13:20Z"}
LABELS = ("A", "B", "C", "D")
SECONDS, RATE = 10, 44_100
READY_SECONDS = 120
CLIENT = httpx.Client(timeout=100, trust_env=False)
"""One for all requests: making a client reads certificates, which takes longer than a warm answer."""
CONFIG = (
    '<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + '</Labels><Choices name="tags" toName="audio" choice="multiple">'
    + "".join(f'<Choice value="{label}"/>' for label in LABELS)
    + "</Choices></View>"
)


def main() -> None:
    """Run the benchmark; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer clips; ends within 60 s")
    parser.add_argument("--encoder", choices=registry.names(), default="cnn14")
    arguments = parser.parse_args()
    clips = 12 if arguments.quick else 60
    rounds = 100 if arguments.quick else 500
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            "DATA_DIR": str(folder / "data"),
            "AUDIO_ROOTS": "/",
            "ENCODER": arguments.encoder,
            "LOG_LEVEL": "ERROR",
        }
        checkpoint = random_checkpoint(folder)
        if registry.takes_checkpoint(arguments.encoder):
            environment["CNN14_CHECKPOINT"] = str(checkpoint)
        paths = make_clips(folder, clips + len(LABELS))
        progress("training a head")
        train(
            Settings(_env_file=None, **{k.lower(): v for k, v in environment.items()}), paths[: len(LABELS)]
        )
        measure(environment, checkpoint, paths[len(LABELS) :], rounds, arguments.encoder)


def measure(
    environment: dict[str, str], checkpoint: Path, paths: list[Path], rounds: int, encoder: str
) -> None:
    """Ask both servers, in turn, and report."""
    with (
        server([sys.executable, "-m", "earmark", "serve"], environment) as (ours, pid),
        server([sys.executable, "-m", "benchmarks.naive_server", str(checkpoint)], environment) as (naive, _),
    ):
        cold, theirs = [], []
        for number, path in enumerate(paths):
            theirs.append(ask(naive, [path]))
            cold.append(ask(ours, [path]))
            progress(f"cold {number + 1}/{len(paths)}: {cold[-1]:.1f} ms, naive {theirs[-1]:.1f} ms")
        warm = [ask(ours, [paths[n % len(paths)]]) for n in range(rounds)]
        progress("warm, 100 tasks a request")
        many = [ask(ours, [paths[n % len(paths)] for n in range(100)]) for _ in range(5)]
        report(
            cold_p50_ms=statistics.median(cold),
            warm_p50_ms=statistics.median(warm),
            warm_p99_ms=float(np.percentile(warm, 99)),
            warm_tasks_per_s=100_000 / statistics.median(many),
            ratio_vs_naive=statistics.median(t / c for t, c in zip(theirs, cold, strict=True)),
            ratio_vs_naive_warm=statistics.median(theirs) / statistics.median(warm),
            rss_mb=psutil.Process(pid).memory_info().rss / 1e6,
            encoder=encoder,
            clips=len(paths),
        )


def ask(url: str, paths: list[Path]) -> float:
    """Milliseconds for one request with these clips as tasks."""
    tasks = [{"id": n + 1, "data": {"audio": str(path)}, "project": 1} for n, path in enumerate(paths)]
    body = {"tasks": tasks, "project": KEY, "label_config": CONFIG}
    started = time.perf_counter()
    answer = CLIENT.post(f"{url}/predict", json=body)
    elapsed = (time.perf_counter() - started) * 1000
    assert len(answer.raise_for_status().json()["results"]) == len(paths)
    return elapsed


def make_clips(folder: Path, count: int) -> list[Path]:
    """Seeded noise bands and tones, 10 s of 44.1 kHz mono FLAC each."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        time_axis = np.arange(SECONDS * RATE) / RATE
        wave = 0.05 * random.standard_normal(time_axis.size)
        onset = random.uniform(1, 7)
        sounding = (time_axis > onset) & (time_axis < onset + 2)
        wave += 0.3 * np.sin(2 * np.pi * 200 * 2 ** (number % len(LABELS)) * time_axis) * sounding
        paths.append(folder / f"{number}.flac")
        soundfile.write(paths[-1], wave, RATE)
    return paths


def train(settings: Settings, paths: list[Path]) -> None:
    """Give the project a head, from one annotation for each label."""
    with Services(settings) as services:
        services.database.upgrade()
        for number, (path, label) in enumerate(zip(paths, LABELS, strict=True), start=1):
            region = {"start": 2.0, "end": 4.0, "labels": [label]}
            result: list[dict[str, Any]] = [
                {"from_name": "label", "to_name": "audio", "type": "labels", "value": region},
                {"from_name": "tags", "to_name": "audio", "type": "choices", "value": {"choices": [label]}},
            ]
            webhook = {
                "action": "ANNOTATION_CREATED",
                "annotation": {"id": number, "task": number, "result": result},
                "task": {"id": number, "data": {"audio": str(path)}},
                "project": {**PROJECT, "label_config": CONFIG},
            }
            with services.database.write() as session:
                record_event(session, webhook)
        training = learn(services, KEY)
        assert training is not None
        assert training.version, training.detail


@contextmanager
def server(command: list[str], environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """A server on a free loopback port; ended by its id."""
    port = free_port()
    process = subprocess.Popen(command, env={**os.environ, **environment, "PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                httpx.get(f"{url}/health", timeout=1)
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
