"""A project's job is enqueued at most once, and the remains of an old one never block a new one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

import earmark.jobs.queue
import earmark.worker.tasks
from earmark.jobs.dispatcher import (
    DEBOUNCE_SHARE,
    SHORTEST_DEBOUNCE_SECONDS,
    Dispatcher,
    debounce_seconds,
    due_at,
    due_jobs,
    due_jobs_and_next_poll,
    is_due,
)
from earmark.jobs.queue import TAKEN_PREFIX, JobRequest, ensure_job, job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import PendingWork, mark_handled, pending_events, record_event
from earmark.store.models import Training
from earmark.worker.process import ResilientWorker

KEY = "1.1795198673"
REQUEST = JobRequest("learn", KEY, timeout_seconds=60, lease_seconds=30.0)
EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}}


def fetch(client: redis.Redis) -> Job:
    return Job.fetch(REQUEST.job_id, connection=client, serializer=JSONSerializer)


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


def test_waiting_is_debounced_but_not_for_ever(settings: Settings) -> None:
    def work(
        first: float, last: float, asked_at: float = 0.0, failed_at: float = 0.0, retry_after: float = 0.0
    ) -> PendingWork:
        return PendingWork(KEY, 2, first, last, asked_at, failed_at, retry_after)

    moment = 1000.0
    quiet, longest = settings.train_debounce_seconds, settings.train_max_wait_seconds
    assert not is_due(work(moment - quiet / 2, moment - quiet / 2), settings, moment)
    assert is_due(work(moment - quiet, moment - quiet), settings, moment)
    assert not is_due(work(moment - longest + 1, moment), settings, moment)
    assert is_due(work(moment - longest, moment), settings, moment)
    assert is_due(work(moment, moment, asked_at=moment), settings, moment)
    failed = {"failed_at": moment - 5, "retry_after": moment + 1}
    assert not is_due(work(moment - longest, moment, **failed), settings, moment)
    assert not is_due(work(moment - longest, moment, asked_at=moment - 6, **failed), settings, moment)
    assert is_due(work(moment - longest, moment, asked_at=moment - 4, **failed), settings, moment)


def test_the_debounce_is_a_share_of_what_a_training_takes(settings: Settings) -> None:
    longest = settings.train_debounce_seconds
    assert debounce_seconds(settings, None) == longest
    assert debounce_seconds(settings, 0.01) == SHORTEST_DEBOUNCE_SECONDS
    assert debounce_seconds(settings, 2 * longest) == 2 * longest * DEBOUNCE_SHARE
    assert debounce_seconds(settings, 10 * longest / DEBOUNCE_SHARE) == longest
    never = settings.model_copy(update={"train_debounce_seconds": 0.0})
    assert debounce_seconds(never, 1.0) == 0.0
    work = PendingWork(KEY, 1, 1000.0, 1000.0, 0.0, 0.0, 0.0)
    assert due_at(work, settings, 0.5) == 1000.0 + SHORTEST_DEBOUNCE_SECONDS
    assert due_at(work, settings) == 1000.0 + longest


def test_a_training_waits_for_its_own_moment_and_the_next_poll_is_then(
    services: Services, settings: Settings
) -> None:
    with services.database.write() as session:
        received_at = record_event(session, EVENT).received_at
        session.add(
            Training(
                project_key=KEY, started_at=0.0, finished_at=1.6, outcome="registered", version="v1", events=1
            )
        )

    def look(now: float) -> tuple[list[str], float]:
        jobs, next_poll = due_jobs_and_next_poll(services.database, settings, now, 0.0)
        return [request.function for request, _ in jobs], next_poll

    jobs, next_look = look(received_at)
    assert jobs == []
    assert next_look == pytest.approx(received_at + 0.4)
    assert look(received_at + 0.41)[0] == ["learn"]


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


def test_a_fault_of_ours_does_not_end_the_dispatcher(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: Iterator[Callable[[], int]] = iter([lambda: [][0], lambda: 0])
    finished = threading.Event()

    def tick(dispatcher: Dispatcher, _connection: redis.Redis) -> int:
        dispatcher.wake()
        outcome = next(outcomes, None)
        if outcome is None:
            finished.set()
            return 0
        return outcome()

    monkeypatch.setattr(Dispatcher, "tick", tick)
    dispatcher = Dispatcher(services.settings, services.database)
    dispatcher.ensure_running()
    assert finished.wait(30)
    dispatcher.stop()


@pytest.mark.slow
def test_a_worker_trains_what_the_dispatcher_saw(
    redis_server: redis.Redis, services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earmark.settings import get_settings

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
    assert due_jobs(services.database, at_once, time.time() + settings.train_lease_seconds) == []
    assert queue.failed_job_registry.count == 0
    assert dispatcher.tick(redis_server) == 0


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
