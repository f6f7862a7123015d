"""Group the rows of a CSV or JSON Lines table by file, into one listed sound each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.errors import ConfigurationError
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.models import OWN_FIELDS, TRUST_FIELD, Listed, Trust

FILE_COLUMNS, LABEL_COLUMNS = ("fname", "file_name"), ("labels", "label")
"""Default column names; FSDKaggle2018 has ``label``, FSDKaggle2019 ``labels``."""
_TRUST: dict[str, Trust] = {
    **dict.fromkeys(("curated", "1", "true", "yes"), "curated"),
    **dict.fromkeys(("noisy", "0", "false", "no"), "noisy"),
}


@dataclass(frozen=True)
class Columns:
    """Column names of a table; None means the default names, if the table has them."""

    file: str | None = None
    labels: str | None = None
    start: str | None = None
    end: str | None = None
    trust: str | None = None

    def resolved(self, names: Iterable[str], table: Path) -> Columns:
        """Return the columns of a table with these names, the defaults filled in.

        Raises
        ------
        ConfigurationError
            A requested column is missing, or no column contains file names.
        """
        available = list(names)
        requested = [name for name in (self.file, self.labels, self.start, self.end, self.trust) if name]
        missing = [name for name in requested if name not in available]
        if missing:
            raise ConfigurationError(
                f"{table} has no column {' and '.join(missing)}: it has {', '.join(available) or 'none'}."
            )
        file = self.file or next((name for name in FILE_COLUMNS if name in available), None)
        if file is None:
            raise ConfigurationError(
                f"{table} has no column {FILE_COLUMNS[0]}: name the one with the files by --file-column "
                f"(it has {', '.join(available) or 'none'})."
            )
        if (self.start is None) != (self.end is None):
            raise ConfigurationError("Regions need both --start-column and --end-column.")
        labels = self.labels or next((name for name in LABEL_COLUMNS if name in available), None)
        trust = self.trust or (TRUST_FIELD if TRUST_FIELD in available else None)
        return Columns(file, labels, self.start, self.end, trust)

    @property
    def used(self) -> frozenset[str]:
        """Columns with a meaning, which do not become fields of the task."""
        return frozenset(n for n in (self.file, self.labels, self.start, self.end, self.trust) if n)


@dataclass
class _File:
    tags: dict[str, None] = field(default_factory=dict)
    regions: list[RegionRecord] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    trust: Trust | None = None


class RowReader:
    """Collects the rows of one table by file.

    A row with a start is a region with the row's labels; the labels of any other row are tags of the
    whole sound. Of an extra column, the first value of a file is kept.
    """

    def __init__(self, columns: Columns, table: Path) -> None:
        self._columns, self._table = columns, table
        self._files: dict[str, _File] = {}
        if columns.start and not columns.labels:
            raise ConfigurationError(f"Regions in {table} need labels: name their column by --labels-column.")

    def add(self, row: Mapping[str, Any], line: int) -> None:
        """Add one row; a row without a file name is ignored.

        Raises
        ------
        ConfigurationError
            A time is not a number, a label is neither text nor a number, or a trust value means neither
            curated nor noisy.
        """
        columns = self._columns
        fname = str(row.get(columns.file or "") or "").strip()
        if not fname:
            return
        file = self._files.setdefault(fname, _File())
        labels = self._labels(row, line)
        start, end = (self._seconds(row, column, line) for column in (columns.start, columns.end))
        if start is None and end is None:
            file.tags.update(dict.fromkeys(labels))
        elif start is None or end is None or end < start or start < 0:
            raise ConfigurationError(
                f"{self._table}, line {line}: a region must end after it starts, not {start} to {end}."
            )
        else:
            region_id = str(len(file.regions)) if len(labels) > 1 else None
            file.regions += [RegionRecord(start, end, label, id=region_id) for label in labels]
        if columns.trust:
            file.trust = self._trust(row.get(columns.trust), line) or file.trust
        for name, value in row.items():
            if name and name not in columns.used | OWN_FIELDS and value not in (None, ""):
                file.fields.setdefault(name, value)

    def listed(self) -> list[tuple[str, Listed]]:
        """Return each file's name in the table and its sound, whose path is not resolved yet."""
        return [(fname, self._listed(fname, file)) for fname, file in self._files.items()]

    def _listed(self, fname: str, file: _File) -> Listed:
        tags = {"": tuple(file.tags)} if file.tags else {}
        regions = {"": tuple(file.regions)} if file.regions else {}
        marks = (ClipRecord(fname, tags=tags, regions=regions),) if tags or regions else ()
        return Listed(None, fname, marks, file.fields, file.trust)

    def _labels(self, row: Mapping[str, Any], line: int) -> list[str]:
        """Parse the labels of a cell: a list, or text with commas between them."""
        value = row.get(self._columns.labels) if self._columns.labels else None
        if value is None:
            return []
        parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
        if not all(_is_label(part) for part in parts):
            raise ConfigurationError(
                f"{self._table}, line {line}: {self._columns.labels} is {json.dumps(value)[:80]}; it must be "
                "text, or a list of texts or numbers."
            )
        return [text for part in parts if (text := str(part).strip())]

    def _seconds(self, row: Mapping[str, Any], column: str | None, line: int) -> float | None:
        value = row.get(column) if column else None
        if value is None or value == "":
            return None
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = math.nan
        if not math.isfinite(seconds):
            raise ConfigurationError(f"{self._table}, line {line}: {column} is {value!r}, not seconds.")
        return seconds

    def _trust(self, value: object, line: int) -> Trust | None:
        word = str("" if value is None else value).strip().lower()
        if word and word not in _TRUST:
            raise ConfigurationError(
                f"{self._table}, line {line}: {self._columns.trust} is '{word}'; "
                "it must say curated (or 1, yes) or noisy (or 0, no)."
            )
        return _TRUST[word] if word else None


def _is_label(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and not isinstance(value, bool)
