"""What an import shows: progress, how it went, and what was left out."""

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

LISTED_AT_MOST = 20
LINE_SECONDS = 2.0
"""Without a terminal, progress is a line at most this often."""

console = Console()


class _Rate(ProgressColumn):
    """Things done each second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Show the speed of late."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} {self._unit}/s" if speed else "", style="cyan")


@contextmanager
def counting(text: str, total: int, unit: str = "files") -> Iterator[Callable[[int], None]]:
    """A progress bar, or plain lines without a terminal; yields ``count(done so far)``."""
    started = last_line = time.monotonic()
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal or not total) as bar:
        task = bar.add_task(text, total=total)

        def count(done: int) -> None:
            nonlocal last_line
            bar.update(task, completed=done)
            now = time.monotonic()
            if not console.is_terminal and (now - last_line >= LINE_SECONDS or done == total):
                last_line, rate = now, max(done, 1) / max(now - started, 1e-3)
                left = (total - done) / rate
                console.print(
                    f"{text} {done}/{total}, {rate:.0f} {unit}/s, {left:.0f} s left", highlight=False
                )

        yield count


def say(text: str) -> None:
    """Show a line, as it stands."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def summary(name: str, outcome: Outcome, faulty: Sequence[tuple[str, str]], *, dry_run: bool) -> None:
    """Say what was done, or would be, and list the files that were left out with their reasons."""
    to_import = sum(state == "to import" for state in outcome.states.values())
    first = f"{to_import} files to import" if dry_run else f"{outcome.imported} imported"
    parts = [f"[bold green]{first}[/]", f"{outcome.already_there} already there"]
    to_complete = sum(state == "to complete" for state in outcome.states.values())
    if to_complete or outcome.completed:
        what = f"{to_complete} files to complete" if dry_run else f"{outcome.completed} of them completed"
        parts.append(f"{what} with labels that they lacked")
    if faulty:
        parts.append(f"[bold red]{len(faulty)} left out[/]")
    if outcome.interrupted:
        parts.append("[bold yellow]stopped: run it again to go on[/]")
    console.print(f"{escape(name)}: {', '.join(parts)}", highlight=False, soft_wrap=True)
    for fname, why in faulty[:LISTED_AT_MOST]:
        # What cannot be read is named by its sentence already.
        line = why if why.startswith(fname) else f"{fname}: {why}"
        printable = line.encode("utf-8", "replace").decode("utf-8")
        console.print(f"  [red]left out[/] {escape(printable)}", highlight=False, soft_wrap=True)
    if len(faulty) > LISTED_AT_MOST:
        console.print(f"  … and {len(faulty) - LISTED_AT_MOST} more, all in the report", highlight=False)
