"""Terminal tables of versions, learning curves and comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from earmark.api.schemas import LearningCurve, VersionDetail, VersionsAnswer
from earmark.learning.version_comparison import Pair, VersionComparison
from earmark.wording import counted, runnable

PIPED_WIDTH = 160
"""Width where the output is not a terminal, so that nothing is cut for programs that read it."""
METRICS = {"lwlrap": "lwlrap", "map": "mAP", "f1": "F1", "accuracy": "acc.", "ece": "ECE"}
"""Columns of the table of versions."""
ABOUT_METRICS = {
    "lwlrap": "how high the right labels rank in each recording; 1 is best.",
    "map": "mean average precision, how well each label's recordings rank above the others; 1 is best.",
    "f1": "of precision and recall, mean over labels; 1 is best.",
    "ece": "calibration error, how far probabilities are from the share that is right; 0 is best.",
}
CORRECTION_FIGURES = {
    "effort_ratio": "effort",
    "event_f1": "event F1",
    "onset_error_seconds": "onsets off",
    "offset_error_seconds": "offsets off",
    "false_alarms_per_minute": "false alarms/min",
}
"""Columns of what correcting costs."""
FIGURES = {**METRICS, "auc": "AUC", **CORRECTION_FIGURES}
ABOUT_EFFORT = (
    "effort: of correcting suggestions over annotating by hand; below 1, they save work.",
    "event F1: of regions, found where both edges are within 200 ms.",
)
STEP_FIGURES = {
    "accepted": "accepted",
    "tags_f1": "tags right",
    "region_f1": "region F1",
    "edge_error_seconds": "edges off",
    "effort_ratio": "effort",
    "event_f1": "event F1",
}
"""Columns of the learning curve."""
_CURVE_FIGURES = ("f1", "error_rate", "lwlrap", "effort_ratio", "event_f1")
VERSIONS_SHOWN = 20
BLOCKS = "▁▂▃▄▅▆▇█"


def say(sentence: str) -> None:
    """Print one sentence, without markup."""
    _console().print(escape(runnable(sentence)), highlight=False, soft_wrap=True)


def print_versions(answer: VersionsAnswer, most: int | None = VERSIONS_SHOWN) -> None:
    """Print the newest ``most`` versions of each project, and the statements about it."""
    console = _console()
    for project in answer.projects:
        title = f"{project.title or 'untitled'}, project {project.project}"
        console.print(f"[bold]{escape(title)}[/]", highlight=False, soft_wrap=True)
        details = [detail for detail in answer.details if detail.project == project.project]
        rows = details[:most] + [row for row in details[len(details[:most]) :] if row.active]
        if rows:
            console.print(_versions_table(rows))
            say("annotations: how many it learned from. Figures: on recordings that it did not learn from.")
            for name in _used_metrics(rows):
                if name in ABOUT_METRICS:
                    say(f"{METRICS[name]}: {ABOUT_METRICS[name]}")
            _print_corrections(console, rows)
        if any(not row.promotable for row in rows):
            say("state “figures”: its head is not kept any more, so it cannot be promoted.")
        if len(rows) < len(details):
            older = counted(len(details) - len(rows), "older version")
            say(f"Not shown: {older}; --all lists all.")
        for row in rows:
            if row.reason:
                say(f"{row.name} was rejected: {row.reason}")
        for statement in project.statements:
            if statement.kind == "training" and rows and rows[0].reason:
                continue  # its reason is printed above
            say(" ".join(filter(None, (statement.text, statement.remedy))))
            for link in statement.links:
                say(f"  {link}")
        console.print()
    if not answer.projects:
        say("No project has connected yet: Settings, Model, Connect Model in Label Studio.")


def print_curve(curve: LearningCurve) -> None:
    """Print the learning curve: predictions against later annotations, by their number and annotator."""
    if not curve.steps:
        say("Nothing was annotated since this is measured: the next submitted annotation is the first.")
        return
    console = _console()
    console.print("[bold]What annotators were shown, against what they submitted[/]")
    table = _table("annotations", *STEP_FIGURES.values())
    for step in curve.steps:
        span = str(step.first) if step.first == step.last else f"{step.first}–{step.last}"
        table.add_row(span, *(_step_figure(name, getattr(step, name)) for name in STEP_FIGURES))
    console.print(table)
    for name, heading in STEP_FIGURES.items():
        values = [getattr(step, name) for step in curve.steps]
        valid = [value for value in values if value is not None]
        if len(valid) > 1:
            top = max(valid) or 1.0 if name == "edge_error_seconds" else max(1.0, *valid)
            say(
                f"{heading:>10}  {sparkline(values, top)}  {_step_figure(name, valid[0])} to begin with, now "
                f"{_step_figure(name, valid[-1])}"
            )
    points = [(point.name, point.controls) for point in curve.annotators]
    console.print(_curve_table("annotator", points))
    say("accepted: share of suggested regions and tags that were submitted as they were shown.")
    say("tags right: their F1; for a single choice, the share that was right.")
    say("region F1, error rate: of seconds. edges off: median distance of onsets and offsets.")
    for sentence in ABOUT_EFFORT:
        say(sentence)


def sparkline(values: Sequence[float | None], top: float) -> str:
    """Return a curve as one line of block characters, from 0 to ``top``; a space for None."""
    levels = [None if value is None else round(value / top * (len(BLOCKS) - 1)) for value in values]
    return "".join(" " if level is None else BLOCKS[level] for level in levels)


def print_comparison(compared: VersionComparison) -> None:
    """Print the comparison of two versions, side by side."""
    console = _console()
    names = (compared.first, compared.second)
    if compared.figures:
        console.print("[bold]On the annotations of now, by recordings that neither was trained on[/]")
        console.print(_pairs_table("figure", names, compared.figures))
    else:
        say("There is no recording that neither of them was trained on: nothing can be measured.")
    for reason in compared.reasons:
        say(reason)
    if compared.labels:
        console.print("[bold]Average precision of each label, as measured when each was trained[/]")
        console.print(_pairs_table("label", names, compared.labels))
    if compared.shown:
        console.print("[bold]What annotators were shown, against what they submitted[/]")
        console.print(_curve_table("version", list(compared.shown.items())))


def _versions_table(rows: Sequence[VersionDetail]) -> Table:
    used = _used_metrics(rows)
    table = _table("version", "state", "annotations", "control", *(METRICS[name] for name in used), "when")
    for row in rows:
        state = (
            "[green]active[/]" if row.active else "[yellow]rejected[/]" if row.status == "rejected" else ""
        )
        state += "" if row.promotable else " [dim]figures[/]"
        lines = list(_controls(row).items()) or [("", {})]
        for line, (control, figures) in enumerate(lines):
            first = (escape(row.name), state, str(row.annotations)) if line == 0 else ("", "", "")
            when = datetime.fromtimestamp(row.created_at).strftime("%Y-%m-%d %H:%M") if line == 0 else ""
            table.add_row(*first, escape(control), *(_number(figures.get(name)) for name in used), when)
    return table


def _used_metrics(rows: Sequence[VersionDetail]) -> list[str]:
    return [name for name in METRICS if any(name in m for row in rows for m in _controls(row).values())]


def print_agreement(answer: Mapping[str, Any]) -> None:
    """Print agreement of annotators: of each label, of each pair, and where they differ."""
    console = _console()
    table = _table("control", "label", "alpha")
    for control, alphas in answer["labels"].items():
        for label, alpha in sorted(alphas.items(), key=lambda pair: pair[1]):
            table.add_row(escape(control), escape(label), f"{alpha:.2f}")
    if answer["labels"]:
        console.print(table)
        say("alpha: Krippendorff's; 1 is perfect agreement, 0 that of chance.")
    table = _table("control", "annotators", "tasks", "agree", "settled", "least agreed labels")
    for pair in answer["pairs"]:
        least = sorted(pair["labels"].items(), key=lambda item: item[1])[:4]
        table.add_row(
            escape(pair["control"]),
            escape(" and ".join(pair["annotators"])),
            str(pair["shared"]),
            f"{pair['agree']:.0%}",
            str(pair.get("settled", 0)),
            escape(", ".join(f"{label} {share:.0%}" for label, share in least)),
        )
    console.print(table)
    for pair in answer["pairs"]:
        if pair["links"]:
            say(f"{pair['control']}, {' and '.join(pair['annotators'])} differ on:")
            for link in pair["links"]:
                say(f"  {link}")


def _print_corrections(console: Console, rows: Sequence[VersionDetail]) -> None:
    """Print what correcting the suggestions of each version costs, where that was measured."""
    table = _table("control", "version", *CORRECTION_FIGURES.values())
    for control in dict.fromkeys(name for row in rows for name in row.correction):
        for row in rows:
            if control in row.correction:
                table.add_row(escape(control), escape(row.name), *_correction_cells(row.correction[control]))
    if table.row_count:
        console.print(table)
        for sentence in ABOUT_EFFORT:
            say(sentence)


def _correction_cells(figures: Mapping[str, float]) -> list[str]:
    cells = []
    for name in CORRECTION_FIGURES:
        value = figures.get(name)
        in_seconds = value is not None and name.endswith("_seconds")
        cells.append(f"{value:.3f} s" if in_seconds else _number(value))
    return cells


def _pairs_table(heading: str, names: Sequence[str], controls: Mapping[str, Mapping[str, Pair]]) -> Table:
    table = _table("control", heading, *names)
    for control, rows in controls.items():
        for line, (name, pair) in enumerate(rows.items()):
            shown = FIGURES.get(name, name) if heading == "figure" else name
            table.add_row("" if line else escape(control), escape(shown), *map(_number, pair))
    return table


def _curve_table(heading: str, points: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]]) -> Table:
    table = _table(heading, "control", "annotations", "F1", "error rate", "lwlrap", "effort", "event F1")
    for name, controls in points:
        for line, (control, figures) in enumerate(controls.items()):
            table.add_row(
                "" if line else escape(name),
                escape(control),
                f"{figures['annotations']:.0f}",
                *(_number(figures.get(metric)) for metric in _CURVE_FIGURES),
            )
    return table


def _step_figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name == "accepted":
        return f"{value:.0%}"
    return f"{value:.3f} s" if name == "edge_error_seconds" else f"{value:.3f}"


def _controls(row: VersionDetail) -> dict[str, dict[str, Any]]:
    return {name: figures for name, figures in row.metrics.items() if isinstance(figures, dict)}


def _table(*headings: str) -> Table:
    # Fold text to fit 80 columns, but never cut a figure
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for heading in headings:
        left = heading in ("state", "version", "annotator", "control", "figure", "label", "when")
        folds = heading in ("control", "label", "when")
        table.add_column(
            heading,
            justify="left" if left else "right",
            no_wrap=not folds,
            overflow="fold",
            min_width=len(heading) if folds else None,
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)
