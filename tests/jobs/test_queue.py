"""A project's job is enqueued at most once, and the remains of an old one never block a new one."""

from __future__ import annotations

import time

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

import earmark.jobs.queue
import earmark.worker.tasks
from earmark.jobs.dispatcher import Dispatcher
from earmark.jobs.queue import TAKEN_PREFIX, JobRequest, ensure_job, job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import mark_handled, pending_events, record_event
from earmark.worker.process import ResilientWorker
from tests.jobs.learn_job import EVENT, KEY, REQUEST, fetch


def test_asking_twice_enqueues_once(redis_server: redis.Redis) -> None:
    queue = job_queue(redis_server)
    assert ensure_job(redis_server, REQUEST, 0.0)
    assert not ensure_job(redis_server, REQUEST, 0.0)
    assert queue.count == 1


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.FINISHED, JobStatus.STOPPED])
def test_an_ended_job_does_not_block_the_next(redis_server: redis.Redis, status: JobStatus) -> None:
    queue = job_queue(redis_server)
    ensure_job(redis_server, REQUEST, 0.0)
    queue.empty()
    ensure_job(redis_server, REQUEST, 0.0)
    job = fetch(redis_server)
    queue.remove(job)
    job.set_status(status)
    assert ensure_job(redis_server, REQUEST, 0.0)
    assert fetch(redis_server).get_status() == JobStatus.QUEUED


def test_a_job_that_a_dead_worker_left_started_is_replaced(redis_server: redis.Redis) -> None:
    queue = job_queue(redis_server)
    ensure_job(redis_server, REQUEST, 0.0)
    job = fetch(redis_server)
    queue.remove(job)
    job.set_status(JobStatus.STARTED)
    assert not ensure_job(redis_server, REQUEST, time.time() + 1)  # its lease runs
    redis_server.hset(job.key, "started_at", "2026-01-01T00:00:00.000000Z")
    assert not ensure_job(redis_server, REQUEST, time.time() + 1)
    assert ensure_job(redis_server, REQUEST, time.time() - 1)


