"""The dispatcher: when a training is due, and what it enqueues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

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
from earmark.jobs.queue import job_queue
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import PendingWork, record_event
from earmark.store.models import Training
from tests.jobs.learn_job import EVENT, KEY, fetch


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
