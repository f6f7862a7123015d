"""Write access to Redis does not allow code execution in workers: nothing is unpickled."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.serializers import DefaultSerializer, JSONSerializer

from earmark.jobs.queue import JobRequest, ensure_job, job_queue
from earmark.settings import Settings
from earmark.worker.process import ResilientWorker

REQUEST = JobRequest("learn", "1.1795198673", timeout_seconds=60)


class Hostile:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[list[str]]]:
        return subprocess.call, (["touch", str(self.path)],)


def plant(client: redis.Redis, path: Path) -> None:
    """Enqueue a pickled job under the id that our own would have."""
    queue = Queue(job_queue(client).name, connection=client, serializer=DefaultSerializer)
    queue.enqueue_call("earmark.worker.tasks.learn", args=(Hostile(path),), job_id=REQUEST.job_id)


@pytest.mark.slow
def test_a_pickled_job_is_refused_and_blocks_nothing(redis_server: redis.Redis, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    plant(redis_server, touched)
    queue = job_queue(redis_server)
    worker = ResilientWorker([queue], connection=redis_server, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="CRITICAL")
    assert not touched.exists()
    assert queue.count == 0
    assert ensure_job(redis_server, REQUEST, lease_until=0.0)


def test_asking_for_work_never_unpickles(redis_server: redis.Redis, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    plant(redis_server, touched)
    ensure_job(redis_server, REQUEST, lease_until=0.0)
    assert not touched.exists()


def test_training_stands_back(settings: Settings, redis_server: redis.Redis, tmp_path: Path) -> None:
    """A job runs at a higher niceness than its worker, which keeps its own for the heartbeats."""
    written = tmp_path / "niceness"
    queue = job_queue(redis_server)
    queue.enqueue_call(
        "subprocess.call", args=(["sh", "-c", f"nice > {written}"],), job_id="nice", timeout=30
    )
    worker = ResilientWorker([queue], connection=redis_server, serializer=JSONSerializer)
    own = int(subprocess.check_output(["nice"]))
    worker.work(burst=True, logging_level="CRITICAL")
    assert int(written.read_text()) == min(19, own + settings.train_niceness)
    assert int(subprocess.check_output(["nice"])) == own
