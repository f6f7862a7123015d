"""A project's job waits at most once, and no trace of an old one blocks a new one."""

from __future__ import annotations

import time

import pytest
import redis
from rq import SimpleWorker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from backend.jobs.dispatcher import Dispatcher, due_jobs, is_due
from backend.jobs.queue import LEASE_SECONDS, JobRequest, ensure_job, job_queue, live_workers
from backend.jobs.worker import EnduringWorker
from backend.services import Services
from backend.settings import Settings
from backend.store.events import PendingWork, record_event
from backend.store.projects import acquire_lease, release_lease, remember_project

KEY = "1.1795198673"
REQUEST = JobRequest("learn", KEY, timeout_seconds=60)
EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}}


def fetch(client: redis.Redis) -> Job:
    return Job.fetch(REQUEST.job_id, connection=client, serializer=JSONSerializer)


def test_asking_twice_enqueues_once(redis_server: redis.Redis) -> None:
    queue = job_queue(redis_server)
    assert ensure_job(queue, REQUEST, 0.0)
    assert not ensure_job(queue, REQUEST, 0.0)
    assert queue.count == 1


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.FINISHED, JobStatus.STOPPED])
def test_an_ended_job_does_not_block_the_next(redis_server: redis.Redis, status: JobStatus) -> None:
    queue = job_queue(redis_server)
    ensure_job(queue, REQUEST, 0.0)
    queue.empty()
    ensure_job(queue, REQUEST, 0.0)
    job = fetch(redis_server)
    queue.remove(job)
    job.set_status(status)
    assert ensure_job(queue, REQUEST, 0.0)
    assert fetch(redis_server).get_status() == JobStatus.QUEUED


def test_a_job_that_a_dead_worker_left_started_is_replaced(redis_server: redis.Redis) -> None:
    queue = job_queue(redis_server)
    ensure_job(queue, REQUEST, 0.0)
    job = fetch(redis_server)
    queue.remove(job)
    job.set_status(JobStatus.STARTED)
    assert not ensure_job(queue, REQUEST, time.time() + 1)  # its lease runs
    redis_server.hset(job.key, "started_at", "2026-01-01T00:00:00.000000Z")
    assert not ensure_job(queue, REQUEST, time.time() + 1)
    assert ensure_job(queue, REQUEST, time.time() - 1)


def test_nothing_on_the_way_is_pickled(redis_server: redis.Redis) -> None:
    ensure_job(job_queue(redis_server), REQUEST, 0.0)
    data = zlib_data(redis_server)
    assert data.startswith(b"[") or data.startswith(b"{")


def zlib_data(client: redis.Redis) -> bytes:
    import zlib

    raw = client.hget(fetch(client).key, "data")
    assert isinstance(raw, bytes)
    try:
        return zlib.decompress(raw)
    except zlib.error:
        return raw


def test_waiting_is_debounced_but_not_for_ever(settings: Settings) -> None:
    def work(first: float, last: float, asked: bool = False, retry_after: float = 0.0) -> PendingWork:
        return PendingWork(KEY, 2, first, last, asked, retry_after)

    now = 1000.0
    quiet, longest = settings.train_debounce_seconds, settings.train_max_wait_seconds
    assert not is_due(work(now - quiet / 2, now - quiet / 2), settings, now)
    assert is_due(work(now - quiet, now - quiet), settings, now)
    assert not is_due(work(now - longest + 1, now), settings, now)
    assert is_due(work(now - longest, now), settings, now)
    assert is_due(work(now, now, asked=True), settings, now)
    assert not is_due(work(now - longest, now, asked=True, retry_after=now + 1), settings, now)


def test_a_flushed_redis_loses_no_work(
    redis_server: redis.Redis, services: Services, settings: Settings
) -> None:
    with services.database.write() as session:
        record_event(session, EVENT)
    at_once = settings.model_copy(update={"train_debounce_seconds": 0.0})
    dispatcher = Dispatcher(at_once, services.database)
    assert dispatcher.tick(redis_server) == 1
    assert dispatcher.tick(redis_server) == 0
    redis_server.flushall()
    assert dispatcher.tick(redis_server) == 1
    assert fetch(redis_server).args == (KEY,) or fetch(redis_server).args == [KEY]


def test_a_worker_trains_what_the_dispatcher_saw(
    redis_server: redis.Redis, services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.settings import get_settings

    monkeypatch.setenv("DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ENCODER", "logmel")
    get_settings.cache_clear()
    with services.database.write() as session:
        record_event(session, EVENT)
    at_once = settings.model_copy(update={"train_debounce_seconds": 0.0})
    dispatcher = Dispatcher(at_once, services.database)
    dispatcher.tick(redis_server)
    queue = job_queue(redis_server)
    SimpleWorker([queue], connection=redis_server, serializer=JSONSerializer).work(burst=True)
    get_settings.cache_clear()
    assert due_jobs(services.database, at_once, time.time() + LEASE_SECONDS) == []
    assert queue.failed_job_registry.count == 0
    assert dispatcher.tick(redis_server) == 0


def test_a_flushed_redis_knows_its_workers_again(redis_server: redis.Redis) -> None:
    queue = job_queue(redis_server)
    worker = EnduringWorker([queue], connection=redis_server, serializer=JSONSerializer)
    worker.register_birth()
    assert live_workers(queue) == 1
    redis_server.flushall()
    assert live_workers(queue) == 0
    worker.heartbeat()
    assert live_workers(queue) == 1
    worker.register_death()
    assert live_workers(queue) == 0


def test_one_training_of_a_project_at_a_time(services: Services) -> None:
    with services.database.write() as session:
        remember_project(session, KEY)
        assert acquire_lease(session, KEY, "one", 60)
        assert not acquire_lease(session, KEY, "two", 60)
        assert acquire_lease(session, KEY, "one", 60)
        release_lease(session, KEY, "two")
        assert not acquire_lease(session, KEY, "two", 60)
        release_lease(session, KEY, "one")
        assert acquire_lease(session, KEY, "two", -1)
        assert acquire_lease(session, KEY, "one", 60)  # the lease of "two" has ended
