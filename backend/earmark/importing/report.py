"""Import report: a CSV table of all files, and a self-contained HTML page with charts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from earmark import __version__
from earmark.export.records import TRUST_FIELD
from earmark.importing import charts
from earmark.importing.audio_checks import FAULT_NAMES
from earmark.importing.importer import Outcome
from earmark.importing.models import clip_labels
from earmark.importing.quality_rules import Verdict
from earmark.importing.spectrograms import examples
from earmark.pages.environment import render
from earmark.storage.atomic_files import atomic_write

CSV_NAME, PAGE_NAME = "report.csv", "report.html"
ROWS_SHOWN = 500
"""Maximum of files that the page lists; the table has all."""
_COLUMNS = (
    *("file", "state", "faults", "reason", "duration_seconds", "sample_rate", "channels", "peak_dbfs"),
    *("clipped_share", "size_bytes", "sha256", "labels", TRUST_FIELD),
)


@dataclass(frozen=True)
class Report:
    """Paths of the two files of a report."""

    table: Path
    page: Path


def write_report(
    folder: Path, title: str, verdicts: Sequence[Verdict], outcome: Outcome, passed_over: Sequence[str] = ()
) -> Report:
    """Write the table and the page, replacing those of an earlier run.

    Parameters
    ----------
    passed_over
        Sentences about content of the source that is not imported.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    report = Report(folder / CSV_NAME, folder / PAGE_NAME)
    with atomic_write(report.table) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        reasons = {**_remarks(outcome), **outcome.reasons()}
        writer.writerows(_row(verdict, outcome.states, reasons) for verdict in verdicts)
    with atomic_write(report.page) as part:
        part.write_text(_page(title, verdicts, outcome, passed_over), encoding="utf-8")
    return report


def state_of(verdict: Verdict, states: Mapping[str, str]) -> str:
    """Return the state of a sound: imported, already there, to import, left out …"""
    return states.get(verdict.item.fname, "left out") if verdict.accepted else "left out"


def reasons_of(verdicts: Sequence[Verdict], outcome: Outcome) -> list[tuple[str, str]]:
    """Return the names of the sounds that were left out, each with the reasons."""
    reasons = outcome.reasons()
    return [
        (verdict.item.fname, _reason(verdict, reasons))
        for verdict in verdicts
        if state_of(verdict, outcome.states) == "left out"
    ]


def _remarks(outcome: Outcome) -> dict[str, str]:
    return {fname: " ".join(sentences) for fname, sentences in outcome.remarks.items()}


def _reason(verdict: Verdict, reasons: Mapping[str, str]) -> str:
    return " ".join(filter(None, (reasons.get(verdict.item.fname), verdict.why)))


def _row(verdict: Verdict, states: Mapping[str, str], reasons: Mapping[str, str]) -> list[object]:
    facts, item = verdict.checked.facts, verdict.item
    facts_cells: list[object] = [""] * 7
    if facts:
        facts_cells = [
            f"{facts.duration:.6f}",
            facts.sample_rate,
            facts.channels,
            facts.peak_dbfs,
            f"{facts.clipped:.6f}",
            facts.size,
            facts.sha256,
        ]
    return [
        _printable(item.fname),
        state_of(verdict, states),
        ",".join(kind for kind, _ in verdict.faults),
        _reason(verdict, reasons),
        *facts_cells,
        ",".join(clip_labels(verdict.marks)),
        item.trust or "",
    ]


def _page(title: str, verdicts: Sequence[Verdict], outcome: Outcome, passed_over: Sequence[str]) -> str:
    facts_list = [verdict.checked.facts for verdict in verdicts if verdict.checked.facts]
    labels = [clip_labels(verdict.marks) for verdict in verdicts if verdict.accepted]
    files = Counter(label for names in labels for label in names)
    alone = Counter(names[0] for names in labels if len(names) == 1)
    faults = Counter(kind for verdict in verdicts for kind, _ in verdict.faults)
    states = Counter(state_of(verdict, outcome.states) for verdict in verdicts)
    seconds = sum(facts.duration for facts in facts_list)
    cards = [("files", len(verdicts), "")]
    cards += [(state, states[state], "bad" if state == "left out" else "") for state in sorted(states)]
    cards += [(FAULT_NAMES[kind], number, "") for kind, number in faults.most_common()]
    drawn = [
        charts.histogram("Duration", [facts.duration for facts in facts_list], "seconds"),
        charts.histogram("Peak level", [max(-100.0, f.peak_dbfs) for f in facts_list], "dBFS"),
        charts.bars("Sample rate", Counter(f"{f.sample_rate / 1000:g} kHz" for f in facts_list)),
        charts.bars("Channels", Counter(_channels(facts.channels) for facts in facts_list)),
        charts.bars("Label balance", files),
        charts.cooccurrence("Labels that occur together", labels),
    ]
    return render(
        "import_report.html",
        version=__version__,
        title=title,
        when=f"{datetime.now():%d %B %Y, %H:%M}",
        length=f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s",
        csv_name=CSV_NAME,
        rows_shown=ROWS_SHOWN,
        cards=cards,
        left_out=_printable_rows(reasons_of(verdicts, outcome)),
        remarks=_printable_rows(sorted(_remarks(outcome).items())),
        passed_over=[_printable(sentence) for sentence in passed_over],
        charts=[chart for chart in drawn if chart],
        labels=_printable_rows(
            (label, f"{count:,}", f"{alone[label]:,}") for label, count in files.most_common(ROWS_SHOWN)
        ),
        label_count=len(files),
        examples=_printable_rows(examples(verdicts)),
    )


def _printable_rows(rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    return [tuple(_printable(cell) for cell in row) for row in rows]


def _channels(number: int) -> str:
    return {1: "mono", 2: "stereo"}.get(number, f"{number} channels")


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
