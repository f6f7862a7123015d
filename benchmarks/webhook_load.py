"""A flood of webhooks at the real server while it trains: is any late, refused or lost?

Redis, worker and API run as for everybody. 8 connections send 200 events a second, each at a moment
fixed beforehand; latency counts from that moment, so a server that stalls cannot hide it by keeping
senders waiting. The same load on a server that is not to train gives the figure to compare with.
Trainings are made frequent (after 5 s of steady work instead of 30), so that they run all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from sqlalchemy import select

from benchmarks.common import environment_with, free_port, progress, report
from earmark.processes.stack import start_backend
from earmark.processes.supervisor import supervised
from earmark.settings import Settings
from earmark.store.database import Database
from earmark.store.events import pending_work
from earmark.store.models import Annotation, Event, Training

PROJECT = {"id": 1, "title": "Load", "created_at": "2023-11-14T22:13:20Z"}
LABELS = ("Low", "Middle", "High")
SECONDS, RATE = 2.0, 16_000
EVENTS_PER_SECOND, CONNECTIONS = 200, 8
MAX_WAIT_SECONDS = 5
NEVER_SECONDS = 86_400
SETTLED_SECONDS = 120
PASSWORD = "of-the-benchmark"
CONFIG = (
    '<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + '</Labels><Choices name="tags" toName="audio" choice="multiple">'
    + "".join(f'<Choice value="{label}"/>' for label in LABELS)
    + "</Choices></View>"
)


@dataclass
class Load:
    """What the senders saw: milliseconds from the planned moment to the whole answer, and failures."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0


def main() -> None:
    """Run the benchmark; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 s instead of 30; ends within 60 s")
    arguments = parser.parse_args()
    seconds, clips = (12, 60) if arguments.quick else (30, 200)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_clips(folder, clips)
        with backend(folder / "idle", {"TRAIN_DEBOUNCE_SECONDS": NEVER_SECONDS}, NEVER_SECONDS) as settings:
            progress(f"{EVENTS_PER_SECOND} events/s for {seconds} s, no training")
            idle, idle_lost, _ = flood(settings, paths, seconds)
        with backend(folder / "training", {}, MAX_WAIT_SECONDS) as settings:
            progress(f"{EVENTS_PER_SECOND} events/s for {seconds} s, worker training")
            busy, lost, trainings = flood(settings, paths, seconds, trains=True)
    p99 = float(np.percentile(busy.latencies, 99))
    report(
        p50_ms=float(np.median(busy.latencies)),
        p99_ms=p99,
        errors=busy.errors + idle.errors,
        lost=lost + idle_lost,
        trainings=trainings,
        p99_ratio_vs_idle=p99 / float(np.percentile(idle.latencies, 99)),
    )


def flood(settings: Settings, paths: list[Path], seconds: int, trains: bool = False) -> tuple[Load, int, int]:
    """Send the whole load; returns what the senders saw, events without a row, and trainings."""
    bodies = [webhook(number, paths) for number in range(EVENTS_PER_SECOND * seconds)]
    started_at = time.time()
    load = asyncio.run(send_all(settings.port, bodies))
    slowest = sorted(load.latencies)[-3:]
    progress(
        f"p50 {np.median(load.latencies):.1f} ms, p99 {np.percentile(load.latencies, 99):.1f} ms, slowest "
        + ", ".join(f"{latency:.0f}" for latency in slowest)
    )
    database = Database(settings.sqlalchemy_url)
    try:
        with database.read() as session:
            stored = [
                payload["annotation"]["updated_at"] for payload in session.scalars(select(Event.payload))
            ]
        sent = {json.loads(body)["annotation"]["updated_at"] for body in bodies}
        lost = len(sent) - load.errors - len(sent.intersection(stored))
        return load, max(0, lost), settled(database, len(paths), started_at, seconds) if trains else 0
    finally:
        database.close()


def settled(database: Database, annotations: int, started_at: float, seconds: int) -> int:
    """Wait until the last event is learned; returns the number of trainings that it took."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < deadline:
        with database.read() as session:
            if not pending_work(session):
                trainings = list(session.scalars(select(Training).order_by(Training.id)))
                held = session.scalars(select(Annotation.annotation_id)).all()
                break
        time.sleep(0.2)
    else:
        raise SystemExit(f"events still wait after {SETTLED_SECONDS} s")
    ends = started_at + seconds
    during = sum(max(0.0, min(t.finished_at, ends) - t.started_at) for t in trainings)
    progress(f"{len(trainings)} trainings, {during:.1f} s of the {seconds} s spent in them")
    assert {training.outcome for training in trainings} <= {"registered", "rejected"}, trainings[-1].detail
    assert len(held) == annotations
    return len(trainings)


