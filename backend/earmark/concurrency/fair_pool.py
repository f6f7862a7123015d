"""Fair thread pool: a limit of threads for each owner (a host or a project), and owners take turns.

A slow owner takes no thread from others. Work that is submitted twice is done once. When a caller stops
waiting, running work goes on, so that its result is stored for the next time; work that has not begun, and
that no other caller waits for, is cancelled.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from earmark.concurrency.deadline import Deadline
from earmark.errors import OutOfTimeError

T = TypeVar("T")


class Ticket(Generic[T]):
    """A unit of work in the pool, and the number of callers that wait for it."""

    def __init__(self, owner: str, name: Hashable, work: Callable[[], T]) -> None:
        self.owner, self.name, self.work = owner, name, work
        self.future: Future[T] = Future()
        self.waiters = 0


class FairPool(Generic[T]):
    """Runs work in daemon threads, so that a process ends without waiting for a server.

    Parameters
    ----------
    threads
        Maximum at a time.
    threads_an_owner
        Maximum at a time for one owner. Waiting owners take turns.
    """

    def __init__(self, threads: int, threads_an_owner: int, name: str) -> None:
        self._most, self._most_an_owner, self._name = threads, threads_an_owner, name
        self._lock = threading.Lock()
        self._tickets: dict[Hashable, Ticket[T]] = {}
        self._waiting: OrderedDict[str, deque[Ticket[T]]] = OrderedDict()
        self._running: dict[str, int] = {}

    def submit(self, owner: str, name: Hashable, work: Callable[[], T]) -> Ticket[T]:
        """Queue work, or join queued or running work of the same name; call ``release`` in the end."""
        with self._lock:
            ticket = self._tickets.get(name)
            if ticket is None:
                ticket = self._tickets[name] = Ticket(owner, name, work)
                self._waiting.setdefault(owner, deque()).append(ticket)
                self._start()
            ticket.waiters += 1
            return ticket

    def release(self, ticket: Ticket[T]) -> None:
        """Stop waiting; work that has not begun and that no other caller waits for is cancelled."""
        with self._lock:
            ticket.waiters -= 1
            queue = self._waiting.get(ticket.owner)
            if ticket.waiters or not queue or ticket not in queue:
                return
            queue.remove(ticket)
            if not queue:
                del self._waiting[ticket.owner]
            del self._tickets[ticket.name]
        ticket.future.cancel()

    def result(self, ticket: Ticket[T], deadline: Deadline) -> T:
        """Wait for the work; return its result, or raise its exception.

        Raises
        ------
        OutOfTimeError
            The work is not done at the deadline.
        """
        try:
            return ticket.future.result(deadline.remaining())
        except TimeoutError as error:
            if ticket.future.done():
                raise  # raised by the work itself
            raise OutOfTimeError(
                "A sound did not arrive in the time that there was for it: it is asked for again later."
            ) from error

    def _start(self) -> None:
        """Start queued work within the limits, owners in turn. The caller holds the lock."""
        for owner in list(self._waiting):
            queue = self._waiting[owner]
            while queue and self._running.get(owner, 0) < self._most_an_owner:
                if sum(self._running.values()) >= self._most:
                    return
                ticket = queue.popleft()
                self._running[owner] = self._running.get(owner, 0) + 1
                threading.Thread(target=self._run, args=(ticket,), name=self._name, daemon=True).start()
            if queue:
                self._waiting.move_to_end(owner)
            else:
                del self._waiting[owner]

    def _run(self, ticket: Ticket[T]) -> None:
        if not ticket.future.set_running_or_notify_cancel():
            self._done(ticket)
            return
        try:
            result = ticket.work()
        except BaseException as error:  # noqa: BLE001 passed on to the callers
            self._done(ticket)
            ticket.future.set_exception(error)
        else:
            self._done(ticket)
            ticket.future.set_result(result)

    def _done(self, ticket: Ticket[T]) -> None:
        with self._lock:
            del self._tickets[ticket.name]
            self._running[ticket.owner] -= 1
            if not self._running[ticket.owner]:
                del self._running[ticket.owner]
            self._start()
