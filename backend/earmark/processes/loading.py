"""Loading of a command's modules: a spinner, and Ctrl-C exits at once, as nothing needs cleaning up yet."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def loading() -> Iterator[None]:
    """Exit with status 130 at Ctrl-C, unless the parent process set SIGINT to be ignored.

    A ``KeyboardInterrupt`` would print a traceback from whichever module is loading; in one that uses
    ``exec``, as dataclasses do, Python would be ended by the signal although it was caught.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def end(_number: int, _frame: object) -> None:
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), SHOW_CURSOR)
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, end)
    try:
        with waiting("loading"):
            yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show a spinner on standard error while the block runs, if that is a terminal."""
    if not sys.stderr.isatty():  # rich takes FORCE_COLOR for a terminal
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{text} …"):
        yield
