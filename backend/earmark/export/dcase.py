"""DCASE's strong labels: ``filename <tab> onset <tab> offset <tab> event_label`` with a header, in seconds.

As in DESED and DCASE's Task 4; sed_eval (through dcase_util) and pandas read it. A sound that was
annotated without a region is a line with its name only. Annotators, tags, scores and controls are lost.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from earmark.errors import FormatError
from earmark.export import annotated
from earmark.export.closed_quotes import ClosedRows
from earmark.export.formats import Add
from earmark.export.label_tracks import number
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.writers import UniqueNames, one_line, seconds_text, writing_text

HEADER = ("filename", "onset", "offset", "event_label")


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write the table; see ``FormatModule``. Two sounds of one name cannot both be in it."""
    with writing_text(path) as file, annotated.writing(path) as spans:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(HEADER)
        names = UniqueNames()

        def add(records: Sequence[ClipRecord]) -> int:
            with_regions = [record for record in records if record.regions]
            if not with_regions:
                return 0
            name = one_line(with_regions[0].file_name, "The file name")
            rows = [
                (name, seconds_text(region.start), seconds_text(region.end), _label(region))
                for record in with_regions
                for regions in record.regions.values()
                for region in regions
            ]
            names.add(name)
            table.writerows(rows or [(name, "", "", "")])
            spans.add(with_regions)
            return len(rows)

        yield add


def check_label(label: str) -> None:
    """Raise ``FormatError`` for a label that the format has no place for."""
    one_line(label, "The label")


def read(path: Path, control: str = "label") -> Iterator[ClipRecord]:
    """Read a table of this format, of any origin; a sound's lines need not be consecutive.

    Parameters
    ----------
    control
        Name of the control for the records' regions.

    Raises
    ------
    FormatError
        The file cannot be read, lacks a column, or a time is no number.
    """
    regions_by_name: dict[str, list[RegionRecord]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = ClosedRows(file, delimiter="\t")
            if not set(HEADER) <= set(rows.fieldnames or ()):
                raise FormatError(f"{path} is no list of events: its first line must be {' '.join(HEADER)}.")
            for row in rows:
                where = f"{path}, line {rows.line}"
                regions = regions_by_name.setdefault(row["filename"] or "", [])
                if row["onset"] or row["offset"] or row["event_label"]:
                    onset, offset = number(row["onset"] or "", where), number(row["offset"] or "", where)
                    regions.append(RegionRecord(onset, offset, row["event_label"] or ""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} cannot be read as a list of events: {error}.") from error
    for name, regions in regions_by_name.items():
        yield ClipRecord(name, regions={control: tuple(regions)})


def _label(region: RegionRecord) -> str:
    return one_line(region.label, "The label")
