"""Recognition of label files by their content, and their reading as listed sounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from earmark.errors import ConfigurationError
from earmark.export.records import Source
from earmark.importing.field import datasets_tables, label_studio_tables, text_formats, tier_formats
from earmark.importing.field.label_rows import LabelRow, grouped, number_or_none
from earmark.importing.field.table_presets import BIRDNET, TablePreset, presets_of
from earmark.importing.models import Listed
from earmark.importing.table_columns import NONE, Columns
from earmark.importing.table_files import column_names, list_csv
from earmark.importing.table_rows import PLAIN
from earmark.wording import counted

FieldFormatName = Literal["raven", "audacity", "dcase", "rttm", "textgrid", "elan", "jams", "table"]
"""Formats that an option can name; a ``table`` is any CSV or TSV with a header."""

_HEAD_BYTES = 4096
_HEAD_LINES = 20
_AUDACITY = re.compile(r"\d+(\.\d+)?\t\d+(\.\d+)?(\t.*)?")
_TABLES = frozenset({".csv", ".tsv", ".tab", ".txt"})
LABEL_SUFFIXES = _TABLES | {".textgrid", ".eaf", ".rttm", ".jams", ".lab"}
"""Suffixes of files that may hold labels, in lower case."""

Say = Callable[[str], None]
_Named = tuple[str, Listed]
"""A sound with its name in a table."""


@dataclass(frozen=True)
class LabelFile:
    """A recognised label file. ``title``: its kind, in the plural. ``folders``: see ``TablePreset``."""

    path: Path
    format: FieldFormatName
    title: str
    presets: tuple[TablePreset, ...] = ()
    names_sounds: bool = False
    """Whether its rows name their recordings; else all are of the recording beside it."""

    @property
    def folders(self) -> bool:
        """Whether the recordings lie in folders beside that of the table."""
        return any(preset.folders for preset in self.presets)

    def listed(self, columns: Columns, say: Say) -> list[tuple[str, Listed]]:
        """Read the file: the name of each sound, which is empty for the one beside it, and its labels.

        Raises
        ------
        FormatError, ConfigurationError
            The file is damaged, or a column that an option names is missing.
        """
        rows: Iterable[LabelRow]
        source: Source = "annotation"
        version = None
        if self.format == "table":
            return self._table(columns, say)
        if self.format == "jams":
            records = tier_formats.jams_records(self.path)
            return [("", Listed(None, "", tuple(records)))] if records else []
        if self.format == "raven":
            rows = text_formats.raven_rows(self.path, columns.labels, columns.score)
            if self.title.startswith(BIRDNET):
                source, version = "prediction", BIRDNET
        elif self.format == "audacity":
            rows = list(text_formats.audacity_rows(self.path))
            if rows and all(row.score is not None for row in rows):
                source, version = "prediction", BIRDNET
        elif self.format == "dcase":
            rows = text_formats.event_rows(self.path)
        elif self.format == "rttm":
            rows = text_formats.rttm_rows(self.path)
        elif self.format == "textgrid":
            rows = tier_formats.textgrid_rows(self.path)
        else:
            rows = tier_formats.elan_rows(self.path)
        rows = list(rows)
        unnamed = sum(row.label == "" for row in rows)
        if unnamed:
            say(
                f"{counted(unnamed, 'region')} without a label in {self.path.name}: "
                "what sounds there is left open."
            )
        if not rows and (self.format == "raven" or not self.names_sounds):
            rows = [LabelRow(None)]  # a table without a row beside a recording: annotated, nothing found
        return grouped(rows, source, version)

    def _table(self, columns: Columns, say: Say) -> list[tuple[str, Listed]]:
        names = _header(self.path)
        if datasets_tables.has_columns(names):
            return datasets_tables.list_table(self.path)
        if label_studio_tables.has_columns(names):
            return label_studio_tables.list_table(self.path, columns, say)
        result: list[tuple[str, Listed]] = []
        notes: list[str] = []
        for preset in self.presets or (None,):
            has_labels = any(listed.marks for _, listed in result)
            if has_labels and (columns.labels or preset is None or not preset.completes(names)):
                break
            notes = notes if has_labels else []
            merged = columns if preset is None else columns.over(preset.columns(names))
            rules = PLAIN if preset is None else preset.rules_for(names)
            rows = list_csv(self.path, merged, rules, file_needed=self.names_sounds, say=notes.append)
            result = _joined(result, rows)
        for sentence in dict.fromkeys(notes):
            say(sentence)
        if not result and self.presets and (self.presets[0].beside or not self.names_sounds):
            first = self.presets[0].rules
            ((_, empty),) = grouped([LabelRow(None)], first.source, first.version)
            return [("", empty)]
        return result


def _joined(first: Sequence[_Named], second: Sequence[_Named]) -> list[_Named]:
    """Return the sounds of two readings of a table, each with the labels of both."""
    marks = {name: item.marks for name, item in second}
    names_in_first = {name for name, _ in first}
    both = [(name, replace(item, marks=(*item.marks, *marks.get(name, ())))) for name, item in first]
    return [*both, *(pair for pair in second if pair[0] not in names_in_first)]


def recognise(
    path: Path, columns: Columns | None = None, given: FieldFormatName | None = None
) -> LabelFile | None:
    """Recognise a label file by its content; None where it is none.

    Parameters
    ----------
    columns
        Columns that options name: a table that has them is a table of labels, whatever its other columns.
    given
        Format that an option names. Raven's and other tables are recognised by their columns even so.
    """
    lines = _head(path)
    if not lines:
        return None
    if given and given not in ("table", "raven"):
        table = _table_of(path, columns or Columns(), False) if given == "dcase" else None
        names_sounds = given == "rttm" or (given == "dcase" and not _starts_with_times(lines))
        return table or LabelFile(path, given, _TITLES[given], names_sounds=names_sounds)
    text = "\n".join(lines)
    if 'File type = "ooTextFile' in lines[0] and "TextGrid" in text:
        return LabelFile(path, "textgrid", _TITLES["textgrid"])
    if "<ANNOTATION_DOCUMENT" in text:
        return LabelFile(path, "elan", _TITLES["elan"])
    if path.suffix.lower() == ".jams":
        return LabelFile(path, "jams", _TITLES["jams"])
    if all(re.match(r"(SPEAKER|SPKR-INFO|;;)\s*", line) for line in lines):
        return LabelFile(path, "rttm", _TITLES["rttm"], names_sounds=True)
    names = lines[0].split("\t")
    if set(text_formats.RAVEN_TIMES) <= set(names):
        own = {"Common Name", "Confidence"} <= set(names)
        title = f"{BIRDNET} selection tables" if own else _TITLES["raven"]
        named = bool({"Begin Path", "Begin File"} & set(names))
        return LabelFile(path, "raven", title, names_sounds=named)
    table = _table_of(path, columns or Columns(), given == "table")
    if table is not None:
        return table
    if _starts_with_times(lines) and (path.suffix.lower() in _TABLES | {".lab"}):
        scored = all(
            len(line.split("\t")) == 4 and number_or_none(line.split("\t")[3]) is not None for line in lines
        )
        return LabelFile(path, "audacity", f"{BIRDNET} label tracks" if scored else _TITLES["audacity"])
    if path.suffix.lower() in _TABLES and _are_events(lines):
        return LabelFile(path, "dcase", _TITLES["dcase"], names_sounds=True)
    return None


_TITLES: dict[str, str] = {
    "raven": "Raven tables",
    "audacity": "Audacity label tracks",
    "dcase": "DCASE event lists",
    "rttm": "RTTM files",
    "textgrid": "TextGrids",
    "elan": "ELAN documents",
    "jams": "JAMS files",
    "table": "tables of labels",
}


def _table_of(path: Path, columns: Columns, given: bool) -> LabelFile | None:
    """Recognise a table with a header; any table with a column of files and one of labels is one."""
    if path.suffix.lower() not in _TABLES:
        return None
    try:
        names = _header(path)
    except ConfigurationError:
        return None
    if datasets_tables.has_columns(names):
        return LabelFile(path, "table", "tables of a folder for datasets", names_sounds=True)
    if label_studio_tables.has_columns(names):
        return LabelFile(path, "table", "tables of Label Studio", names_sounds=True)
    presets = presets_of(names)
    if presets:
        merged = columns.over(presets[0].columns(names))
        named = not presets[0].beside or (merged.file or NONE) != NONE
        return LabelFile(path, "table", presets[0].title, tuple(presets), names_sounds=named)
    try:
        resolved = columns.resolved(names, path, file_needed=False)
    except ConfigurationError:
        return None
    title = f"{_TITLES['table']} ({resolved.description})"
    if resolved.file and (resolved.labels or given):
        return LabelFile(path, "table", title, names_sounds=True)
    if resolved.labels and resolved.start:
        return LabelFile(path, "table", title)
    return None


def _header(path: Path) -> list[str]:
    return [name for name in column_names(path) if name]


def _head(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(_HEAD_BYTES)
    except OSError:
        return []
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    if "\x00" in text:
        return []  # binary
    lines = [line for line in text.splitlines() if line.strip()]
    complete = lines if len(content) < _HEAD_BYTES or len(lines) < 2 else lines[:-1]
    return complete[:_HEAD_LINES]


def _starts_with_times(lines: Sequence[str]) -> bool:
    labels = [line for line in lines if not line.startswith("\\")]
    return bool(labels) and all(_AUDACITY.fullmatch(line) for line in labels)


def _are_events(lines: Sequence[str]) -> bool:
    """Whether each line begins with the name of an audio file, as in DCASE's lists without a header."""
    delimiter = "\t" if any("\t" in line for line in lines) else ","
    cells = [[cell.strip() for cell in line.split(delimiter)] for line in lines]
    if not all(text_formats.looks_like_audio(row[0]) and "://" not in row[0] for row in cells):
        return False
    longer = [row for row in cells if len(row) > 1]
    strong = [len(row) > 3 and number_or_none(row[-3]) is not None for row in longer]
    weak = [all(number_or_none(cell) is None for cell in row[1:]) for row in longer]
    return bool(longer) and (all(strong) or (all(weak) and (delimiter == "," or {*map(len, longer)} == {2})))
