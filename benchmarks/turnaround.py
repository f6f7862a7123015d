"""From a webhook to the first prediction by the version that it caused, less the debounce.

``python -m benchmarks.turnaround [--quick] [--encoder NAME]``: a whole backend (Redis, worker,
API) that has learned from 100, 1,000 and 10,000 annotated regions is sent one annotation more. The
sounds have been heard before, as those that annotators are shown have been; CNN14 has random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.common import free_port, progress, report
from benchmarks.reference import random_checkpoint
from earmark.encoders import get_encoder, registry
from earmark.features.band_levels import BANDS, HOP_SECONDS, BandLevelMeter
from earmark.features.extractor import EncodedSound, FrameStore
from earmark.processes.stack import api_url, start_backend
from earmark.processes.supervisor import supervised
from earmark.settings import Settings
from earmark.storage.atomic_files import sha256_of
from earmark.store.database import Database
from earmark.store.models import Annotation, Task
from earmark.store.projects import remember_project

LABELS = tuple(f"sound {number:02d}" for number in range(20))
REGIONS_OF_CLIP = 10
CLIP_SECONDS = 10.0
SIZES = (100, 1_000, 10_000)
POLL_SECONDS = 0.02
WAIT_SECONDS = 300.0
CONTROL = '<Labels name="label" toName="audio">' + "".join(f'<Label value="{x}"/>' for x in LABELS)
CONFIG = f'<View>{CONTROL}</Labels><Audio name="audio" value="$audio"/></View>'


@dataclass(frozen=True)
class Made:
    """A clip that was heard already, and what an annotator says of it."""

    path: Path
    result: list[dict[str, Any]]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one webhook for each size instead of five")
    parser.add_argument("--encoder", choices=registry.names(), default="cnn14")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values: dict[str, Any] = {
            "data_dir": folder / "data",
            "encoder": arguments.encoder,
            "port": free_port(),
            "audio_roots": str(folder),
        }
        if registry.takes_checkpoint(arguments.encoder):
            values["cnn14_checkpoint"] = random_checkpoint(folder)
        settings = Settings(_env_file=None, **values)
        environment = {
            **os.environ,
            **{field.upper(): str(value) for field, value in values.items()},
            "LOG_LEVEL": "WARNING",
        }
        for name in ("REDIS_URL", "DATABASE_URL", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
            environment.pop(name, None)
        progress("making clips that were heard before")
        clips = make_clips(settings, folder, max(SIZES) // REGIONS_OF_CLIP + len(SIZES) * (rounds + 1))
        database = Database(settings.sqlalchemy_url)
        database.upgrade()
        spare = clips[max(SIZES) // REGIONS_OF_CLIP :]
        keys = {}
        for number, size in enumerate(SIZES, start=1):
            keys[size] = f"{number}.1700000000"
            remember(database, keys[size], clips[: size // REGIONS_OF_CLIP])
        database.close()
        with supervised(folder / "run") as supervisor:
            start_backend(supervisor, settings, environment, folder / "logs")
            figures = {}
            for size in SIZES:
                mine, spare = spare[: rounds + 1], spare[rounds + 1 :]
                figures[size] = measure(settings, keys[size], mine, size)
    report(
        seconds_100=figures[100],
        seconds_1000=figures[1_000],
        seconds_10000=figures[10_000],
        encoder=arguments.encoder,
        debounce_seconds=settings.train_debounce_seconds,
        rounds=rounds,
    )


def measure(settings: Settings, key: str, clips: list[Made], size: int) -> float:
    """Median seconds over all clips but the first, which brings the first version about."""
    waits = []
    with httpx.Client(base_url=api_url(settings), timeout=60) as client:
        version = ""
        for number, clip in enumerate(clips):
            task = {"id": 1_000_000 + number, "data": {"audio": str(clip.path)}}
            started = time.perf_counter()
            client.post("/webhook", json=webhook(key, task, clip.result)).raise_for_status()
            version = wait_for_other(client, key, task, version)
            seconds = time.perf_counter() - started - settings.train_debounce_seconds
            progress(f"{size} regions: {version} after {seconds:.2f} s")
            if number:
                waits.append(seconds)
    return statistics.median(waits)


def wait_for_other(client: httpx.Client, key: str, task: dict[str, Any], version: str) -> str:
    """Ask for predictions until another version than ``version`` makes them."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        body = {"tasks": [task], "project": key, "label_config": CONFIG}
        answer = client.post("/predict", json=body).raise_for_status().json()
        now = str(answer["results"][0]["model_version"])
        if now not in (version, "") and not now.endswith("-v0"):
            return now
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"no version after {version or 'the first webhook'} within {WAIT_SECONDS:.0f} s")


