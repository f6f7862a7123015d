"""Summary at the top of a project's page, in sentences: strengths, confusions, remedies and faults."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from earmark.monitoring.project_statements import Statement, project_statements, task_address
from earmark.monitoring.project_status import ProjectState
from earmark.pages.environment import listed
from earmark.settings import Settings
from earmark.store.preannotations import Progress
from earmark.web.classes import ClassRow, Confusion
from earmark.web.version_points import MEASURED_FROM
from earmark.wording import counted

Kind = Literal["good", "mixed", "help", "running", "wrong", "note"]

GOOD_QUALITY, POOR_QUALITY = 0.8, 0.5
NAMED = 4
"""Labels named in a sentence."""
LEAST_TAGS, LEAST_SECONDS = 2, 1.0
"""Confusions below that are single slips."""
_NUMBERS = ("no", "one", "two", "three", "four", "five")


@dataclass(frozen=True)
class Sentence:
    """A sentence of the summary.

    ``remedy``: what to do. ``links``: task numbers with addresses. ``number``: among those of its kind.
    """

    kind: Kind
    text: str
    remedy: str = ""
    links: tuple[tuple[int, str], ...] = ()
    number: int = 0


def summary(
    state: ProjectState,
    settings: Settings,
    rows: Sequence[ClassRow],
    confusions: Sequence[Confusion],
    runs: Mapping[int, Progress],
    faults: Mapping[str, str],
) -> list[Sentence]:
    """Return the summary of a project, in the order of `Kind`.

    Parameters
    ----------
    runs
        Bulk predictions under way, by number.
    faults
        What is not ready in this backend, by part: see `Readiness`.
    """
    statements = project_statements(state, settings, time.time())
    return _numbered(
        *_good(state, rows),
        *_mixed(confusions),
        *_help(state, rows),
        *_running(state, settings, statements, runs),
        *(Sentence("wrong", f"{part}: {fault}") for part, fault in faults.items()),
        *(_sentence(state, settings, statement) for statement in statements if statement.level == "fault"),
        *(
            _sentence(state, settings, statement)
            for statement in statements
            if statement.level != "fault" and statement.kind in _SHOWN_KINDS
        ),
    )


_SHOWN_KINDS = ("training", "held_back", "labels", "renames", "disagreement")


def _numbered(*sentences: Sentence) -> list[Sentence]:
    """Number the sentences of each kind, which tells a live page the same ones before and after a change."""
    numbers: Counter[str] = Counter()
    numbered = []
    for sentence in sentences:
        numbers[sentence.kind] += 1
        numbered.append(replace(sentence, number=numbers[sentence.kind]))
    return numbered


def _good(state: ProjectState, rows: Sequence[ClassRow]) -> list[Sentence]:
    good = sorted(
        (row for row in rows if row.quality is not None and row.quality >= GOOD_QUALITY),
        key=lambda row: -(row.quality or 0.0),
    )
    if good:
        names = [f"{label} ({100 * quality:.0f} %)" for label, quality in _best(good)[:NAMED]]
        rest = len(_best(good)) - len(names)
        more = f" and {counted(rest, 'other label')}" if rest else ""
        return [Sentence("good", f"{', '.join(names) if more else listed(names)}{more}.")]
    if state.active is None:
        return [Sentence("good", "No trained version answers yet.")]
    if all(row.quality is None for row in rows):
        return [Sentence("good", "Too few recordings are annotated to measure what it is good at.")]
    return [Sentence("good", f"No label reaches {100 * GOOD_QUALITY:.0f} % yet.")]


def _best(rows: Sequence[ClassRow]) -> list[tuple[str, float]]:
    """Labels with their best quality over controls."""
    best: dict[str, float] = {}
    for row in rows:
        best[row.label] = max(best.get(row.label, 0.0), row.quality or 0.0)
    return list(best.items())


def _mixed(confusions: Sequence[Confusion]) -> list[Sentence]:
    pairs: dict[tuple[str, str], str] = {}
    for confusion in confusions:
        if confusion.amount >= (LEAST_SECONDS if confusion.is_seconds else LEAST_TAGS):
            amount = f"{confusion.text} of regions" if confusion.is_seconds else confusion.text
            pairs.setdefault((confusion.submitted, confusion.shown), amount)
    named = [f"{submitted} was taken for {shown} ({text})" for (submitted, shown), text in pairs.items()]
    return [Sentence("mixed", f"{listed(named[:3])}, lately.")] if named else []


def _help(state: ProjectState, rows: Sequence[ClassRow]) -> list[Sentence]:
    if not rows:
        return []
    examples: dict[str, int] = {}
    for row in rows:
        examples[row.label] = max(examples.get(row.label, 0), row.examples)
    label, fewest = min(examples.items(), key=lambda item: item[1])
    if fewest < MEASURED_FROM:
        missing = MEASURED_FROM - fewest
        more = "more " if fewest else ""
        text = f"{_NUMBERS[missing].capitalize()} {more}{'clip' if missing == 1 else 'clips'} of {label}"
        others = sum(value < MEASURED_FROM for value in examples.values()) - 1
        also = f", and likewise of {counted(others, 'other label')}" if others else ""
        have = f"it has {fewest or 'none'} so far; from {MEASURED_FROM} on, it is measured"
        return [Sentence("help", f"{text}{also}: {have}.")]
    measured = [row for row in rows if row.quality is not None]
    if not measured:
        return []
    worst = min(measured, key=lambda row: row.quality or 0.0)
    if (worst.quality or 0.0) >= GOOD_QUALITY:
        return [Sentence("help", "Every label is well known: annotate what the model is least certain of.")]
    return [
        Sentence(
            "help",
            f"Five more clips of {worst.label}: at {100 * (worst.quality or 0):.0f} % it is the weakest.",
        )
    ]


def _running(
    state: ProjectState, settings: Settings, statements: Sequence[Statement], runs: Mapping[int, Progress]
) -> list[Sentence]:
    sentences = [
        _sentence(state, settings, statement, "running")
        for statement in statements
        if statement.kind == "waiting" and statement.level != "fault"
    ]
    sentences += [
        Sentence("running", f"Bulk predictions: {run.tasks_done:,} of {counted(run.tasks, 'task')} are done.")
        for run in runs.values()
    ]
    if not sentences:
        sentences.append(Sentence("running", "Nothing waits: all annotations are learned from."))
    return sentences


def _sentence(
    state: ProjectState, settings: Settings, statement: Statement, kind: Kind | None = None
) -> Sentence:
    links = tuple((task, task_address(state, settings, task)) for task in statement.tasks)
    if kind is None:
        kind = "wrong" if statement.level == "fault" else "note"
    return Sentence(kind, statement.text, statement.remedy, links)
