"""CSV rows whose quotation marks are closed: an open one would take the rows below it into its cell."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Rows = csv.DictReader[str]
else:
    _Rows = csv.DictReader  # it takes no type when it runs


class ClosedRows(_Rows):
    """``csv.DictReader`` that raises ``csv.Error`` for a row over several lines that is not well-formed.

    Lines that cannot be told from text, such as ``"a" b``, are read as ``csv`` reads them.

    Parameters
    ----------
    lines
        Of the table, from its header on.
    above
        Number of lines above the header.
    """

    def __init__(self, lines: Iterable[str], above: int = 0, **form: Any) -> None:
        self._above, self._form, self._raw = above, form, list[str]()
        super().__init__(self._recorded(lines), **form)

    @property
    def line(self) -> int:
        """Number of the line in the file on which the last row ends."""
        return self._above + self.line_num

    def __next__(self) -> dict[str | Any, str | Any]:
        self._raw.clear()
        row = super().__next__()
        if len(self._raw) > 1 or sum(line.count('"') for line in self._raw) % 2:
            check_closed(self._raw, self.line - len(self._raw) + 1, **self._form)
        return row

    def _recorded(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._raw.append(line)
            yield line


def has_columns(table: Path, columns: Collection[str]) -> bool:
    """Whether a file is a CSV in UTF-8 whose first line has these columns."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return set(columns) <= set(next(csv.reader(file), ()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def check_closed(lines: list[str], first: int, **form: Any) -> None:
    """Raise ``csv.Error`` where a quotation mark is not closed; ``first`` is the number of the first line."""
    rows = csv.reader(lines, **form, strict=True)
    while True:
        begin = rows.line_num
        try:
            next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # Else there is text after a quotation within one line, which is no harm to others
            if rows.line_num - begin > 1 or "end of data" in str(error):
                raise csv.Error(
                    f"a quotation mark on line {first + begin} is not closed, or not doubled within its cell"
                ) from error
