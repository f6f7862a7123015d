"""Bulk predictions in a real Label Studio, by workers that may be killed: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from sqlalchemy import select

from earmark.jobs.queue import job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import answers, connect, server_command
from earmark.labels.config_changes import receive_webhook
from earmark.labelstudio.task_pages import Listing
from earmark.learning.training import learn
from earmark.prediction.bulk import process_chunks
from earmark.prediction.bulk_plan import find_tasks, store_run
from earmark.prediction.task_selection import Selection
from earmark.processes.supervisor import Child, Supervisor, supervised
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Preannotation, PreannotationChunk, Project
from earmark.store.preannotations import cancel_run, create_run, run_progress, unfinished_runs
from earmark.store.projects import project_key

pytestmark = pytest.mark.e2e

CLIPS = 60
TONES = {"low": 220.0, "high": 1760.0}
CONFIG = """<View><Audio name="audio" value="$audio"/><Choices name="tags" toName="audio">
<Choice value="low"/><Choice value="high"/></Choices></View>"""


@pytest.fixture
def settings(label_studio: Any, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        encoder="logmel",
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
    )


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with Services(settings) as services:
        services.database.upgrade()
        yield services


@pytest.fixture
def project(label_studio: Any, services: Services, tmp_path: Path) -> Project:
    """60 tones, six of them annotated and learned; the sound of the last task is missing."""
    client = label_studio.client
    made = client.projects.create(title="Bulk", label_config=CONFIG)
    tasks = []
    for number in range(CLIPS):
        label = sorted(TONES)[number % 2]
        path = tmp_path / f"{number}.wav"
        time_axis = np.arange(16000) / 16000
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * (TONES[label] + number) * time_axis), 16000)
        tasks.append({"data": {"audio": str(path)}})
    tasks[-1]["data"]["audio"] = str(tmp_path / "missing.wav")
    client.projects.import_tasks(id=made.id, request=tasks)
    listing = Listing(services.access.required(None))
    about = listing.project(made.id)
    held = [task for page in listing.tasks(made.id) for task in page]
    for number, task in enumerate(held[:6]):
        value = {"choices": [sorted(TONES)[number % 2]]}
        result = [{"from_name": "tags", "to_name": "audio", "type": "choices", "value": value}]
        created = client.annotations.create(id=task["id"], result=result)
        annotation = {"id": created.id, "task": task["id"], "result": result}
        with services.database.write() as session:
            receive_webhook(
                session,
                {
                    "action": "ANNOTATION_CREATED",
                    "annotation": annotation,
                    "task": {"id": task["id"], "data": task["data"]},
                    "project": {name: about[name] for name in ("id", "created_at", "label_config")},
                },
            )
    key = project_key(about)
    trained = learn(services, key)
    assert trained is not None
    assert trained.version == "logmel-v1", trained.detail
    with services.database.read() as session:
        return session.get_one(Project, key)


@pytest.fixture
def start_worker(settings: Settings) -> Iterator[Callable[[], Child]]:
    """Real Redis, and a function that starts one more real worker on it."""
    environment = {
        **os.environ,
        "DATA_DIR": str(settings.data_dir),
        "ENCODER": "logmel",
        "LABEL_STUDIO_URL": str(settings.label_studio_url),
        "LABEL_STUDIO_API_KEY": str(settings.api_key),
    }
    with supervised(settings.data_dir / "run") as supervisor:
        redis = Child("redis", server_command(settings), environment, settings.data_dir / "redis.log")
        supervisor.start(redis)
        supervisor.wait_until(redis, lambda: answers(settings), 30)
        yield lambda: _start(supervisor, settings, environment)


def plan_run(services: Services, project: Project, selection: Selection) -> Preannotation | None:
    """Store a run over the tasks that need a prediction, as the command does."""
    needed = find_tasks(services, project, selection)
    return store_run(services, project.key, selection, needed.version, needed.tasks)


def _start(supervisor: Supervisor, settings: Settings, environment: dict[str, str]) -> Child:
    queue = job_queue(connect(settings), QueueKind.PREDICT)
    before = live_workers(queue)
    command = [sys.executable, "-m", "earmark", "worker"]
    child = Child(f"worker-{before}", command, environment, settings.data_dir / "worker.log", restart=False)
    supervisor.start(child)
    supervisor.wait_until(child, lambda: live_workers(queue) > before, 60)
    return child


def versions_held(services: Services, project: Project) -> dict[int, Counter[str]]:
    """Task to its predictions by version, as Label Studio holds them."""
    pages = Listing(services.access.required(project)).tasks(project.project_id)
    return {
        task["id"]: Counter(prediction["model_version"] for prediction in task["predictions"])
        for page in pages
        for task in page
    }


def test_a_killed_worker_loses_nothing(
    services: Services, settings: Settings, project: Project, start_worker: Callable[[], Child]
) -> None:
    victim = start_worker()
    start_worker()
    few = sorted(versions_held(services, project))[6:8]
    with services.database.write() as session:  # as /predict leaves behind what it has no time for
        create_run(session, project.key, Selection.ALL.value, "logmel-v1", [few])
    run = plan_run(services, project, Selection.UNLABELLED)
    assert run is not None
    with services.database.read() as session:
        assert run_progress(session, run.id).tasks == CLIPS - 8
    environment = {
        **os.environ,
        "DATA_DIR": str(settings.data_dir),
        "ENCODER": "logmel",
        "LABEL_STUDIO_URL": str(settings.label_studio_url),
        "LABEL_STUDIO_API_KEY": str(settings.api_key),
    }
    command = [sys.executable, "scripts/preannotate.py", str(project.project_id), "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watching:
        # In the middle: as soon as one of them has a chunk
        while not _claimed(services, run.id):
            assert watching.poll() is None
        assert victim.process is not None
        for process in [*psutil.Process(victim.process.pid).children(recursive=True), victim.process]:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        output, _ = watching.communicate(timeout=240)
    figures = json.loads(output)
    held = versions_held(services, project)
    numbers = sorted(held)
    assert watching.returncode == 1, "one sound is missing"
    assert list(figures["failed"]) == [str(numbers[-1])]
    assert "missing.wav" in figures["failed"][str(numbers[-1])]
    assert all(held[number] == {"logmel-v1": 1} for number in numbers[6:-1])
    assert all(not held[number] for number in [*numbers[:6], numbers[-1]])
    assert sum(figures["labels"].values()) >= 0.9 * figures["predicted"]


def _claimed(services: Services, run: int) -> bool:
    with services.database.read() as session:
        taken = select(PreannotationChunk.number).where(
            PreannotationChunk.run_id == run, PreannotationChunk.attempts > 0
        )
        return session.scalar(taken) is not None


def test_selections_and_going_on(services: Services, project: Project) -> None:
    """Without workers, in this process: what is chosen, and that nothing is predicted twice."""
    first = plan_run(services, project, Selection.UNLABELLED)
    assert first is not None
    while process_chunks(services, first.id):
        pass
    with services.database.read() as session:
        progress = run_progress(session, first.id)
        assert not unfinished_runs(session)
    assert (progress.tasks, progress.predicted, len(progress.failed)) == (CLIPS - 6, CLIPS - 7, 1)
    assert plan_run(services, project, Selection.OUTDATED) is None
    everything = plan_run(services, project, Selection.ALL)
    assert everything is not None
    with services.database.read() as session:
        assert run_progress(session, everything.id).tasks == 7, "the labelled and the one that failed"
    with services.database.write() as session:
        cancel_run(session, everything.id)
    assert process_chunks(services, everything.id) == 0
    assert sum(sum(held.values()) for held in versions_held(services, project).values()) == CLIPS - 7
