"""Group commit of webhooks: one thread of a process writes them to the database, many in a transaction.

Each commit waits for the disk. Webhooks that arrive during one are queued, and the next transaction stores
them all; so the time to answer hardly grows with their number, and only one connection of this process
waits for SQLite's lock.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import structlog
from sqlalchemy.exc import OperationalError

from earmark.labels.config_changes import update_project
from earmark.store.database import Database
from earmark.store.events import record_event

log = structlog.get_logger(__name__)

LARGEST_GROUP = 256
CHECKPOINT_EVENTS = 200
"""Webhooks, about a megabyte, after which SQLite's WAL is checkpointed in a background thread."""

_Waiting = tuple[dict[str, Any], "Future[int]"]


class EventWriter:
    """The single thread of a process that writes webhooks; the first webhook starts it.

    Parameters
    ----------
    url
        Database URL, its schema migrated already; the writer has a connection of its own.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, auto_checkpoint=False)
        self._checkpointing = threading.Thread()
        self._since_checkpoint = 0
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    async def store(self, payload: dict[str, Any]) -> int:
        """Store a webhook and return its event id once it is committed.

        Raises
        ------
        SQLAlchemyError
            The database refused it.
        """
        self._ensure_running()
        stored: Future[int] = Future()
        self._queue.put((payload, stored))
        return await asyncio.wrap_future(stored)

    def close(self) -> None:
        """Write the queued webhooks, then end the thread."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                self._queue.put(None)
                self._thread.join()
            self._thread = None
        self._database.close()

    def _ensure_running(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, ended = [first], False
            while len(group) < LARGEST_GROUP and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    ended = True
                    break
                group.append(item)
            self._write(group)
            self._checkpoint_after(len(group))
            if ended:
                return

    def _write(self, group: Sequence[_Waiting], read_configs: bool = True) -> None:
        """Store a group of webhooks in one transaction.

        ``read_configs``: also apply the label configs in it at once, as predictions depend on them.
        """
        try:
            with self._database.write() as session:
                events = [record_event(session, payload) for payload, _ in group]
                numbers = [event.id for event in events]
                if read_configs:
                    # Webhooks of a project repeat its config: the last one suffices. All processes use one
                    # order of keys, or two transactions deadlock in PostgreSQL, which then aborts one.
                    last = {repr(event.payload.get("project")): event for event in events}.values()
                    for event in sorted(last, key=lambda event: event.project_key):
                        update_project(session, event)
        except Exception as error:  # passed on to the waiting requests
            if isinstance(error, OperationalError) or (len(group) == 1 and not read_configs):
                for _, stored in group:
                    _settle(stored, error=error)
            elif len(group) > 1:
                # Written one by one, so that a single bad webhook does not fail the others
                for item in group:
                    self._write([item], read_configs)
            else:
                log.error("webhook stored, but not applied to its project", exc_info=error)
                self._write(group, read_configs=False)
        else:
            for (_, stored), number in zip(group, numbers, strict=True):
                _settle(stored, number)

    def _checkpoint_after(self, events: int) -> None:
        self._since_checkpoint += events
        if self._since_checkpoint >= CHECKPOINT_EVENTS and not self._checkpointing.is_alive():
            self._since_checkpoint = 0
            self._checkpointing = threading.Thread(target=self._checkpoint, name="checkpoint", daemon=True)
            self._checkpointing.start()

    def _checkpoint(self) -> None:
        try:
            self._database.checkpoint()
        except OperationalError as error:
            log.warning("write-ahead log not emptied", error=str(error))


def _settle(stored: Future[int], number: int = 0, error: Exception | None = None) -> None:
    if not stored.set_running_or_notify_cancel():
        return  # the client disconnected; the row stays
    if error is None:
        stored.set_result(number)
    else:
        stored.set_exception(error)
