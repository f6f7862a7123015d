"""``metadata.csv`` of an export for Hugging Face's ``datasets``: labels and events as JSON in cells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from earmark.errors import FormatError
from earmark.export.annotated import with_spans
from earmark.export.datasets_folder import ANNOTATED, COLUMNS
from earmark.export.jsonl import spans_of
from earmark.export.records import ClipRecord
from earmark.importing.field.label_rows import LabelRow, grouped, times
from earmark.importing.models import OWN_FIELDS, Listed
from earmark.importing.table_files import csv_rows
from earmark.importing.table_rows import numeric_fields, with_numbers


def has_columns(names: Iterable[str]) -> bool:
    """Whether these are columns of such a table."""
    return set(names) >= set(COLUMNS)


def list_table(path: Path) -> list[tuple[str, Listed]]:
    """List the sounds of an export: events are regions, the labels without an event tags.

    Raises
    ------
    FormatError
        A cell does not hold what the export writes.
    """
    with csv_rows(path) as reader:
        lines = [
            (reader.line, {name: value or "" for name, value in row.items() if isinstance(name, str)})
            for row in reader
        ]
    numeric = numeric_fields({name: value for name, value in row.items() if value} for _, row in lines)
    listed = []
    for line, row in lines:
        name, where = row["file_name"], f"{path}, line {line}"
        # Names of several annotators are separated by ", ", and which of them gave a tag is not in the table
        annotator = row["annotators"] if ", " not in row["annotators"] else ""
        try:
            events = json.loads(row["events"])
            labels = list(_label_rows(name, json.loads(row["labels"]), events, annotator or None, where))
            spans = spans_of(json.loads(row.get(ANNOTATED) or "[]"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(
                f"{where}: the labels or events are damaged ({error!r}): export again."
            ) from error
        own = {*COLUMNS, ANNOTATED, *OWN_FIELDS}
        fields = {key: value for key, value in row.items() if value and key not in own}
        marks: tuple[ClipRecord, ...] = ()
        if labels or not row.get(ANNOTATED) or any(span.end > span.start for span in spans):
            labels = labels or [LabelRow(None, file=name, annotator=annotator or None)]
            # Each annotation has annotated parts, and a prediction has none
            ((_, item),) = grouped(labels, "prediction" if row.get(ANNOTATED) == "[]" else "annotation")
            marks = with_spans(item.marks, {name: spans})
        listed.append((name, Listed(None, name, marks, with_numbers(fields, numeric))))
    return listed


def _label_rows(
    name: str, labels: object, events: list[dict[str, Any]], annotator: str | None, where: str
) -> Iterable[LabelRow]:
    if not isinstance(labels, list):
        raise TypeError("labels are no list")
    timed = {event["label"] for event in events}
    for event in events:
        start, end = times(str(event["start"]), str(event["end"]), where)
        score = event.get("score")
        score = None if score is None else float(score)
        yield LabelRow(str(event["label"]), start, end, name, score, event.get("annotator") or annotator)
    yield from (
        LabelRow(str(label), file=name, annotator=annotator) for label in labels if label not in timed
    )
