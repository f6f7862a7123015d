"""Progress display of a large transfer: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_SECONDS = 10.0
"""Interval of progress lines in the log, without a terminal."""

_log = structlog.get_logger(__name__)


class Display(Protocol):
    """Where progress is shown."""

    def begin(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Show a new stretch of work; ``done`` and ``total`` in bytes."""
        ...

    def reach(self, done: int) -> None:
        """Show that so many bytes are done."""
        ...


@contextmanager
def display(say: Callable[[str], None] | None = None) -> Iterator[Display]:
    """Show progress on standard error while the block runs.

    Parameters
    ----------
    say
        Takes the lines where standard error is no terminal; the log when None.
    """
    if not sys.stderr.isatty():
        yield Lines(say or _say_in_log)
        return
    of_bytes = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *map(_OfBytes, of_bytes))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress)


class Lines:
    """Log lines: each task's start, and its progress every ``every_seconds``."""

    def __init__(self, say: Callable[[str], None], every_seconds: float = LINE_SECONDS) -> None:
        self._say, self._every = say, every_seconds
        self._text, self._total = "", 0
        self._said_at = time.monotonic()

    def begin(self, text: str, done: int = 0, total: int | None = None) -> None:
        """See ``Display.begin``."""
        self._text, self._total = text, total or 0
        self._said_at = time.monotonic()
        self._say(f"{text} ({self._share(done)})" if done and total else text)

    def reach(self, done: int) -> None:
        """See ``Display.reach``."""
        if time.monotonic() - self._said_at >= self._every:
            self._said_at = time.monotonic()
            self._say(f"{self._text}: {self._share(done)}")

    def _share(self, done: int) -> str:
        return f"{done / 1e6:.0f} of {self._total / 1e6:.0f} MB"


class _OfBytes(ProgressColumn):
    """A column that stays empty where no bytes are counted."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return "" if task.total is None else self._column.render(task)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def begin(self, text: str, done: int = 0, total: int | None = None) -> None:
        # A new task, so that bytes that were here before count as no speed.
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(text, completed=done, total=total)

    def reach(self, done: int) -> None:
        self._progress.update(self._task, completed=done)


def _say_in_log(text: str) -> None:
    _log.info("checkpoint_download", progress=text)
