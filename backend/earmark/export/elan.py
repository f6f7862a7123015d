"""ELAN documents (EAF), in a folder beside ``sounds.csv``: a tier for each control, with its annotator.

ELAN has whole milliseconds: times are rounded, and a shorter region is one millisecond long. Scores and
region ids are lost. Source of the format: "EAF Annotation Format", Max Planck Institute for
Psycholinguistics.
"""

from __future__ import annotations

import mimetypes
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pympi.Elan import Eaf

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.tiers import check_label as check_label
from earmark.export.tiers import read_tier_folder, tier_file_writer, tiers_of
from earmark.export.writers import writing_label_files

SUFFIX = ".eaf"
_MILLISECOND = 0.001
_LING_TYPE = "default-lt"


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write a folder of ELAN documents; see ``FormatModule``."""
    with writing_label_files(path, SUFFIX) as files:
        yield tier_file_writer(files, _write)


def read(path: Path) -> Iterator[ClipRecord]:
    """Read a folder that ``writing`` wrote."""
    return read_tier_folder(path, read_tiers)


def read_tiers(path: Path) -> Iterator[tuple[str, RegionRecord | None]]:
    """Read an ELAN document of any origin: each tier with None first, then with its labels.

    A label's annotator is that of its tier. Annotations without a text are no labels.

    Raises
    ------
    FormatError
        The file is damaged, or an annotation has no time.
    """
    try:
        ElementTree.parse(path)  # the library raises a bare Exception where this raises ParseError
        document = Eaf(str(path), suppress_version_warning=True)
        tiers = {
            name: (
                document.get_annotation_data_for_tier(name),
                document.get_parameters_for_tier(name).get("ANNOTATOR"),
            )
            for name in document.get_tier_names()
        }
        for name, (items, annotator) in tiers.items():
            yield name, None
            for start, end, value, *_ in sorted(items):
                label = str(value or "").strip()
                if label:
                    yield name, RegionRecord(start / 1000, end / 1000, label, annotator=annotator or None)
    except (OSError, ValueError, KeyError, TypeError, ElementTree.ParseError) as error:
        raise FormatError(f"{path} cannot be read as an ELAN document: {error!r}.") from error


def _write(path: Path, record: ClipRecord) -> None:
    document = Eaf(author="Earmark")
    document.remove_tier("default")
    sound = PurePosixPath(record.file_name).name
    kind = mimetypes.guess_type(sound)[0] or "audio/x-wav"
    document.add_linked_file(sound, relpath=f"./{sound}", mimetype=kind)
    # Rounded times may overlap where exact ones do not
    tiers = tiers_of({name: _rounded(group) for name, group in record.regions.items()})
    for name, regions in tiers.items():
        document.add_tier(name or "label", _LING_TYPE, ann=record.annotator)
        for region in regions:
            document.add_annotation(
                name or "label", round(region.start * 1000), round(region.end * 1000), region.label
            )
    document.to_file(str(path))


def _rounded(regions: tuple[RegionRecord, ...]) -> list[RegionRecord]:
    rounded = []
    for region in regions:
        start = round(region.start, 3)
        rounded.append(replace(region, start=start, end=max(round(region.end, 3), start + _MILLISECOND)))
    return rounded
