"""Fair thread pool: a slow owner takes no thread from others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.concurrency.fair_pool import FairPool
from earmark.errors import OutOfTimeError


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_slow_owner_takes_no_thread_from_others(gate: threading.Event) -> None:
    pool: FairPool[bool] = FairPool(threads=3, threads_an_owner=2, name="test")
    slow = [pool.submit("slow", n, lambda: gate.wait(60)) for n in range(10)]
    for number in range(5):
        ticket = pool.submit("fast", ("fast", number), lambda: True)
        assert pool.result(ticket, Deadline(60))
        pool.release(ticket)
    assert not any(ticket.future.done() for ticket in slow)
    assert sum(ticket.future.running() for ticket in slow) == 2
    gate.set()
    assert all(pool.result(ticket, Deadline(60)) for ticket in slow)


def test_the_same_work_is_done_once_and_goes_on_for_whoever_still_waits(gate: threading.Event) -> None:
    pool: FairPool[str] = FairPool(threads=4, threads_an_owner=4, name="test")
    calls: list[int] = []

    def work() -> str:
        calls.append(1)
        gate.wait(60)
        return "done"

    first, second = pool.submit("a", "sound", work), pool.submit("a", "sound", work)
    assert first is second
    with pytest.raises(OutOfTimeError) as caught:
        pool.result(first, Deadline(0.0))
    assert caught.value.reason == "out_of_time"
    pool.release(first)
    gate.set()
    assert pool.result(second, NO_DEADLINE) == "done"
    assert len(calls) == 1


def test_what_has_not_begun_and_is_awaited_no_longer_is_dropped(gate: threading.Event) -> None:
    pool: FairPool[bool] = FairPool(threads=1, threads_an_owner=1, name="test")
    running = pool.submit("a", 1, lambda: gate.wait(60))
    waiting, shared = pool.submit("a", 2, lambda: True), pool.submit("b", 3, lambda: True)
    assert pool.submit("b", 3, lambda: False) is shared
    pool.release(waiting)
    pool.release(shared)
    assert waiting.future.cancelled()
    assert not shared.future.cancelled()
    gate.set()
    assert pool.result(running, NO_DEADLINE)
    assert pool.result(shared, NO_DEADLINE)


def test_the_work_s_own_errors_are_raised() -> None:
    pool: FairPool[None] = FairPool(threads=1, threads_an_owner=1, name="test")

    def fail() -> None:
        raise TimeoutError("of the work")

    with pytest.raises(TimeoutError, match="of the work"):
        pool.result(pool.submit("a", 1, fail), Deadline(60))
    assert pool.result(pool.submit("a", 1, lambda: None), Deadline(60)) is None
