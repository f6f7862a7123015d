"""Bulk predictions by 1, 2 and 4 workers into a real Label Studio, and what a killed worker costs.

``python -m benchmarks.preannotate [--quick]``: 200 clips of 30 s in stereo, never heard before, with
`logmel` and with `cnn14` (random weights). The time is that from asking the workers, which wait already, to
the last prediction that Label Studio holds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import redis
import soundfile

from benchmarks.common import ACCOUNT, progress, report
from benchmarks.import_tasks import label_studio
from benchmarks.reference import random_checkpoint
from earmark.encoders import registry
from earmark.jobs.preannotation import ensure_preannotation
from earmark.jobs.queue import job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import answers, connect, server_command
from earmark.labels.config_changes import receive_webhook
from earmark.labelstudio.task_pages import Listing
from earmark.learning.training import learn
from earmark.prediction.bulk_plan import find_tasks, store_run
from earmark.prediction.task_selection import Selection
from earmark.processes.supervisor import Child, supervised
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Project
from earmark.store.preannotations import run_progress
from earmark.store.projects import project_key

CLIPS, QUICK_CLIPS = 200, 24
SECONDS, RATE = 30.0, 44_100
LABELS = ("low", "high")
POLL_SECONDS = 0.1
READY_SECONDS = 60.0
CONFIG = (
    '<View><Audio name="audio" value="$audio"/><Choices name="tags" toName="audio">'
    '<Choice value="low"/><Choice value="high"/></Choices></View>'
)


@dataclass(frozen=True)
class Bench:
    """What all runs share: Label Studio, the sounds, and the checkpoint of CNN14."""

    url: str
    client: Any
    sounds: list[Path]
    checkpoint: Path


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="24 clips, logmel alone, 1 and 2 workers")
    parser.add_argument("--encoder", choices=("logmel", "cnn14"), help="only this one [default: both]")
    arguments = parser.parse_args()
    quick = arguments.quick
    encoders = ("logmel",) if quick else (arguments.encoder,) if arguments.encoder else ("logmel", "cnn14")
    with tempfile.TemporaryDirectory() as name, label_studio(Path(name)) as (url, client, _):
        folder = Path(name)
        sounds = make_clips(folder / "sounds", QUICK_CLIPS if quick else CLIPS)
        bench = Bench(url, client, sounds, random_checkpoint(folder))
        seconds: dict[str, dict[int, float]] = {}
        for encoder in encoders:
            for workers in (1, 2) if quick else (1, 2, 4):
                took, _ = measure(bench, folder / f"{encoder}-{workers}", encoder, workers, kill=False)
                seconds.setdefault(encoder, {})[workers] = took
                progress(f"{encoder}, {workers} workers: {took:.1f} s for {len(sounds)} clips")
        took, lost = measure(bench, folder / "killed", "logmel", 2, kill=True)
        progress(f"with one of two workers killed: {took:.1f} s, {lost} lost")
    figures = {
        f"{encoder}_clips_per_s_{workers}": len(sounds) / took
        for encoder, times in seconds.items()
        for workers, took in times.items()
    }
    speedups = {
        f"speedup_{workers}" + ("" if encoder == "logmel" else f"_{encoder}"): times[1] / took
        for encoder, times in seconds.items()
        for workers, took in times.items()
        if workers > 1
    }
    report(**speedups, lost=lost, **figures, cores=os.cpu_count())


def measure(bench: Bench, folder: Path, encoder: str, workers: int, kill: bool) -> tuple[float, int]:
    """Seconds of one run in a backend of its own, and how many tasks do not have exactly one prediction."""
    values: dict[str, Any] = {
        "data_dir": folder,
        "encoder": encoder,
        "label_studio_url": bench.url,
        "label_studio_api_key": ACCOUNT[2],
        "audio_roots": "/",
    }
    if registry.takes_checkpoint(encoder):
        values["cnn14_checkpoint"] = bench.checkpoint
    settings = Settings(_env_file=None, **values)
    environment = {**os.environ, **{name.upper(): str(value) for name, value in values.items()}}
    environment |= {"LOG_LEVEL": "ERROR"}
    for name in ("REDIS_URL", "DATABASE_URL"):
        environment.pop(name, None)
    with Services(settings) as services, running(settings, environment, workers) as (connection, children):
        services.database.upgrade()
        project = make_project(bench, services)
        needed = find_tasks(services, project, Selection.UNLABELLED)
        run = store_run(services, project.key, Selection.UNLABELLED, needed.version, needed.tasks)
        assert run is not None
        started = time.perf_counter()
        while True:
            ensure_preannotation(connection, services.database)
            with services.database.read() as session:
                state = run_progress(session, run.id)
            if not state.chunks_left:
                break
            if kill and state.predicted:
                kill = False
                end(children[0])
            time.sleep(POLL_SECONDS)
        took = time.perf_counter() - started
        pages = Listing(services.access.required(project)).tasks(project.project_id)
        held = [len(task["predictions"]) for page in pages for task in page]
        return took, sum(count != 1 for count in held)


@contextmanager
def running(
    settings: Settings, environment: dict[str, str], workers: int
) -> Iterator[tuple[redis.Redis, list[Child]]]:
    """A Redis and so many workers, which wait for work."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with supervised(settings.data_dir / "run") as supervisor:
        log = settings.data_dir / "logs"
        server = Child("redis", server_command(settings), environment, log / "redis.log")
        supervisor.start(server)
        supervisor.wait_until(server, lambda: answers(settings), READY_SECONDS)
        connection = connect(settings)
        command = [sys.executable, "-m", "earmark", "worker", "--queue", "predict"]
        children = []
        for number in range(workers):
            name = f"worker-{number}"
            children.append(Child(name, command, environment, log / f"{name}.log", restart=False))
            supervisor.start(children[-1])
        queue = job_queue(connection, QueueKind.PREDICT)
        supervisor.wait_until(children[-1], lambda: live_workers(queue) == workers, READY_SECONDS)
        yield connection, children


