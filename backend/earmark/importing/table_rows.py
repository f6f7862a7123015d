"""Group the rows of a CSV or JSON Lines table by file, into one listed sound each."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earmark.errors import ConfigurationError
from earmark.export.records import ClipRecord, RegionRecord, Source
from earmark.importing.models import FOLD_FIELD, OWN_FIELDS, Listed, Trust
from earmark.importing.table_columns import Resolved
from earmark.wording import counted

SEPARATORS = (",", ";", "|")
"""Separators of several labels in a cell; without an option, the first that occurs in the column."""
_TRUST: dict[str, Trust] = {
    **dict.fromkeys(("curated", "1", "true", "yes"), "curated"),
    **dict.fromkeys(("noisy", "0", "false", "no"), "noisy"),
}
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})")
_REAL = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?([eE][+-]?\d{1,2})?")


@dataclass(frozen=True)
class RowRules:
    """How rows of a known format differ from those of a plain table.

    ``label``: the label of a row's cell. ``source``: whether rows are of people or of a model, which
    ``version`` names. ``empty_is_annotated``: a row without label and times says that the sound was
    annotated and holds nothing. ``one_label``: a cell is one label, unless an option gives a separator.
    ``file`` maps the cell with the file, and the row, to the file's name; ``folder`` a row to its folder.
    ``only``: which rows are read. ``no_fields``: columns, in lower case, that are read in another way.
    """

    label: Callable[[str], str] = str
    source: Source = "annotation"
    version: str | None = None
    empty_is_annotated: bool = False
    one_label: bool = False
    file: Callable[[str, Mapping[str, Any]], str] = lambda cell, row: cell
    folder: Callable[[Mapping[str, Any]], str] = lambda row: ""
    only: Callable[[Mapping[str, Any]], bool] = lambda row: True
    no_fields: frozenset[str] = frozenset()


PLAIN = RowRules()


@dataclass
class _File:
    tags: dict[str, None] = field(default_factory=dict)
    tag_scores: list[float] = field(default_factory=list)
    regions: list[RegionRecord] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)
    trust: Trust | None = None
    answered: bool = False
    """Whether a row says that the sound was annotated, also without a label."""


class RowReader:
    """Collects the rows of one table by file.

    A row with times is a region with the row's labels; the labels of any other row are tags of the whole
    sound. An extra column becomes a field of the task where all rows of a file agree; in a table with times,
    where the rows of each file do.
    """

    def __init__(self, columns: Resolved, table: Path, rules: RowRules = PLAIN) -> None:
        self._columns, self._table, self._rules = columns, table, rules
        self._files: dict[str, _File] = {}
        self._separator = columns.separator or SEPARATORS[0]
        self._score = columns.score
        self._unnamed = 0

    def add(self, row: Mapping[str, Any], line: int) -> None:
        """Add one row; a row without a file name is ignored where the table has a column for it.

        Raises
        ------
        ConfigurationError
            A time or score is not a number, a label is neither text nor a number, or a trust value means
            neither curated nor noisy.
        """
        columns = self._columns
        fname = str(row.get(columns.file or "") or "").strip().replace("\\", "/")
        fname = self._rules.file(fname, row)
        if (columns.file and not fname) or not self._rules.only(row):
            return
        folder = self._rules.folder(row)
        file = self._files.setdefault(f"{folder}/{fname}" if folder else fname, _File())
        labels, score = self._labels(row, line), self._scored(row, line)
        start, end = self._times(row, line)
        if start is None and end is None:
            file.tags.update(dict.fromkeys(labels))
            file.tag_scores += [score] if score is not None and labels else []
            file.answered |= self._rules.empty_is_annotated
        elif start is None or end is None or end < start or start < 0:
            raise ConfigurationError(
                f"{self._table}, line {line}: a region must end after it starts, not {start} to {end}."
            )
        else:
            region_id = str(len(file.regions)) if len(labels) > 1 else None
            if columns.labels and not labels and self._rules.source == "annotation":
                self._unnamed += 1
                file.regions.append(RegionRecord(start, end, ""))
            file.regions += [RegionRecord(start, end, label, score, id=region_id) for label in labels]
        if columns.trust:
            file.trust = self._trust(row.get(columns.trust), line) or file.trust
        self._add_fields(file, row)

    def separate_by(self, cells: Sequence[str]) -> None:
        """Choose the separator of labels by all cells of the column, unless an option gives it."""
        if self._columns.separator is None:
            self._separator = next((s for s in SEPARATORS if any(s in cell for cell in cells)), SEPARATORS[0])

    def notes(self) -> Iterator[str]:
        """Yield sentences about content that is not used, or that was interpreted."""
        name = self._table.name
        if self._separator != SEPARATORS[0] and self._columns.separator is None:
            yield (
                f"Labels in {name} are separated at '{self._separator}'; --label-separator gives another one."
            )
        varying = sorted(self._varying())
        if varying:
            yield (
                f"{', '.join(varying)} in {name} differ between the rows of one sound, so they are no fields "
                "of its task: they are not imported."
            )
        if self._columns.ignored:
            yield (
                f"{', '.join(self._columns.ignored)} in {name} may be labels, too; {self._columns.labels} is "
                "used: choose with --labels-column."
            )
        if self._columns.score and not self._score:
            yield f"{self._columns.score} in {name} is not between 0 and 1, so it is not used as a score."
        if self._unnamed:
            unnamed = counted(self._unnamed, "region")
            yield f"{unnamed} without a label in {name}: what sounds there is left open."
        if self._columns.start and not self._columns.labels:
            yield f"{name} has times, and no column with labels: name it by --labels-column."

    def listed(self) -> list[tuple[str, Listed]]:
        """Return each file's name in the table and its sound, whose path is not resolved yet."""
        numeric = numeric_fields(file.fields for file in self._files.values())
        if self._columns.start:  # columns of events, also for sounds with a single one
            of_events = self._varying() | set(self._columns.ignored)
            for file in self._files.values():
                file.varying |= of_events
        return [(fname, self._listed(fname, file, numeric)) for fname, file in self._files.items()]

    def _varying(self) -> set[str]:
        return set().union(*(file.varying for file in self._files.values()))

    def _listed(self, fname: str, file: _File, numeric: Mapping[str, type[int] | type[float]]) -> Listed:
        tags = {"": tuple(file.tags)} if file.tags else {}
        scores = {"": min(file.tag_scores)} if file.tag_scores and tags else {}
        empty = file.answered and not tags
        with_times = self._columns.start is not None
        # What was not named leaves its time open, but only beside labels is there an annotation
        listed = file.regions if tags or any(region.label for region in file.regions) else []
        if not self._score:
            listed, scores = [replace(region, score=None) for region in listed], {}
        regions = {"": tuple(listed)} if listed or (empty and with_times) else {}
        if empty and not with_times:
            tags = {"": ()}
        source, version = self._rules.source, self._rules.version
        record = ClipRecord(
            fname, tags=tags, tag_scores=scores, regions=regions, source=source, version=version
        )
        constant = {name: value for name, value in file.fields.items() if name not in file.varying}
        return Listed(
            None, fname, (record,) if tags or regions else (), with_numbers(constant, numeric), file.trust
        )

    def _add_fields(self, file: _File, row: Mapping[str, Any]) -> None:
        columns = self._columns
        for name, value in row.items():
            if not name or name in columns.used | OWN_FIELDS or value in (None, ""):
                continue
            if name.strip().lower() in self._rules.no_fields:
                continue
            if file.fields.setdefault(name, value) != value:
                file.varying.add(name)
        fold = row.get(columns.fold) if columns.fold else None
        if fold not in (None, ""):
            file.fields.setdefault(FOLD_FIELD, fold)

    def _labels(self, row: Mapping[str, Any], line: int) -> list[str]:
        """Parse the labels of a cell: a list, or text with separators between them."""
        value = row.get(self._columns.labels) if self._columns.labels else None
        if value is None:
            return []
        parts = value if isinstance(value, list) else [value]
        if isinstance(value, str) and (self._columns.separator or not self._rules.one_label):
            parts = value.split(self._separator)
        if not all(_is_label(part) for part in parts):
            raise ConfigurationError(
                f"{self._table}, line {line}: {self._columns.labels} is {json.dumps(value)[:80]}; it must be "
                "text, or a list of texts or numbers."
            )
        return [self._rules.label(text) for part in parts if (text := str(part).strip())]

    def _times(self, row: Mapping[str, Any], line: int) -> tuple[float | None, float | None]:
        columns = self._columns
        start, end = (self._number(row, name, line) for name in (columns.start, columns.end))
        if columns.duration:
            duration = self._number(row, columns.duration, line)
            end = None if start is None or duration is None else start + duration
        return start, end

    def _scored(self, row: Mapping[str, Any], line: int) -> float | None:
        if not self._score:
            return None
        try:
            score = self._number(row, self._score, line, "a score")
            if score is None or 0 <= score <= 1:
                return score
        except ConfigurationError:
            if self._columns.score_given:
                raise
        if self._columns.score_given:
            raise ConfigurationError(
                f"{self._table}, line {line}: {self._score} is {score}; a score must be from 0 to 1."
            )
        self._score = None  # the column only has a usual name, and holds something else
        return None

    def _number(
        self, row: Mapping[str, Any], column: str | None, line: int, what: str = "seconds"
    ) -> float | None:
        value = row.get(column) if column else None
        if value is None or value == "":
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ConfigurationError(f"{self._table}, line {line}: {column} is {value!r}, not {what}.")
        return number

    def _trust(self, value: object, line: int) -> Trust | None:
        word = str("" if value is None else value).strip().lower()
        if word and word not in _TRUST:
            raise ConfigurationError(
                f"{self._table}, line {line}: {self._columns.trust} is '{word}'; "
                "it must say curated (or 1, yes) or noisy (or 0, no)."
            )
        return _TRUST[word] if word else None


def numeric_fields(rows: Iterable[Mapping[str, Any]]) -> dict[str, type[int] | type[float]]:
    """Return the fields whose values are all numbers written as text, with the type that fits.

    A column stays text where a number would lose its form, such as a leading zero.
    """
    texts: dict[str, list[str] | None] = {}
    for row in rows:
        for name, value in row.items():
            values = texts.setdefault(name, [])
            if not isinstance(value, str):
                texts[name] = None
            elif values is not None:
                values.append(value)
    types: dict[str, type[int] | type[float]] = {}
    for name, values in texts.items():
        if values and all(_WHOLE.fullmatch(text) for text in values):
            types[name] = int
        elif values and all(_REAL.fullmatch(text) for text in values):
            types[name] = float
    return types


def with_numbers(fields: Mapping[str, Any], numeric: Mapping[str, type[int] | type[float]]) -> dict[str, Any]:
    """Return fields with those in ``numeric``, of `numeric_fields`, as numbers."""
    return {name: numeric[name](value) if name in numeric else value for name, value in fields.items()}


def _is_label(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and not isinstance(value, bool)
