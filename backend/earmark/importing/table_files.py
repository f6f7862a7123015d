"""Read the sounds listed in a CSV, TSV or JSON Lines file."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from earmark.errors import ConfigurationError
from earmark.export.closed_quotes import ClosedRows
from earmark.importing.models import Listed
from earmark.importing.table_columns import Columns
from earmark.importing.table_rows import PLAIN, RowReader, RowRules

_DELIMITERS = ",\t;"
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_COMMENTS = ("# Segments csv", "# num_ytids")
"""First lines of AudioSet's tables, above the header, which begins with ``# YTID``."""


def list_csv(
    table: Path,
    columns: Columns | None = None,
    rules: RowRules = PLAIN,
    *,
    file_needed: bool = True,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[tuple[str, Listed]]:
    """List the files of a CSV or TSV whose first line names the columns.

    A cell of several labels is quoted, with commas between them, as in FSDKaggle.

    Parameters
    ----------
    file_needed
        Whether a column must name the files; else all rows may be of one sound, whose name is empty.
    say
        Called with a sentence for each kind of content that is interpreted or not used.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not UTF-8 text, lacks a column or has one twice that is used, a row has
        more cells than there are columns, or a time is not a number.
    """
    with csv_rows(table) as rows:
        names = _clean_names(rows)
        if not names:
            raise ConfigurationError(f"{table} is empty: its first line must name the columns.")
        resolved = (columns or Columns()).resolved(names, table, file_needed=file_needed)
        repeated = sorted(name for name in resolved.used if names.count(name) > 1)
        if repeated:
            raise ConfigurationError(
                f"{table}, line 1: there are two columns {' and '.join(repeated)}: rename one."
            )
        reader = RowReader(resolved, table, rules)
        checked = []
        for row in rows:
            # csv puts surplus cells under the key None: usually labels without quotes.
            cells = {name: value for name, value in row.items() if isinstance(name, str)}
            if any(row.get(None) or ()):
                raise ConfigurationError(
                    f"{table}, line {rows.line}: there are more cells than the {len(names)} columns of "
                    'the first line: put several labels in quotes, "a,b".'
                )
            if any("\n" in (cells.get(name) or "") for name in (resolved.file, resolved.labels) if name):
                raise ConfigurationError(
                    f"{table}, line {rows.line}: a name or label has the end of a line in it, as after a "
                    "quotation mark that is not closed."
                )
            if rows.reader.dialect.delimiter == ";":
                cells |= _with_points(cells, resolved.numbers)
            checked.append((rows.line, cells))
    reader.separate_by([cells.get(resolved.labels or "") or "" for _, cells in checked])
    for line, cells in checked:
        reader.add(cells, line)
    for sentence in reader.notes():
        say(sentence)
    return reader.listed()


def _with_points(cells: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the numbers of a row with decimal points, for tables of countries that write commas."""
    return {
        name: cells[name].replace(",", ".")
        for name in names
        if _DECIMAL_COMMA.fullmatch((cells.get(name) or "").strip())
    }


def _clean_names(rows: ClosedRows) -> list[str]:
    names = list(rows.fieldnames or ())
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
    with csv_rows(table) as rows:
        return list(rows.fieldnames or ())


@contextmanager
def csv_rows(table: Path) -> Iterator[ClosedRows]:
    """Open a table with a header; the delimiter is the one that its first line has most of.

    Raises
    ------
    ConfigurationError
        The file cannot be read or is not UTF-8 text, or a quotation mark is not closed.
    """
    csv.field_size_limit(sys.maxsize)
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            above, lines = _without_comments(file)
            first = next(lines, "")
            default = "\t" if table.suffix.lower() in (".tsv", ".tab") else ","
            delimiter = max(_DELIMITERS, key=lambda d: (first.count(d), d == default))
            rows = chain([first] if first else [], lines)
            yield ClosedRows(rows, above, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{table}, line {_first_other_line(table)}: this is not UTF-8 text. Save the table as UTF-8, in "
            "Excel as “CSV UTF-8 (comma delimited)”."
        ) from error
    except (OSError, csv.Error) as error:
        raise ConfigurationError(f"{table} cannot be read as a CSV file: {error}.") from error


def _first_other_line(table: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    try:
        table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.object.count(b"\n", 0, error.start) + 1
    return 1


def _without_comments(file: TextIO) -> tuple[int, Iterator[str]]:
    """Return how many lines above the header are comments, and the lines from there on."""
    for above, line in enumerate(file):
        if not line.startswith(_COMMENTS):
            return above, chain([line.removeprefix("# ") if line.startswith("# YTID") else line], file)
    return 0, iter(())


def list_json_lines(
    table: Path, columns: Columns | None = None, *, say: Callable[[str], None] = lambda sentence: None
) -> list[tuple[str, Listed]]:
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
    for sentence in reader.notes():
        say(sentence)
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