async def send_all(port: int, bodies: list[bytes]) -> Load:
    """Deal the bodies to the connections in turn, each due 1/200 s after the one before."""
    login = base64.b64encode(f"earmark:{PASSWORD}".encode()).decode()
    head = (
        f"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Basic {login}\r\n"
    )
    load = Load()
    loop = asyncio.get_running_loop()
    begin = loop.time() + 0.5

    async def connection(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(first, len(bodies), CONNECTIONS):
            due = begin + number / EVENTS_PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))
            try:
                writer.write(f"{head}Content-Length: {len(bodies[number])}\r\n\r\n".encode() + bodies[number])
                answer = await reader.readuntil(b"\r\n\r\n")
                length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError):
                load.errors += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            load.latencies.append((loop.time() - due) * 1000)
            load.errors += not answer.startswith(b"HTTP/1.1 201")
        writer.close()

    await asyncio.gather(*(connection(first) for first in range(CONNECTIONS)))
    return load


def webhook(number: int, paths: list[Path]) -> bytes:
    """Event ``number``: one annotation for each task, created in the first round and corrected after."""
    task, turn = number % len(paths), number // len(paths)
    label = LABELS[task % len(LABELS)]
    onset = 0.5 + 0.001 * (turn % 7)
    sound = {"original_length": SECONDS, "to_name": "audio", "origin": "manual"}
    region = {"start": onset, "end": 1.5, "channel": 0, "labels": [label]}
    data = {"audio": str(paths[task])}
    body: dict[str, Any] = {
        "action": "ANNOTATION_CREATED" if turn == 0 else "ANNOTATION_UPDATED",
        "annotation": {
            "id": 1000 + task,
            "task": task + 1,
            "project": 1,
            "completed_by": task % CONNECTIONS,
            "result": [
                {**sound, "id": "r", "from_name": "label", "type": "labels", "value": region},
                {**sound, "id": "t", "from_name": "tags", "type": "choices", "value": {"choices": [label]}},
            ],
            "was_cancelled": False,
            "ground_truth": False,
            "lead_time": 4.2,
            "updated_at": datetime.fromtimestamp(1.7e9 + number, UTC).isoformat(),
        },
        "task": {"id": task + 1, "project": 1, "data": data, "meta": {}, "is_labeled": True},
        "project": {**PROJECT, "label_config": CONFIG, "description": "x" * 2000},
    }
    return json.dumps(body).encode()


def make_clips(folder: Path, count: int) -> list[Path]:
    """Seeded clips of 2 s: a tone of its label's height in the middle of noise."""
    random = np.random.default_rng(0)
    moments = np.arange(int(SECONDS * RATE)) / RATE
    paths = []
    for number in range(count):
        hertz = 300 * 4 ** (number % len(LABELS)) * random.uniform(0.9, 1.1)
        sounding = (moments >= 0.5) & (moments < 1.5)
        wave = 0.2 * np.sin(2 * np.pi * hertz * moments) * sounding
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], wave + 0.01 * random.standard_normal(moments.size), RATE)
    return paths


@contextmanager
def backend(folder: Path, changes: dict[str, int], max_wait_seconds: int) -> Iterator[Settings]:
    """Redis, worker and API as ``earmark up`` starts them, in a folder of their own."""
    port = free_port()
    ours = {
        "DATA_DIR": str(folder / "data"),
        "PORT": str(port),
        "ENCODER": "logmel",
        "API_PASSWORD": PASSWORD,
        "AUDIO_ROOTS": "/",
        "TRAIN_MAX_WAIT_SECONDS": str(max_wait_seconds),
        **{name: str(value) for name, value in changes.items()},
    }
    given: dict[str, Any] = {name.lower(): value for name, value in ours.items()}
    settings = Settings(_env_file=None, **given)
    with supervised(folder / "run") as supervisor:
        start_backend(supervisor, settings, environment_with(ours), folder / "logs")
        yield settings


if __name__ == "__main__":
    main()
