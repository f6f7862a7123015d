"""Audacity label tracks: ``start <tab> end <tab> label`` in seconds, in a folder beside ``sounds.csv``.

One file for each sound, annotator and control, as a label track is imported in Audacity (File, Import,
Labels). Equal times make a point label. Source of the format: Audacity's manual, "Importing and Exporting
Labels". Scores and region ids are lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.label_tracks import Row, label_file_writer, number, read_label_folder
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.writers import one_line, seconds_text, writing_label_files


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write a folder of label tracks; see ``FormatModule``."""
    with writing_label_files(path, ".txt") as files:
        yield label_file_writer(files, _lines)


def read(path: Path) -> Iterator[ClipRecord]:
    """Read a folder that ``writing`` wrote."""
    return read_label_folder(path, read_track)


def check_label(label: str) -> None:
    """Raise ``FormatError`` for a label that the format has no place for."""
    one_line(label, "The label")


def read_track(path: Path) -> Iterator[Row]:
    """Read one label track, of any origin; lines with frequency ranges are skipped.

    Raises
    ------
    FormatError
        The file cannot be read, or a line is no label.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for line_number, line in enumerate(file, 1):
                text = line.rstrip("\r\n")
                if not text or text.startswith("\\"):
                    continue
                start, end, label = [*text.split("\t", 2), "", ""][:3]
                where = f"{path}, line {line_number}"
                yield Row(RegionRecord(number(start, where), number(end, where), label))
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as an Audacity label track: {error}.") from error


def _lines(record: ClipRecord, regions: tuple[RegionRecord, ...]) -> Iterator[str]:
    for region in regions:
        times = f"{seconds_text(region.start)}\t{seconds_text(region.end)}"
        yield f"{times}\t{one_line(region.label, 'The label')}"
