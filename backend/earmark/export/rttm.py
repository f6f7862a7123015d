"""RTTM: ``SPEAKER file 1 onset duration <NA> <NA> label score <NA>``, a line for each region.

Cells are separated by spaces, so white space in names and labels is written as an underscore. A sound that
was annotated without a region has no line, and is in ``annotated.csv`` alone. Annotators, tags and controls
are lost. Source: NIST, "Rich Transcription 2009 evaluation plan", appendix A.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from earmark.errors import FormatError
from earmark.export import annotated
from earmark.export.formats import Add
from earmark.export.label_tracks import number
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.writers import UniqueNames, one_line, seconds_text, writing_text

_CELLS = 9
_NOTHING = "<NA>"


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write the file; see ``FormatModule``. Two sounds of one name cannot both be in it."""
    with writing_text(path) as file, annotated.writing(path) as spans:
        names = UniqueNames()

        def add(records: Sequence[ClipRecord]) -> int:
            with_regions = [record for record in records if record.regions]
            if not with_regions:
                return 0
            name = name_of(with_regions[0].file_name)
            regions = [r for record in with_regions for group in record.regions.values() for r in group]
            lines = [_line(name, region) for region in sorted(regions, key=lambda region: region.start)]
            names.add(name)
            file.writelines(f"{line}\n" for line in lines)
            spans.add(with_regions)
            return len(lines)

        yield add


def name_of(file_name: str) -> str:
    """Return a sound's name in RTTM: without extension, with underscores for spaces."""
    return _cell(str(PurePosixPath(file_name).with_suffix("")), "The file name")


def check_label(label: str) -> None:
    """Raise ``FormatError`` for a label that the format has no place for."""
    _cell(label, "The label")


def read(path: Path, control: str = "label") -> Iterator[ClipRecord]:
    """Read the segments of a file of any origin, by sound.

    Raises
    ------
    FormatError
        The file cannot be read, or a segment is damaged.
    """
    by_name: dict[str, list[RegionRecord]] = {}
    for name, region in read_segments(path):
        by_name.setdefault(name, []).append(region)
    for name, regions in by_name.items():
        yield ClipRecord(name, regions={control: tuple(regions)})


def read_segments(path: Path) -> Iterator[tuple[str, RegionRecord]]:
    """Yield the name of the sound and the region of each ``SPEAKER`` line; raises like ``read``."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line_number, line in enumerate(file, 1):
                cells, where = line.split(), f"{path}, line {line_number}"
                if not cells or cells[0].startswith(";;"):
                    continue
                if not re.fullmatch(r"[A-Z_-]+", cells[0]) or len(cells) < _CELLS - 1:
                    raise FormatError(f"{where}: this is no line of RTTM.")
                if cells[0] != "SPEAKER":
                    continue
                start, length = number(cells[3], where), number(cells[4], where)
                if start < 0 or length < 0:
                    raise FormatError(f"{where}: a region must end after it starts.")
                score = None if len(cells) < _CELLS or cells[8] == _NOTHING else number(cells[8], where)
                score = score if score is None or 0 <= score <= 1 else None
                end = round(start + length, 9)
                yield cells[1], RegionRecord(start, end, cells[7], score)
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as RTTM: {error}.") from error


def _line(name: str, region: RegionRecord) -> str:
    score = _NOTHING if region.score is None else seconds_text(region.score)
    length = seconds_text(round(max(0.0, region.end - region.start), 9))
    label = _cell(region.label, "The label")
    times = f"{seconds_text(region.start)} {length}"
    return f"SPEAKER {name} 1 {times} {_NOTHING} {_NOTHING} {label} {score} {_NOTHING}"


def _cell(text: str, what: str) -> str:
    cell = re.sub(r"\s+", "_", one_line(text, what).strip())
    if not cell:
        raise FormatError(f"{what} {text!r} is empty, and RTTM separates its cells by spaces.")
    return cell
