"""What formats with one file for each sound, annotator and control share: Raven's and Audacity's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.writers import Indexed, LabelFiles, read_index, storable

_Lines = Callable[[ClipRecord, tuple[RegionRecord, ...]], Iterable[str]]


@dataclass(frozen=True)
class Row:
    """One line of such a file: a region, and its sound's name where the file says it."""

    region: RegionRecord
    file_name: str | None = None


def adding(files: LabelFiles, lines: _Lines) -> Add:
    """Return what writes the records of a sound, as ``lines`` gives them, into files of their own."""

    def add(records: Sequence[ClipRecord]) -> int:
        # All texts are made first: what one of them cannot hold leaves none of this sound behind.
        texts = [
            (record, control, list(lines(record, regions)))
            for record in records
            for control, regions in record.regions.items()
        ]
        for record in records:
            storable(record.file_name + record.sound + (record.annotator or ""), "The name")
        for record, control, text in texts:
            told_apart = [record.annotator or f"{record.id or ''}"] if len(records) > 1 else []
            told_apart += [control] if len(record.regions) > 1 else []
            path = files.new(record, ", ".join(filter(None, told_apart)))
            path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8", newline="\n")
            files.enter(path, record, control)
        files.annotated.add(record for record in records if record.regions)
        return sum(len(regions) for record in records for regions in record.regions.values())

    return add


def gathered(folder: Path, read_file: Callable[[Path], Iterator[Row]]) -> Iterator[ClipRecord]:
    """Read a folder by its index; the files of one annotation become one record again."""

    def one(indexed: Indexed) -> ClipRecord:
        return indexed.record

    for record, parts in groupby(read_index(folder), key=one):
        yield replace(
            record,
            regions={
                part.control: tuple(
                    replace(row.region, annotator=row.region.annotator or record.annotator)
                    for row in read_file(part.path)
                )
                for part in parts
            },
        )


def number(text: str, where: str) -> float:
    """Return a number.

    Raises
    ------
    FormatError
        It is none; the message says where.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{where}: {text!r} is no number.")
    return value
