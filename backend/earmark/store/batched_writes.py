"""Batched writes: long work in short transactions, so that webhooks get SQLite's write lock soon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy.orm import Session

from earmark.store.database import Database

STEP_SECONDS = 0.005
PAUSE_SECONDS = 0.002
"""Longer than the polling interval of a waiting writer."""

_Item = TypeVar("_Item")


def write_in_steps(
    database: Database, items: Iterable[_Item], write: Callable[[Session, _Item], object]
) -> None:
    """Call ``write(session, item)`` for each item; commit whenever a transaction has lasted a few ms.

    For work that may be repeated: a process killed in between leaves the first items written.
    """
    source = iter(items)
    done = False
    while not done:
        with database.write() as session:
            until = time.monotonic() + STEP_SECONDS
            while time.monotonic() < until:
                item = next(source, _END)
                if item is _END:
                    done = True
                    break
                write(session, item)  # type: ignore[arg-type]
        if not done:
            time.sleep(PAUSE_SECONDS)


_END = object()
