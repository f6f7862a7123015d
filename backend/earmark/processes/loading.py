"""Ctrl-C while modules load: nothing is to be put in order yet, so it ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130


@contextmanager
def loading() -> Iterator[None]:
    """End the process with 130 at Ctrl-C, unless the parent had it ignored.

    A ``KeyboardInterrupt`` instead would be a traceback of somebody's module, and where one is made by
    ``exec``, as dataclasses are, Python would end by the signal although it was caught.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
