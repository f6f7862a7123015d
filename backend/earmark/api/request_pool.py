"""Thread pool for requests, with a limit of threads for each project and a timeout at the deadline."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Generic, TypeVar

from earmark.concurrency.deadline import Deadline
from earmark.concurrency.fair_pool import FairPool
from earmark.errors import OutOfTimeError

T = TypeVar("T")

GRACE_SECONDS = 5.0
"""Time after its deadline at which a request whose thread hangs is given up."""


class RequestPool(Generic[T]):
    """Runs the work of requests in threads.

    Parameters
    ----------
    threads, threads_a_project
        Maximum at a time, of all projects together and of one.
    """

    def __init__(self, threads: int, threads_a_project: int, name: str) -> None:
        self._pool: FairPool[T] = FairPool(threads, threads_a_project, name)

    async def run(self, project: str, deadline: Deadline, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread; return its result, or raise its exception.

        Raises
        ------
        OutOfTimeError
            The work has not ended ``GRACE_SECONDS`` after the deadline.
        """
        context = contextvars.copy_context()  # so that the thread's log lines carry the request id
        ticket = self._pool.submit(project, object(), lambda: context.run(work))
        try:
            seconds = GRACE_SECONDS + (deadline.remaining() or 0.0)
            return await asyncio.wait_for(asyncio.wrap_future(ticket.future), seconds)
        except TimeoutError as error:
            if ticket.future.done() and not ticket.future.cancelled():
                raise  # raised by the work itself
            raise OutOfTimeError("The time of this request is used up: send it again in a moment.") from error
        finally:
            self._pool.release(ticket)
