"""Read the sounds listed in a CSV, TSV or JSON Lines file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from earmark.errors import ConfigurationError
from earmark.importing.models import Listed
from earmark.importing.table_rows import Columns, RowReader


def list_csv(table: Path, columns: Columns | None = None) -> list[tuple[str, Listed]]:
    """List the files of a CSV or TSV whose first line names the columns.

    A cell of several labels is quoted, with commas between them, as in FSDKaggle.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not UTF-8 text, lacks a column or has one twice, a row has more
        cells than there are columns, or a time is not a number.
    """
    with _csv_rows(table) as rows:
        names = _clean_names(rows, table)
        reader = RowReader((columns or Columns()).resolved(names, table), table)
        for row in rows:
            # csv puts surplus cells under the key None: usually labels without quotes.
            cells = {name: value for name, value in row.items() if isinstance(name, str)}
            if any(row.get(None) or ()):
                raise ConfigurationError(
                    f"{table}, line {rows.line_num}: there are more cells than the {len(names)} columns of "
                    'the first line: put several labels in quotes, "a,b".'
                )
            reader.add(cells, rows.line_num)
    return reader.listed()


def _clean_names(rows: csv.DictReader[str], table: Path) -> list[str]:
    names = list(rows.fieldnames or ())
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise ConfigurationError(
            f"{table}, line 1: there are two columns {' and '.join(repeated)}: rename one."
        )
    while names and not names[-1]:  # commas at the end of the line are no columns
        names.pop()
    rows.fieldnames = names
    return names


def column_names(table: Path) -> list[str]:
    """Return the names in the first line of a CSV or TSV.

    Raises
    ------
    ConfigurationError
        The file cannot be read or is not UTF-8 text.
    """
    with _csv_rows(table) as rows:
        return list(rows.fieldnames or ())


@contextmanager
def _csv_rows(table: Path) -> Iterator[csv.DictReader[str]]:
    csv.field_size_limit(sys.maxsize)
    tabs = table.suffix.lower() in (".tsv", ".tab")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file, delimiter="\t" if tabs else ",")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{table} cannot be read as a UTF-8 CSV file: {error}.") from error


def list_json_lines(table: Path, columns: Columns | None = None) -> list[tuple[str, Listed]]:
    """List the files of a JSON Lines file, whose keys are the columns of a CSV.

    Labels may be a list or text with commas; extra values keep their JSON type.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not JSON Lines, or lacks what ``list_csv`` requires.
    """
    names = dict.fromkeys(name for _, row in json_rows(table) for name in row)
    reader = RowReader((columns or Columns()).resolved(names, table), table)
    for line, row in json_rows(table):
        reader.add(row, line)
    return reader.listed()


def json_rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file and their line numbers.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or a line is no JSON object.
    """
    try:
        with table.open(encoding="utf-8-sig") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise ConfigurationError(f"{table}, line {line}: this is no JSON ({error}).") from error
                if not isinstance(row, dict):
                    raise ConfigurationError(f"{table}, line {line}: this is no JSON object.")
                yield line, row
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{table} cannot be read as UTF-8 JSON Lines: {error}.") from error


def name_below(fname: str, folders: Iterable[Path]) -> str | None:
    """Return a name relative to a folder, given by all its paths; None if it leads out of it."""
    path = PurePosixPath(fname)
    if ".." in path.parts:
        return None
    if not path.is_absolute():
        return fname
    for folder in folders:
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return None
