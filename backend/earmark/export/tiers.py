"""Shared code of formats with tiers in which intervals must not overlap: TextGrid and ELAN.

One file for each sound and annotator. Regions of a control that overlap go to further tiers, whose names
end with a number: ``label``, ``label (2)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.writers import LabelFiles, one_line, read_index, storable

Tiers = dict[str, list[RegionRecord]]
_NUMBERED = re.compile(r"(?P<name>.*) \(\d+\)", re.DOTALL)


def tier_file_writer(files: LabelFiles, write: Callable[[Path, ClipRecord], None]) -> Add:
    """Return a function that writes each record of a sound to a file of its own by ``write``."""

    def add(records: Sequence[ClipRecord]) -> int:
        with_regions = [record for record in records if record.regions]
        for record in with_regions:
            storable(record.file_name + record.sound + (record.annotator or ""), "The name")
            for region in (region for group in record.regions.values() for region in group):
                check_label(region.label)
        for record in with_regions:
            distinction = (record.annotator or f"{record.id or ''}") if len(records) > 1 else ""
            path = files.new_path(record, distinction)
            write(path, record)
            files.add_to_index(path, record)
        files.annotated.add(with_regions)
        return sum(len(group) for record in with_regions for group in record.regions.values())

    return add


def check_label(label: str) -> None:
    """Raise ``FormatError`` for a label that these formats have no place for."""
    if one_line(label, "The label") != label.strip() or not label:
        raise FormatError(f"The label {label!r} begins or ends with a space: use csv or jsonl.")


def tiers_of(regions: Mapping[str, Sequence[RegionRecord]]) -> Tiers:
    """Distribute the regions of each control over as many tiers as overlap."""
    tiers: Tiers = {}
    for control, group in regions.items():
        lanes: list[list[RegionRecord]] = [[]]
        for region in sorted(group, key=lambda region: (region.start, region.end)):
            # Two points of one time do not fit in one tier, either.
            free = (
                lane
                for lane in lanes
                if not lane or (lane[-1].end <= region.start and lane[-1].start < region.start)
            )
            lane = next(free, None)
            if lane is None:
                lane = []
                lanes.append(lane)
            lane.append(region)
        for number, lane in enumerate(lanes, 1):
            tiers[control if number == 1 else f"{control} ({number})"] = lane
    return tiers


def control_of(tier: str) -> str:
    """Return the control of a tier: its name without the number of a further tier."""
    match = _NUMBERED.fullmatch(tier)
    return match["name"] if match else tier


def read_tier_folder(
    folder: Path, read_file: Callable[[Path], Iterator[tuple[str, RegionRecord | None]]]
) -> Iterator[ClipRecord]:
    """Read a folder by its index; ``read_file`` yields each tier with None, then with its regions."""
    for entry in read_index(folder):
        regions: dict[str, list[RegionRecord]] = {}
        for tier, region in read_file(entry.path):
            group = regions.setdefault(control_of(tier), [])
            if region is not None:
                group.append(replace(region, annotator=entry.record.annotator))
        ordered = {
            name: tuple(sorted(group, key=lambda region: (region.start, region.end, region.label)))
            for name, group in regions.items()
        }
        yield replace(entry.record, regions=ordered)
