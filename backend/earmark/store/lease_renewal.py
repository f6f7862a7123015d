"""Lease renewal: a heartbeat thread that renews a lease while its work is in progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)


@contextmanager
def heartbeat(renew: Callable[[], bool], every_seconds: float) -> Iterator[threading.Event]:
    """Call ``renew`` in a thread every ``every_seconds`` while the block runs.

    Yields
    ------
    An event that is set as soon as ``renew`` returns False: another process has the work by now.
    """
    stop, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not stop.wait(every_seconds):
            try:
                if not renew():
                    lost.set()
                    return
            except SQLAlchemyError as error:
                log.warning("lease not prolonged", error=str(error))

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        stop.set()
        thread.join()
