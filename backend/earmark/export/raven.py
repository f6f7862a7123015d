"""Raven Pro selection tables: tab-separated text, in a folder beside ``sounds.csv``.

One table for each sound, annotator and control, with the columns that Raven Pro writes, followed by
Begin File, Annotation (the label), Score, Annotator and Region. Regions of Label Studio have no
frequencies, so each selection spans 0 Hz to half the file's sample rate, or `HIGH_FREQUENCY_HZ` where the
task's data lacks it. Times are from the start of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.label_tracks import Row, label_file_writer, number, read_label_folder
from earmark.export.records import ClipRecord, RegionRecord, highest_frequency
from earmark.export.writers import one_line, seconds_text, writing_label_files

SUFFIX = ".selections.txt"
COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
    "Begin File", "Annotation", "Score", "Annotator", "Region",
)  # fmt: skip
HIGH_FREQUENCY_HZ = 24_000.0
"""Half of 48,000 samples a second; Raven clips selections to the sound's own range."""
_LABEL_COLUMNS = ("Annotation", "annotation", "Species", "Common Name", "Label", "label", "Tags")


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write a folder of selection tables; see ``FormatModule``."""
    with writing_label_files(path, SUFFIX) as files:
        yield label_file_writer(files, _lines)


def read(path: Path) -> Iterator[ClipRecord]:
    """Read a folder that ``writing`` wrote."""
    return read_label_folder(path, read_table)


def check_label(label: str) -> None:
    """Raise ``FormatError`` for a label that the format has no place for."""
    one_line(label, "The label")


def read_table(path: Path) -> Iterator[Row]:
    """Read one selection table, of any origin.

    The label is in the column Annotation, or in another usual one; the rows of a selection's second
    view (Waveform beside Spectrogram) are skipped.

    Raises
    ------
    FormatError
        The file cannot be read, lacks a column, or a time is no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            columns = rows.fieldnames or ()
            label = next((name for name in _LABEL_COLUMNS if name in columns), None)
            if label is None or not {"Begin Time (s)", "End Time (s)"} <= set(columns):
                raise FormatError(
                    f"{path} is no selection table with labels: it needs Begin Time (s), End Time (s) and "
                    "Annotation."
                )
            seen: set[str] = set()
            for line, row in enumerate(rows, 2):
                selection, where = row.get("Selection") or "", f"{path}, line {line}"
                if selection and selection in seen:
                    continue
                seen.add(selection)
                score = row.get("Score") or ""
                yield Row(
                    RegionRecord(
                        number(row["Begin Time (s)"] or "", where),
                        number(row["End Time (s)"] or "", where),
                        row[label] or "",
                        number(score, where) if score else None,
                        row.get("Annotator") or None,
                        row.get("Region") or None,
                    ),
                    row.get("Begin File") or None,
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read as a selection table: {error}.") from error


def _lines(record: ClipRecord, regions: tuple[RegionRecord, ...]) -> Iterator[str]:
    begin_file = one_line(PurePosixPath(record.file_name).name, "The file name")
    high = highest_frequency(record.data) or HIGH_FREQUENCY_HZ
    yield "\t".join(COLUMNS)
    for selection, region in enumerate(regions, 1):
        values = (
            str(selection),
            "Spectrogram 1",
            "1",
            seconds_text(region.start),
            seconds_text(region.end),
            "0.0",
            str(high),
            begin_file,
            one_line(region.label, "The label"),
            "" if region.score is None else seconds_text(region.score),
            one_line(region.annotator or "", "The annotator"),
            one_line(region.id or "", "The region's id"),
        )
        yield "\t".join(values)
