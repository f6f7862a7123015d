"""``annotated.csv``: the annotated parts of each sound, for formats that cannot hold them.

RFC 4180 in UTF-8 with the columns of `COLUMNS`: a row for each part, in seconds of the sound; an empty
``end`` is the end of the sound, and a row from 0 to 0 says that no part was annotated completely. In a folder
it is called ``annotated.csv``, beside a file ``town.csv`` it is ``town.annotated.csv``. Without it, a part
without labels may be empty or not annotated.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from earmark.errors import FormatError
from earmark.export.closed_quotes import ClosedRows, has_columns
from earmark.export.records import AnnotatedSpan, ClipRecord

NAME = "annotated.csv"
COLUMNS = ("sound", "start", "end", "annotator")


def path_beside(export: Path, is_folder: bool) -> Path:
    """Return the path of the table that belongs to an export."""
    return export / NAME if is_folder else export.with_name(f"{export.stem}.{NAME}")


class AnnotatedTable:
    """CSV writer of the annotated parts."""

    def __init__(self, file: TextIO) -> None:
        self._table = csv.writer(file)
        self._table.writerow(COLUMNS)

    def add(self, records: Iterable[ClipRecord]) -> None:
        """Write the annotated parts of records; predictions have none."""
        for record in records:
            self._table.writerows(_row(record, span) for span in annotated_spans(record))


@contextmanager
def writing(export: Path) -> Iterator[AnnotatedTable]:
    """Write the table beside a file, atomically: it appears when the context ends without an error."""
    from earmark.export.writers import writing_text

    with writing_text(path_beside(export, is_folder=False)) as file:
        yield AnnotatedTable(file)


def is_table(path: Path) -> bool:
    """Whether a file is such a table, by its name and its first line."""
    return path.name.lower().endswith(NAME) and has_columns(path, COLUMNS)


def read(table: Path) -> dict[str, list[AnnotatedSpan]]:
    """Return the annotated parts by name of the sound; empty if the file does not exist.

    Raises
    ------
    FormatError
        The file cannot be read, lacks a column, or a time is no number.
    """
    spans_by_sound: dict[str, list[AnnotatedSpan]] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = ClosedRows(file)
            if not set(COLUMNS) <= set(rows.fieldnames or ()):
                raise FormatError(f"{table} must have the columns {', '.join(COLUMNS)}.")
            for row in rows:
                try:
                    start, end = float(row["start"]), float(row["end"] or math.inf)
                except (TypeError, ValueError):
                    start = end = math.nan
                if not 0 <= start <= end:
                    raise FormatError(
                        f"{table}, line {rows.line}: start and end must be seconds, start first."
                    )
                span = AnnotatedSpan(start, end, row["annotator"] or None)
                spans_by_sound.setdefault(row["sound"], []).append(span)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{table} cannot be read as a UTF-8 CSV file: {error}.") from error
    return spans_by_sound


def with_spans(
    records: Sequence[ClipRecord], spans: Mapping[str, Sequence[AnnotatedSpan]]
) -> tuple[ClipRecord, ...]:
    """Return the records with the spans of a table, where they have none of their own."""
    return tuple(replace(record, annotated=_spans_of(record, spans)) for record in records)


def _spans_of(record: ClipRecord, spans: Mapping[str, Sequence[AnnotatedSpan]]) -> tuple[AnnotatedSpan, ...]:
    if record.annotated or record.source == "prediction":
        return record.annotated
    return tuple(
        span
        for span in spans.get(record.file_name, ())
        if record.annotator is None or span.annotator in (None, record.annotator)
    )


def annotated_spans(record: ClipRecord) -> tuple[AnnotatedSpan, ...]:
    """Return the annotated parts of a record, also where that is the whole sound; a prediction has none."""
    if record.source == "prediction":
        return ()
    whole = AnnotatedSpan(0.0, math.inf if record.duration is None else record.duration)
    return record.annotated or (whole,)


def _row(record: ClipRecord, span: AnnotatedSpan) -> tuple[str, str, str, str]:
    from earmark.export.writers import seconds_text

    end = "" if math.isinf(span.end) else seconds_text(span.end)
    return record.file_name, seconds_text(span.start), end, span.annotator or record.annotator or ""