def make_project(bench: Bench, services: Services) -> Project:
    """A project with a task for each sound, and a head from one sound of each label."""
    made = bench.client.projects.create(title="Bulk predictions", label_config=CONFIG)
    tasks = [{"data": {"audio": str(path), "duration": SECONDS}} for path in bench.sounds]
    bench.client.projects.import_tasks(id=made.id, request=tasks)
    about = Listing(services.access.required(None)).project(made.id)
    project = {name: about[name] for name in ("id", "created_at", "label_config", "title")}
    for number, label in enumerate(LABELS, start=1):
        path = bench.sounds[0].parent / f"{label}.flac"
        value = {"choices": [label]}
        result = [{"from_name": "tags", "to_name": "audio", "type": "choices", "value": value}]
        task = {"id": 10**9 + number, "data": {"audio": str(path)}}
        annotation = {"id": number, "task": task["id"], "result": result}
        with services.database.write() as session:
            receive_webhook(
                session,
                {
                    "action": "ANNOTATION_CREATED",
                    "annotation": annotation,
                    "task": task,
                    "project": project,
                },
            )
    key = project_key(about)
    training = learn(services, key)
    assert training is not None
    assert training.version, training.detail
    with services.database.read() as session:
        return session.get_one(Project, key)


def make_clips(folder: Path, count: int) -> list[Path]:
    """Seeded tones in noise, stereo FLAC, and one more for each label to learn from."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    time_axis = np.arange(int(SECONDS * RATE)) / RATE
    names = [f"{number:03}.flac" for number in range(count)] + [f"{label}.flac" for label in LABELS]
    for number, name in enumerate(names):
        hertz = (220.0, 1760.0)[number % 2] + number
        wave = 0.2 * np.sin(2 * np.pi * hertz * time_axis)[:, None]
        noise = 0.02 * random.standard_normal((time_axis.size, 2))
        soundfile.write(folder / name, wave + noise, RATE)
    progress(f"{count} clips made")
    return [folder / name for name in names[:count]]


def end(child: Child) -> None:
    """``kill -9`` a worker that was started here, and the job that it runs."""
    assert child.process is not None
    for process in [*psutil.Process(child.process.pid).children(recursive=True), child.process]:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
