"""Labels of a file without a header of columns, and their grouping by sound and annotator."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from earmark.errors import FormatError
from earmark.export.records import ClipRecord, RegionRecord, Source
from earmark.importing.models import Listed

BESIDE = ""
"""File name of labels whose file does not name a sound: they are of the recording beside it."""


@dataclass(frozen=True)
class LabelRow:
    """One label: a region from ``start`` to ``end`` in seconds, or without them a tag of the whole sound.

    A ``label`` of None says that the sound was annotated and holds nothing; an empty one is a region that
    was not named, which leaves open what sounds there. ``control`` is the tier or track.
    """

    label: str | None
    start: float | None = None
    end: float | None = None
    file: str = BESIDE
    score: float | None = None
    annotator: str | None = None
    control: str = ""


def grouped(
    rows: Iterable[LabelRow], source: Source = "annotation", version: str | None = None
) -> list[tuple[str, Listed]]:
    """Group rows into one listed sound for each file, with a record for each of its annotators."""
    files: dict[str, dict[str | None, dict[str, list[LabelRow]]]] = {}
    for row in rows:
        controls = files.setdefault(row.file, {}).setdefault(row.annotator, {})
        controls.setdefault(row.control, []).append(row)
    listed = []
    for name, annotators in files.items():
        records = []
        for annotator, controls in annotators.items():
            tags: dict[str, tuple[str, ...]] = {}
            scores: dict[str, float] = {}
            regions: dict[str, tuple[RegionRecord, ...]] = {}
            for control, group in controls.items():
                labels = [row for row in group if row.label]
                if not labels and all(row.label is not None for row in group):
                    continue  # regions without a name do not mean that nothing sounds
                # What was not named leaves its time open, but only beside labels is there an annotation
                named = group if source == "annotation" else labels
                timed = [row for row in named if row.start is not None and row.label is not None]
                untimed = [row for row in labels if row.start is None]
                if untimed:
                    tags[control] = tuple(dict.fromkeys(str(row.label) for row in untimed))
                    scored = [row.score for row in untimed if row.score is not None]
                    scores |= {control: min(scored)} if scored else {}
                if timed or not untimed:
                    regions[control] = tuple(_region(row) for row in timed)
            record = ClipRecord(
                name, tags=tags, tag_scores=scores, regions=regions,
                source=source, version=version, annotator=annotator,
            )  # fmt: skip
            records += [record] if tags or regions else []
        listed.append((name, Listed(None, name, tuple(records))))
    return listed


def _region(row: LabelRow) -> RegionRecord:
    start, end = row.start or 0.0, row.end or 0.0
    return RegionRecord(start, end, str(row.label), row.score, row.annotator)


def times(start: str, end: str, where: str) -> tuple[float, float]:
    """Parse the start and end of a region.

    Raises
    ------
    FormatError
        One is no finite number, the start is negative, or the end is before it.
    """
    first, last = seconds(start, where), seconds(end, where)
    if first < 0 or last < first:
        raise FormatError(f"{where}: a region must end after it starts, not {start} to {end}.")
    return first, last


def seconds(text: str, where: str) -> float:
    """Parse a finite number; raises ``FormatError`` for any other text."""
    number = number_or_none(text)
    if number is None:
        raise FormatError(f"{where}: {text!r} is no number.")
    return number


def number_or_none(text: str) -> float | None:
    """Parse a finite number, or return None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def text_lines(path: Path) -> list[str]:
    """Return the lines of a text file in UTF-8, or in UTF-16 with a byte order mark.

    Raises
    ------
    FormatError
        The file cannot be read, or is no such text.
    """
    try:
        content = path.read_bytes()
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if utf16 else "utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is no text in UTF-8: save it in that encoding ({error}).") from error
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error}.") from error
