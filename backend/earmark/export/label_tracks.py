"""Shared code of formats with one file for each sound, annotator and control: Raven and Audacity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.writers import IndexEntry, LabelFiles, read_index, storable

_Lines = Callable[[ClipRecord, tuple[RegionRecord, ...]], Iterable[str]]


@dataclass(frozen=True)
class Row:
    """One line of a label file: a region, and its sound's name if the file contains it."""

    region: RegionRecord
    file_name: str | None = None


def label_file_writer(files: LabelFiles, lines: _Lines) -> Add:
    """Return a function that writes the records of a sound, formatted by ``lines``, to label files."""

    def add(records: Sequence[ClipRecord]) -> int:
        # Format all texts before any is written: after a FormatError no file of this sound remains.
        texts = [
            (record, control, list(lines(record, regions)))
            for record in records
            for control, regions in record.regions.items()
        ]
        for record in records:
            storable(record.file_name + record.sound + (record.annotator or ""), "The name")
        for record, control, text_lines in texts:
            distinction = [record.annotator or f"{record.id or ''}"] if len(records) > 1 else []
            distinction += [control] if len(record.regions) > 1 else []
            path = files.new_path(record, ", ".join(filter(None, distinction)))
            path.write_text("".join(f"{line}\n" for line in text_lines), encoding="utf-8", newline="\n")
            files.add_to_index(path, record, control)
        files.annotated.add(record for record in records if record.regions)
        return sum(len(regions) for record in records for regions in record.regions.values())

    return add


def read_label_folder(folder: Path, read_file: Callable[[Path], Iterator[Row]]) -> Iterator[ClipRecord]:
    """Read a folder of label files by its index; the files of one annotation become one record."""

    def record_of(entry: IndexEntry) -> ClipRecord:
        return entry.record

    for record, entries in groupby(read_index(folder), key=record_of):
        yield replace(
            record,
            regions={
                entry.control: tuple(
                    replace(row.region, annotator=row.region.annotator or record.annotator)
                    for row in read_file(entry.path)
                )
                for entry in entries
            },
        )


def number(text: str, where: str) -> float:
    """Parse a finite number.

    Raises
    ------
    FormatError
        The text is no finite number; the message contains ``where``.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{where}: {text!r} is no number.")
    return value
