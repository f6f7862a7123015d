"""Praat's TextGrids, in a folder beside ``sounds.csv``: an interval tier for each control.

A region without length is a point, in a tier of points of its own. Scores and region ids are lost. Source
of the format: Praat's manual, "TextGrid file formats".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import textgrid
from textgrid.exceptions import TextGridError

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.tiers import check_label as check_label
from earmark.export.tiers import read_tier_folder, tier_file_writer, tiers_of
from earmark.export.writers import writing_label_files

SUFFIX = ".TextGrid"
POINTS = " points"
"""Ending of the name of a tier of points."""
_DIGITS = 15
_LEAST_SECONDS = 1.0
"""Extent of a TextGrid without a region, of a sound of unknown length: it cannot be 0."""


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write a folder of TextGrids; see ``FormatModule``."""
    with writing_label_files(path, SUFFIX) as files:
        yield tier_file_writer(files, _write)


def read(path: Path) -> Iterator[ClipRecord]:
    """Read a folder that ``writing`` wrote."""
    return read_tier_folder(path, _own_tiers)


def read_tiers(path: Path) -> Iterator[tuple[str, RegionRecord | None]]:
    """Read a TextGrid of any origin, long or short: each tier with None first, then with its labels.

    Intervals without a mark are no labels.

    Raises
    ------
    FormatError
        The file is damaged.
    """
    grid = textgrid.TextGrid()
    try:
        grid.read(str(path), round_digits=_DIGITS)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, TextGridError) as error:
        raise FormatError(f"{path} cannot be read as a TextGrid: {error}.") from error
    for tier in grid.tiers:
        name = str(tier.name)
        yield name, None
        for item in tier:
            mark = str(item.mark or "").strip()
            if not mark:
                continue
            if isinstance(item, textgrid.Point):
                yield name, RegionRecord(float(item.time), float(item.time), mark)
            else:
                yield name, RegionRecord(float(item.minTime), float(item.maxTime), mark)


def _own_tiers(path: Path) -> Iterator[tuple[str, RegionRecord | None]]:
    for name, region in read_tiers(path):
        yield name.removesuffix(POINTS), region


def _write(path: Path, record: ClipRecord) -> None:
    tiers = tiers_of(record.regions)
    ends = [region.end for group in tiers.values() for region in group]
    extent = max([record.duration or 0.0, *ends]) or _LEAST_SECONDS
    grid = textgrid.TextGrid(minTime=0.0, maxTime=extent)
    for name, regions in tiers.items():
        intervals = textgrid.IntervalTier(name, 0.0, extent)
        points = textgrid.PointTier(f"{name}{POINTS}", 0.0, extent)
        for region in regions:
            if region.start == region.end:
                points.add(region.start, region.label)
            else:
                intervals.add(region.start, region.end, region.label)
        grid.append(intervals)
        if len(points):
            grid.append(points)
    with path.open("w", encoding="utf-8") as file:
        grid.write(file)