def webhook(key: str, task: dict[str, Any], result: list[dict[str, Any]]) -> dict[str, Any]:
    """What Label Studio sends when an annotation is submitted."""
    number, created = key.split(".")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(created)))
    project = {"id": int(number), "created_at": stamp, "label_config": CONFIG}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    annotation = {"id": task["id"], "task": task["id"], "result": result, "updated_at": now}
    return {"action": "ANNOTATION_CREATED", "annotation": annotation, "task": task, "project": project}


def make_clips(settings: Settings, folder: Path, count: int) -> list[Made]:
    """Clips whose frames are stored: each label has a spectrum of its own, under noise as strong."""
    random = np.random.default_rng(3)
    encoder = get_encoder(settings, at_once=False)
    store, identity = FrameStore(settings.data_dir / "frames"), encoder.identity
    rate, dim = encoder.frame_rate, encoder.frame_dim
    levels = random.integers(0, 200, (round(CLIP_SECONDS / HOP_SECONDS), BANDS), dtype=np.uint8)
    spectra = random.gamma(0.5, 1.0, (len(LABELS), dim)).astype(np.float32)
    made = []
    for number in range(count):
        frames, result = make_frames(random, spectra, rate)
        path = folder / f"{number}.wav"
        soundfile.write(path, np.full(8, number / 100_000, dtype=np.float32), 8000, subtype="FLOAT")
        digest = sha256_of(path)
        store.save(EncodedSound(digest, CLIP_SECONDS, frames.astype(np.float16)), identity)
        store.save(EncodedSound(digest, CLIP_SECONDS, levels), BandLevelMeter.identity)
        made.append(Made(path, result))
    return made


def make_frames(
    random: np.random.Generator, spectra: NDArray[np.float32], rate: float
) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
    """Frames ``[T, D]`` of ten sounds of one second, and the regions that name them."""
    count = int(CLIP_SECONDS * rate)
    frames = np.abs(random.standard_normal((count, spectra.shape[1]), dtype=np.float32)) * np.float32(0.5)
    result: list[dict[str, Any]] = []
    for number in range(REGIONS_OF_CLIP):
        label = int(random.integers(len(LABELS)))
        start = number * CLIP_SECONDS / REGIONS_OF_CLIP
        end = start + 0.9
        frames[int(start * rate) : max(int(start * rate) + 1, int(end * rate))] += spectra[label]
        value = {"start": start, "end": end, "labels": [LABELS[label]]}
        result.append({"from_name": "label", "to_name": "audio", "type": "labels", "value": value})
    return frames, result


def remember(database: Database, key: str, clips: list[Made]) -> None:
    """What earlier webhooks left behind: tasks and annotations."""
    with database.write() as session:
        remember_project(session, key, label_config=CONFIG)
        for number, clip in enumerate(clips, start=1):
            session.add(Task(project_key=key, task_id=number, data={"audio": str(clip.path)}))
            session.add(
                Annotation(
                    project_key=key,
                    annotation_id=number,
                    task_id=number,
                    result=json.loads(json.dumps(clip.result)),
                    updated_at=1.0,
                )
            )


if __name__ == "__main__":
    main()
