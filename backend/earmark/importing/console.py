"""Console output of an import: progress bar, summary, and the files left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from earmark.importing.importer import Outcome
from earmark.wording import counted

LISTED_AT_MOST = 20
LINE_SECONDS = 2.0
"""Minimum interval between progress lines without a terminal."""

console = Console()


class _Rate(ProgressColumn):
    """Progress column with the rate: units done per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the recent speed, such as ``12 files/s``."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} {self._unit}/s" if speed else "", style="cyan")


@contextmanager
def counting(text: str, total: int, unit: str = "files") -> Iterator[Callable[[int], None]]:
    """Show a progress bar, or plain lines without a terminal; yields ``count(done so far)``."""
    started = last_line = time.monotonic()
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal or not total) as progress:
        task = progress.add_task(text, total=total)

        def count(done: int) -> None:
            nonlocal last_line
            progress.update(task, completed=done)
            now = time.monotonic()
            if not console.is_terminal and (now - last_line >= LINE_SECONDS or done == total):
                last_line, rate = now, max(done, 1) / max(now - started, 1e-3)
                remaining = (total - done) / rate
                console.print(
                    f"{text} {done}/{total}, {rate:.0f} {unit}/s, {remaining:.0f} s left", highlight=False
                )

        yield count


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar of several stages on standard error, if that is a terminal.

    Yields ``show(stage, done, total)``; a total of 0 is one that is not known.
    """
    columns = (TextColumn("{task.description:<17}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=None)
        current = ""

        def show(stage: str, done: int, total: int) -> None:
            nonlocal current
            if stage != current:
                current = stage
                progress.reset(task, description=stage, total=total or None)
            progress.update(task, completed=done, total=total or None)

        yield show


def say(text: str) -> None:
    """Print a line verbatim, without markup."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def summary(name: str, outcome: Outcome, faulty: Sequence[tuple[str, str]], *, dry_run: bool) -> None:
    """Print what was imported, or would be, and list the files left out with their reasons."""
    to_import = sum(state == "to import" for state in outcome.states.values())
    imported = f"{counted(to_import, 'file')} to import" if dry_run else f"{outcome.imported} imported"
    parts = [f"[bold green]{imported}[/]", f"{outcome.already_there} already there"]
    to_complete = sum(state == "to complete" for state in outcome.states.values())
    if to_complete or outcome.completed:
        done = (
            f"{counted(to_complete, 'file')} to complete"
            if dry_run
            else f"{outcome.completed} of them completed"
        )
        parts.append(f"{done} with labels that they lacked")
    if faulty:
        parts.append(f"[bold red]{len(faulty)} left out[/]")
    if outcome.interrupted:
        parts.append("[bold yellow]stopped: run it again to go on[/]")
    console.print(f"{escape(name)}: {', '.join(parts)}", highlight=False, soft_wrap=True)
    for fname, why in faulty[:LISTED_AT_MOST]:
        # The reason of an unreadable file starts with its name already.
        line = why if why.startswith(fname) else f"{fname}: {why}"
        printable = line.encode("utf-8", "replace").decode("utf-8")
        console.print(f"  [red]left out[/] {escape(printable)}", highlight=False, soft_wrap=True)
    if len(faulty) > LISTED_AT_MOST:
        console.print(f"  … and {len(faulty) - LISTED_AT_MOST} more, all in the report", highlight=False)
