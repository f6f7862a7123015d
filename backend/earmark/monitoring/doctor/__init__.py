"""The doctor: diagnostic checks of configuration and services, with a remedy for each fault."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from earmark import __version__
from earmark.monitoring.doctor import heads, machine, projects, recordings
from earmark.monitoring.doctor.finding import Finding
from earmark.settings import Settings, without_password
from earmark.wording import runnable

__all__ = ["Finding", "examine", "print_report"]


def examine(settings: Settings) -> list[Finding]:
    """Run all checks; a fault in one never hides another's."""
    projects.label_studio_fault.cache_clear()
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        machine.names,
        machine.disk,
        machine.frames,
        machine.database,
        machine.redis_answers,
        machine.workers,
        machine.encoder,
        machine.plugins,
        projects.label_studio,
        machine.api,
        machine.access,
        projects.projects,
        recordings.recordings,
        heads.heads,
    )
    return [finding for check in checks for finding in check(settings)]


def print_report(console: Console, settings: Settings, findings: list[Finding]) -> None:
    """Print the findings as a table, with remedies, and the changed settings."""
    console.print(f"[bold]Earmark {__version__}[/], Python {platform.python_version()}", highlight=False)
    marks = {"fine": "[green]✓[/]", "note": "[yellow]![/]", "fault": "[bold red]✗[/]"}
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        text = escape(finding.text) + (
            f"\n[cyan]→ {escape(runnable(finding.remedy))}[/]" if finding.remedy else ""
        )
        table.add_row(marks[finding.level], finding.subject, text)
    console.print(table)
    changed = {
        name: without_password(value) if isinstance(value := getattr(settings, name), str) else value
        for name in sorted(settings.model_fields_set)
        if getattr(settings, name) != Settings.model_fields[name].default
    }
    console.print(
        "Changed settings: " + (", ".join(f"{k.upper()}={v}" for k, v in changed.items()) or "nothing"),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