def test_a_job_that_a_worker_starts_meanwhile_is_no_abandoned_one(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status must not be newer than its heartbeat: started without one, it would be replaced."""
    read = earmark.jobs.queue._fetch_job

    def read_before_the_start(connection: redis.Redis, job_id: str) -> Job | None:
        waiting, started = read(connection, job_id), read(connection, job_id)
        if started is not None:
            job_queue(connection).remove(started)
            with connection.pipeline() as pipeline:
                started.prepare_for_execution("a worker", pipeline)
                pipeline.execute()
        return waiting

    ensure_job(redis_server, REQUEST, 0.0)
    monkeypatch.setattr(earmark.jobs.queue, "_fetch_job", read_before_the_start)
    assert not ensure_job(redis_server, REQUEST, 0.0)
    assert fetch(redis_server).get_status() == JobStatus.STARTED
    assert job_queue(redis_server).count == 0


def test_nothing_on_the_way_is_pickled(redis_server: redis.Redis) -> None:
    ensure_job(redis_server, REQUEST, 0.0)
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


def test_a_flushed_redis_knows_its_workers_again(redis_server: redis.Redis) -> None:
    queue = job_queue(redis_server)
    worker = ResilientWorker([queue], connection=redis_server, serializer=JSONSerializer)
    worker.register_birth()  # type: ignore[no-untyped-call]
    assert live_workers(queue) == 1
    redis_server.flushall()
    assert live_workers(queue) == 0
    worker.heartbeat()
    assert live_workers(queue) == 1
    worker.register_death()  # type: ignore[no-untyped-call]
    assert live_workers(queue) == 0


def test_a_job_in_the_queue_of_another_release_is_moved(redis_server: redis.Redis) -> None:
    old = Queue("earmark", connection=redis_server, serializer=JSONSerializer)
    old.enqueue_call("earmark.worker.tasks.learn", args=(KEY,), job_id=REQUEST.job_id)
    assert ensure_job(redis_server, REQUEST, 0.0)
    assert (old.count, job_queue(redis_server).job_ids) == (0, [REQUEST.job_id])


@pytest.mark.parametrize("field", ["earmark_taken_at", "last_heartbeat", "status", "worker_name"])
def test_a_field_that_outlived_its_job_does_not_block_the_next(redis_server: redis.Redis, field: str) -> None:
    redis_server.hset(f"rq:job:{REQUEST.job_id}", field, "1")
    assert ensure_job(redis_server, REQUEST, 0.0)
    assert job_queue(redis_server).job_ids == [REQUEST.job_id]
    assert fetch(redis_server).get_status() == JobStatus.QUEUED
    assert not ensure_job(redis_server, REQUEST, 0.0)


@pytest.mark.parametrize("command", ["SET {} x", "HSET {} data x started_at yesterday", "LPUSH {} x"])
def test_what_is_no_job_under_its_key_does_not_block_it(redis_server: redis.Redis, command: str) -> None:
    redis_server.execute_command(*command.format(f"rq:job:{REQUEST.job_id}").split())
    assert ensure_job(redis_server, REQUEST, 0.0)
    assert fetch(redis_server).get_status() == JobStatus.QUEUED


def test_looking_at_a_job_that_was_taken_leaves_nothing_under_its_key(redis_server: redis.Redis) -> None:
    ensure_job(redis_server, REQUEST, 0.0)
    job = fetch(redis_server)
    job_queue(redis_server).remove(job)
    before = sorted(redis_server.hkeys(job.key))
    assert not ensure_job(redis_server, REQUEST, 0.0), "a worker is about to start it"
    assert sorted(redis_server.hkeys(job.key)) == before
    (noted,) = redis_server.keys(f"{TAKEN_PREFIX}*")
    redis_server.set(noted, 0.0)
    assert ensure_job(redis_server, REQUEST, 0.0), "the worker that took it died"


def test_a_running_lease_speaks_for_a_job_that_redis_forgot(redis_server: redis.Redis) -> None:
    assert not ensure_job(redis_server, REQUEST, time.time() + 10)
    assert ensure_job(redis_server, REQUEST, time.time() - 1)


def test_long_work_without_a_lease_is_left_to_its_worker_while_that_shows_itself(
    redis_server: redis.Redis,
) -> None:
    refresh = JobRequest("refresh", KEY, timeout_seconds=3600)
    ensure_job(redis_server, refresh, 0.0)
    queue = job_queue(redis_server, QueueKind.PREDICT)
    assert queue.job_ids == [refresh.job_id]
    job = Job.fetch(refresh.job_id, connection=redis_server, serializer=JSONSerializer)
    queue.remove(job)
    job.set_status(JobStatus.STARTED)
    redis_server.hset(job.key, "started_at", "2026-01-01T00:00:00.000000Z")
    redis_server.hset(job.key, "last_heartbeat", utcformat(now()))
    assert not ensure_job(redis_server, refresh, 0.0)
    redis_server.hset(job.key, "last_heartbeat", "2026-01-01T00:00:00.000000Z")
    assert ensure_job(redis_server, refresh, 0.0)


def test_a_trace_of_a_heartbeat_does_not_hinder(redis_server: redis.Redis) -> None:
    """What a worker writes that wakes up after its job was given away: RQ itself cannot read that."""
    ensure_job(redis_server, REQUEST, 0.0)
    job = fetch(redis_server)
    job_queue(redis_server).remove(job)
    with redis_server.pipeline() as pipeline:
        execution = Execution.create(job, 60, pipeline, worker_name="hung")
        pipeline.execute()
    redis_server.delete(execution.key)
    redis_server.hset(execution.key, "last_heartbeat", 0.0)
    job.set_status(JobStatus.STARTED)
    assert ensure_job(redis_server, REQUEST, 0.0)
    registry = job_queue(redis_server).started_job_registry
    registry.cleanup(time.time() + 3600)
    assert fetch(redis_server).get_status() == JobStatus.QUEUED, "not failed as abandoned"


@pytest.mark.slow
def test_projects_take_turns(
    redis_server: redis.Redis, services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One project's annotations never end; the others are trained in between, in the order they came."""
    at_once = settings.model_copy(update={"train_debounce_seconds": 0.0})
    dispatcher, trained = Dispatcher(at_once, services.database), list[str]()

    def annotate(number: int) -> None:
        with services.database.write() as session:
            record_event(session, {**EVENT, "project": {**EVENT["project"], "id": number}})  # type: ignore[dict-item]

    def train(key: str) -> None:
        with services.database.write() as session:
            mark_handled(session, pending_events(session, key))
        trained.append(key.partition(".")[0])
        annotate(1)
        dispatcher.tick(redis_server)

    monkeypatch.setattr(earmark.worker.tasks, "learn", train)
    for number in (1, 2, 3):
        annotate(number)
    dispatcher.tick(redis_server)
    worker = SimpleWorker([job_queue(redis_server)], connection=redis_server, serializer=JSONSerializer)
    worker.work(burst=True, max_jobs=3, logging_level="CRITICAL")
    assert trained == ["1", "2", "3"]
    for number in (3, 2):
        annotate(number)
        dispatcher.tick(redis_server)
    worker.work(burst=True, max_jobs=4, logging_level="CRITICAL")
    assert trained[3:] == ["1", "3", "2", "1"]


def test_predictions_do_not_wait_behind_trainings(redis_server: redis.Redis) -> None:
    for number in range(5):
        ensure_job(redis_server, JobRequest("learn", f"{number}.1", 60, 30.0), 0.0)
    requests = [JobRequest("refresh", KEY, 60), JobRequest("sync", KEY, 60)]
    for request in requests:
        ensure_job(redis_server, request, 0.0)
    assert job_queue(redis_server, QueueKind.PREDICT).job_ids == [request.job_id for request in requests]
