"""Thread pool for requests: each project has its share of threads, and no request outlives its deadline."""

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
"""After its deadline, a request whose thread hangs is answered without it."""


class RequestPool(Generic[T]):
    """Runs the work of requests in threads.

    Parameters
    ----------
    threads, threads_a_project
        Most at a time, of all projects and of one.
    """

    def __init__(self, threads: int, threads_a_project: int, name: str) -> None:
        self._pool: FairPool[T] = FairPool(threads, threads_a_project, name)

    async def run(self, project: str, deadline: Deadline, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises.

        Raises
        ------
        OutOfTimeError
            It has not ended ``GRACE_SECONDS`` after the deadline.
        """
        context = contextvars.copy_context()  # log lines of the thread carry the request's id
        ticket = self._pool.submit(project, object(), lambda: context.run(work))
        try:
            seconds = GRACE_SECONDS + (deadline.remaining() or 0.0)
            return await asyncio.wait_for(asyncio.wrap_future(ticket.future), seconds)
        except TimeoutError as error:
            if ticket.future.done() and not ticket.future.cancelled():
                raise  # the work's own
            raise OutOfTimeError("The time of this request is used up: send it again in a moment.") from error
        finally:
            self._pool.release(ticket)
