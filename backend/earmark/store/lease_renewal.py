"""Keeping a lease while work is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)


@contextmanager
def heartbeat(keep: Callable[[], bool], every_seconds: float) -> Iterator[threading.Event]:
    """Call ``keep`` in a thread again and again while the block runs.

    Yields
    ------
    An event that is set as soon as ``keep`` returns False: somebody else has the work by now.
    """
    stop, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not stop.wait(every_seconds):
            try:
                if not keep():
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
