"""An evaluation as text, JSON, CSV and a LaTeX table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from earmark.evaluation.evaluation import SCORE_COLUMNS, Evaluation
from earmark.evaluation.figures import ClassFigures, ControlFigures
from earmark.evaluation.intervals import LEAST_RECORDINGS, LEVEL, RESAMPLES, Figure
from earmark.storage.finite_json import dumps

_OVER_SOUNDS = ("precision", "recall", "f1", "ap", "auc")
_OVER_EVENTS = ("event_precision", "event_recall", "event_f1", "segment_f1")
_HEADINGS = {
    "precision": "precision", "recall": "recall", "f1": "F1", "ap": "AP", "auc": "AUC",
    "event_precision": "event P", "event_recall": "event R", "event_f1": "event F1",
    "segment_f1": "segment F1",
}  # fmt: skip
_CSV_COLUMNS = ("control", "label", "figure", "value", "low", "high", "support", "recordings")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip
_INTERVALS = (
    f"{LEVEL:.0%} bootstrap intervals over recordings, {RESAMPLES} resamples, "
    f"none for labels of fewer than {LEAST_RECORDINGS} recordings"
)
_MEANING = (
    "F1 is of whole sounds: whether a label that is shown was annotated anywhere in it. The quality on the "
    "project's page is of the stretches that a training learns from, so it differs."
)


def as_json(evaluation: Evaluation) -> str:
    """Return the evaluation as one JSON object."""
    return dumps(asdict(evaluation), ensure_ascii=False)


def as_csv(evaluation: Evaluation) -> str:
    """Return a row for each figure; those over all labels have an empty label."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_CSV_COLUMNS)
    for control in evaluation.controls:
        for label, name, figure, support, recordings in _figures(control):
            low, high = ("" if value is None else f"{value:.6f}" for value in (figure.low, figure.high))
            table.writerow(
                (control.control, label, name, f"{figure.value:.6f}", low, high, support, recordings)
            )
    return text.getvalue()


def scores_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return the scores of sounds as a table: a row for each sound, control and label."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(SCORE_COLUMNS)
    table.writerows(rows)
    return text.getvalue()


def as_latex(evaluation: Evaluation) -> str:
    """Return a table for each control, with the rules of the package booktabs."""
    parts = []
    for control in evaluation.controls:
        columns = _columns(control)
        head = " & ".join(["label", "$n$", *(_escaped(_HEADINGS[name]) for name in columns)])
        rows = [
            " & ".join([_escaped(label), str(support), *(_latex_cell(cells.get(name)) for name in columns)])
            for label, support, cells in _rows(control)
        ]
        caption = (
            f"{_escaped(control.control)}: {_escaped(evaluation.method)}; {control.sounds} sounds of "
            f"{control.recordings} recordings; {_escaped(_INTERVALS)}"
            f"{_escaped(f'; {control.events.matching}' if control.events else '')}."
        )
        body = " \\\\\n".join(rows)
        parts.append(
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{caption}}}\n\\begin{{tabular}}{{lr{'l' * len(columns)}}}\n\\toprule\n{head} \\\\\n"
            f"\\midrule\n{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
        )
    return "\n".join(parts)


def as_text(evaluation: Evaluation) -> str:
    """Return the evaluation for a terminal."""
    lines = [
        f"{evaluation.project}: {evaluation.sounds} sounds of {evaluation.recordings} recordings, "
        f"{evaluation.method}",
        f"encoder {evaluation.encoder}; {_INTERVALS}",
        _MEANING,
    ]
    for control in evaluation.controls:
        lines += ["", f"{control.control} ({control.kind}, {control.sounds} sounds)"]
        columns = _columns(control)
        cells = [
            [label, str(support), *(_text_cell(figures.get(name)) for name in columns)]
            for label, support, figures in _rows(control)
        ]
        lines += _aligned([["label", "n", *(_HEADINGS[name] for name in columns)], *cells])
        overall = {**control.overall, **(control.events.overall if control.events else {})}
        lines += [f"  {name.replace('_', ' ')} {_text_cell(figure)}" for name, figure in overall.items()]
        if control.events:
            lines.append(f"  {control.events.matching} (sed_eval)")
        if control.agreement:
            listed = ", ".join(f"{label} {alpha:.2f}" for label, alpha in control.agreement.items())
            lines.append(f"  agreement of annotators (Krippendorff's alpha): {listed}")
        if control.calibration_error is not None:
            lines.append(f"  expected calibration error {control.calibration_error:.3f}")
            bins = ", ".join(f"{b.predicted:.2f}→{b.observed:.2f} ({b.count})" for b in control.calibration)
            lines.append(f"  predicted→observed: {bins}")
        if control.confusion_labels:
            lines.append("  annotated (rows) shown as (columns):")
            lines += _aligned(
                [
                    ["", *control.confusion_labels],
                    *(
                        [label, *(f"{count:g}" if count == int(count) else f"{count:.1f}" for count in row)]
                        for label, row in zip(control.confusion_labels, control.confusion, strict=True)
                    ),
                ]
            )
    return "\n".join(lines) + "\n"


def _columns(control: ControlFigures) -> tuple[str, ...]:
    return (*_OVER_SOUNDS, *_OVER_EVENTS) if control.events else _OVER_SOUNDS


def _rows(control: ControlFigures) -> Iterator[tuple[str, int, dict[str, Figure | None]]]:
    """Yield label, support and figures of each label."""
    events = {each.label: each for each in control.events.classes} if control.events else {}
    for row in control.classes:
        cells = {name: getattr(row, name) for name in _OVER_SOUNDS}
        if row.label in events:
            cells |= {name: getattr(events[row.label], name) for name in _OVER_EVENTS}
        yield row.label, row.support, cells


def _figures(control: ControlFigures) -> Iterator[tuple[str, str, Figure, Any, Any]]:
    by_label: dict[str, ClassFigures] = {row.label: row for row in control.classes}
    for label, support, cells in _rows(control):
        for name, figure in cells.items():
            if figure is not None:
                yield label, name, figure, support, by_label[label].recordings
    for name, figure in {**control.overall, **(control.events.overall if control.events else {})}.items():
        yield "", name, figure, control.sounds, control.recordings
    if control.calibration_error is not None:
        yield "", "ece", Figure(control.calibration_error), control.sounds, control.recordings
    for label, alpha in control.agreement.items():
        yield label, "alpha", Figure(alpha), "", ""


def _text_cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    interval = "[-]" if figure.low is None else f"[{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.value:.2f} {interval}"


def _latex_cell(figure: Figure | None) -> str:
    if figure is None:
        return "--"
    interval = "" if figure.low is None else f" {{\\scriptsize [{figure.low:.2f}, {figure.high:.2f}]}}"
    return f"{figure.value:.2f}{interval}"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
