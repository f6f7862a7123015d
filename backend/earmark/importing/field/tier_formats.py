"""Readers of formats with tiers: Praat's TextGrid, ELAN and JAMS, each by the library of its field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.export.formats import FORMATS
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.field.label_rows import LabelRow

_LONE_TIERS = frozenset({"", "default", "label", "labels", "annotation", "annotations"})
"""Names of a tier that say no more than that it has labels."""


def textgrid_rows(path: Path) -> list[LabelRow]:
    """Read a TextGrid.

    Raises
    ------
    FormatError
        The file is damaged.
    MissingExtraError
        The library ``textgrid`` is not installed.
    """
    FORMATS["textgrid"].check_installed()
    from earmark.export import textgrid_files

    return _rows(textgrid_files.read_tiers(path))


def elan_rows(path: Path) -> list[LabelRow]:
    """Read an ELAN document; raises like ``textgrid_rows``."""
    FORMATS["elan"].check_installed()
    from earmark.export import elan

    return _rows(elan.read_tiers(path))


def jams_records(path: Path) -> list[ClipRecord]:
    """Read the tags and segments of a JAMS file; raises like ``textgrid_rows``."""
    FORMATS["jams"].check_installed()
    from earmark.export import jams_files

    def named(values: Mapping[str, Any]) -> dict[str, Any]:
        lone = (jams_files.REGIONS, jams_files.TAGS)
        return {"" if name in lone else name: value for name, value in values.items()}

    return [
        replace(
            record,
            regions=named(record.regions),
            tags=named(record.tags),
            tag_scores=named(record.tag_scores),
        )
        for record in jams_files.read_file(path)
    ]


def _rows(tiers: Iterator[tuple[str, RegionRecord | None]]) -> list[LabelRow]:
    rows = []
    for tier, region in tiers:
        if region is not None:
            control = "" if tier.strip().lower() in _LONE_TIERS else tier.strip()
            rows.append(
                LabelRow(region.label, region.start, region.end, control=control, annotator=region.annotator)
            )
    return rows
