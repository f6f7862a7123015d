"""CSV format without loss: a row for each region and tag, and the task's fields as columns.

RFC 4180, in UTF-8, with the columns of `COLUMNS` and one ``data.<field>`` for each field that any task
has. ``kind`` is ``region`` or ``tag``; a row without label and times means that a control was answered with
nothing found, or, with an empty ``control`` too, that no control was answered. Rows of one annotation are
consecutive. Fields that are no text are written as JSON, and all of them are read back as text.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO, cast

from earmark.errors import FormatError
from earmark.export import annotated, jsonl
from earmark.export.closed_quotes import ClosedRows
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord, Source
from earmark.export.writers import seconds_text, storable, writing_text

_RECORD_COLUMNS = (
    "task_id", "id", "file_name", "sound", "source", "version", "annotator", "ground_truth", "duration",
)  # fmt: skip
_ROW_COLUMNS = ("kind", "control", "label", "start", "end", "score", "region_id", "region_annotator")
COLUMNS = _RECORD_COLUMNS + _ROW_COLUMNS
DATA_PREFIX = "data."


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write the table; see ``FormatModule``.

    The columns are known only after the last task, so the records are spooled to a temporary file.
    """
    with (
        writing_text(path) as file,
        annotated.writing(path) as spans,
        TemporaryDirectory(prefix="earmark-export-") as folder,
    ):
        fields: dict[str, None] = {}
        spool = Path(folder) / "records.jsonl"
        with jsonl.writing(spool) as add_line:

            def add(records: Sequence[ClipRecord]) -> int:
                rows = [row for record in records for row in _rows(record)]
                for row in rows:
                    storable("".join(row.values()), "A text")
                add_line(records)
                spans.add(records)
                for record in records:
                    fields.update(dict.fromkeys(record.data))
                return len(rows)

            yield add
        _write(file, jsonl.read(spool), tuple(fields))


def check_label(label: str) -> None:
    """Raise ``FormatError`` for a label that the format has no place for."""
    storable(label, "The label")


def read(path: Path) -> Iterator[ClipRecord]:
    """Read a table of this format, one record at a time.

    Raises
    ------
    FormatError
        The file cannot be read, lacks a column, or a value is not of its column's type.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = ClosedRows(file)
            missing = set(COLUMNS) - set(rows.fieldnames or ())
            if missing:
                raise FormatError(
                    f"{path} is no such export: it lacks the column {', '.join(sorted(missing))}."
                )
            for key, record_rows in groupby(rows, key=_record_key):
                try:
                    yield _record(dict(key), list(record_rows))
                except ValueError as error:
                    raise FormatError(f"{path}, before line {rows.line + 1}: {error}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read as a UTF-8 CSV file: {error}.") from error


def _write(file: TextIO, records: Iterator[ClipRecord], fields: tuple[str, ...]) -> None:
    columns = COLUMNS + tuple(DATA_PREFIX + field for field in fields)
    table = csv.DictWriter(file, columns, restval="")
    table.writeheader()
    for record in records:
        table.writerows(_rows(record))


def _rows(record: ClipRecord) -> list[dict[str, str]]:
    base = {
        **{name: _cell(getattr(record, name)) for name in _RECORD_COLUMNS},
        **{DATA_PREFIX + name: _cell(value) for name, value in record.data.items()},
    }
    rows = []
    for control, regions in record.regions.items():
        for region in regions:
            row = {"label": region.label, "start": _cell(region.start), "end": _cell(region.end)}
            row |= {"score": _cell(region.score), "region_id": _cell(region.id)}
            rows.append(
                {"kind": "region", "control": control, "region_annotator": _cell(region.annotator), **row}
            )
        if not regions:
            rows.append({"kind": "region", "control": control})
    for control, tags in record.tags.items():
        base_row = {"kind": "tag", "control": control, "score": _cell(record.tag_scores.get(control))}
        rows += [{**base_row, "label": tag} for tag in tags] or [base_row]
    return [{**base, **row} for row in rows or [{}]]


def _cell(value: Any) -> str:
    """Return the text of a cell: text as it is, None as empty, everything else as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return seconds_text(value) if isinstance(value, float) and math.isfinite(value) else json.dumps(value)


def _record_key(row: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value or "") for name, value in row.items() if name not in _ROW_COLUMNS)


def _record(values: dict[str, str], rows: list[dict[str, str]]) -> ClipRecord:
    regions: dict[str, list[RegionRecord]] = {}
    tags: dict[str, list[str]] = {}
    scores: dict[str, float] = {}
    for row in rows:
        control, label, score = row["control"], row["label"], _float(row["score"])
        if row["kind"] == "region":
            control_regions = regions.setdefault(control, [])
            if label or row["start"]:
                start, end = float(row["start"]), float(row["end"])
                annotator, region_id = row["region_annotator"] or None, row["region_id"] or None
                control_regions.append(RegionRecord(start, end, label, score, annotator, region_id))
        elif row["kind"] == "tag":
            tags.setdefault(control, []).extend([label] if label else [])
            if score is not None:
                scores[control] = score
    if values["source"] not in ("annotation", "prediction"):
        raise ValueError(f"the source is {values['source']!r}, not annotation or prediction")
    return ClipRecord(
        values["file_name"],
        values["sound"],
        int(values["task_id"]) if values["task_id"] else None,
        {
            name.removeprefix(DATA_PREFIX): value
            for name, value in values.items()
            if name.startswith(DATA_PREFIX) and value
        },
        _float(values["duration"]),
        {control: tuple(labels) for control, labels in tags.items()},
        scores,
        {control: tuple(group) for control, group in regions.items()},
        cast(Source, values["source"]),
        values["version"] or None,
        values["annotator"] or None,
        values["ground_truth"] == "true",
        int(values["id"]) if values["id"] else None,
    )


def _float(text: str) -> float | None:
    return float(text) if text else None
