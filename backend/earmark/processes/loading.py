"""Ctrl-C while modules load: exits the process at once, as nothing needs cleaning up yet."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130


@contextmanager
def loading() -> Iterator[None]:
    """Exit with status 130 at Ctrl-C, unless the parent process set SIGINT to be ignored.

    A ``KeyboardInterrupt`` would print a traceback from whichever module is loading; in one that uses
    ``exec``, as dataclasses do, Python would be ended by the signal although it was caught.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
