"""Import report: a CSV table of all files, and a self-contained HTML page with charts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from earmark.importing import charts
from earmark.importing.importer import Outcome
from earmark.importing.models import clip_labels
from earmark.importing.quality_rules import Verdict
from earmark.importing.spectrograms import examples
from earmark.storage.atomic_files import atomic_write

CSV_NAME, PAGE_NAME = "report.csv", "report.html"
ROWS_SHOWN = 500
"""Maximum of files that the page lists; the table has all."""
_COLUMNS = (
    *("file", "state", "faults", "reason", "duration_seconds", "sample_rate", "channels", "peak_dbfs"),
    *("clipped_share", "size_bytes", "sha256", "labels", "label_trust"),
)

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #f5f7f9; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; } h2 { font-size: 18px; margin: 34px 0 10px; }
.when { color: #5a6b7b; margin: 0 0 20px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.card, figure { background: #fff; border: 1px solid #dde4ea; border-radius: 8px; }
.card, figure { padding: 12px 16px; margin: 0; }
.card b { display: block; font-size: 24px; } .card.bad b { color: #b3261e; } .card span { color: #5a6b7b; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px; }
figure svg { width: 100%; height: auto; } figcaption { font-weight: 600; margin-bottom: 6px; }
.small.grid { grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); }
.small figcaption { font-weight: 400; overflow-wrap: anywhere; }
figure img { width: 100%; height: 110px; display: block; margin-bottom: 6px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; background: #fff; }
th, td { text-align: left; padding: 5px 10px; border-bottom: 1px solid #e6ebf0; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } td.f { overflow-wrap: anywhere; }
"""


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
    faults = Counter(kind for verdict in verdicts for kind, _ in verdict.faults)
    states = Counter(state_of(verdict, outcome.states) for verdict in verdicts)
    seconds = sum(facts.duration for facts in facts_list)
    cards = [("files", len(verdicts), "")]
    cards += [(state, states[state], "bad" if state == "left out" else "") for state in sorted(states)]
    figures = [
        charts.histogram("Duration", [facts.duration for facts in facts_list], "seconds"),
        charts.histogram("Peak level", [max(-100.0, f.peak_dbfs) for f in facts_list], "dBFS"),
        charts.bars("Sample rate", Counter(f"{f.sample_rate / 1000:g} kHz" for f in facts_list)),
        charts.bars("Channels", Counter(_channels(facts.channels) for facts in facts_list)),
        charts.bars("Label balance", Counter(label for names in labels for label in names)),
        charts.cooccurrence("Labels that occur together", labels),
    ]
    length = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>Import: {escape(title)}</title><style>{_STYLE}</style><main>",
        f"<h1>Import into {escape(title)}</h1>",
        f"<p class='when'>{datetime.now():%d %B %Y, %H:%M}; {length} of sound; every file in {CSV_NAME}</p>",
        "<div class='cards'>",
        *(f"<div class='card {kind}'><b>{n:,}</b><span>{text}</span></div>" for text, n, kind in cards),
        *(f"<div class='card'><b>{n:,}</b><span>{kind}</span></div>" for kind, n in faults.most_common()),
        "</div>",
        _left_out(verdicts, outcome),
        _remarked(outcome),
        *(f"<p>{escape(_printable(sentence))}</p>" for sentence in passed_over),
        "<h2>The sounds</h2><div class='grid'>",
        *(
            f"<figure><figcaption>{escape(name)}</figcaption>{svg}</figure>"
            for name, svg in filter(None, figures)
        ),
        "</div>",
        _balance(labels),
        _examples(verdicts),
        "</main></html>",
    ]
    return "\n".join(parts)


def _left_out(verdicts: Sequence[Verdict], outcome: Outcome) -> str:
    rows = reasons_of(verdicts, outcome)
    if not rows:
        return "<h2>Left out</h2><p>Nothing.</p>"
    more = f"<p>… and {len(rows) - ROWS_SHOWN} more, in {CSV_NAME}.</p>" if len(rows) > ROWS_SHOWN else ""
    return _table("Left out", ("file", "why"), rows[:ROWS_SHOWN]) + more


def _remarked(outcome: Outcome) -> str:
    rows = sorted(_remarks(outcome).items())[:ROWS_SHOWN]
    return _table("To know", ("file", "what"), rows) if rows else ""


def _examples(verdicts: Sequence[Verdict]) -> str:
    shown = "".join(
        f"<figure><img src='{image}' alt=''><figcaption>{escape(_printable(title))}</figcaption></figure>"
        for title, image in examples(verdicts)
    )
    about = "Spectrograms of the first 10 s, up to 8 kHz."
    return f"<h2>Examples</h2><p>{about}</p><div class='small grid'>{shown}</div>" if shown else ""


def _balance(labels: Sequence[Sequence[str]]) -> str:
    files = Counter(label for names in labels for label in names)
    if not files:
        return ""
    alone = Counter(names[0] for names in labels if len(names) == 1)
    rows = [(label, f"{count:,}", f"{alone[label]:,}") for label, count in files.most_common(ROWS_SHOWN)]
    return _table(f"{len(files)} labels", ("label", "files", "as the only label"), rows)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class='{'n' if cell.replace(',', '').isdecimal() and column else 'f'}'>"
            f"{escape(_printable(cell))}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<h2>{escape(title)}</h2><div class='scroll'><table><tr>{head}</tr>{body}</table></div>"


def _channels(number: int) -> str:
    return {1: "mono", 2: "stereo"}.get(number, f"{number} channels")


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
