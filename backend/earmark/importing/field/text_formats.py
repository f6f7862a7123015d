"""Readers of text formats: Audacity label tracks, DCASE's event lists, RTTM, Raven's selection tables.

Sources: Audacity's manual ("Importing and Exporting Labels"), DCASE's and sed_eval's descriptions of event
lists, Raven Pro's manual (selection tables).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from earmark.errors import FormatError
from earmark.export import rttm
from earmark.export.closed_quotes import check_closed
from earmark.importing.field.label_rows import LabelRow, number_or_none, seconds, text_lines, times
from earmark.importing.folders import AUDIO_EXTENSIONS

RAVEN_TIMES = ("Begin Time (s)", "End Time (s)")
RAVEN_LABELS = (
    *("Annotation", "annotation", "Annotations", "Common Name", "Species", "species", "Label", "label"),
    *("Tags", "Call Type", "Type", "Class", "Notes"),
)
_RAVEN_SCORES = ("Score", "Confidence", "score", "confidence")

_BIRDNET_NAMES = re.compile(r"[A-Z][a-z]+ [a-z-]+(?:_|, )(?P<common>.+)")


def audacity_rows(path: Path) -> Iterator[LabelRow]:
    """Read a label track: start, end and label, with tabs between them.

    A fourth cell that is a number from 0 to 1 is a score, as BirdNET-Analyzer writes it beside the
    scientific and the common name, of which the latter is the label. Lines that begin with a backslash,
    the frequencies of a spectral selection, are skipped.

    Raises
    ------
    FormatError
        The file cannot be read, or a line is no label.
    """
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip() or line.startswith("\\"):
            continue
        cells = line.split("\t")
        if len(cells) < 2:
            raise FormatError(f"{path}, line {number}: a label needs start, end and text, with tabs.")
        start, end = times(cells[0], cells[1], f"{path}, line {number}")
        score = number_or_none(cells[3]) if len(cells) == 4 else None
        if score is not None and not 0 <= score <= 1:
            score = None
        label = "\t".join(cells[2:] if score is None else cells[2:3]).strip()
        both_names = _BIRDNET_NAMES.fullmatch(label) if score is not None else None
        label = both_names["common"] if both_names else label
        yield LabelRow(label, start, end, score=score)


def event_rows(path: Path) -> Iterator[LabelRow]:
    """Read an event list without a header, as DCASE and sed_eval have it.

    A line is ``file, onset, offset, label`` (strong), ``file, label[,label…]`` (weak), ``file`` alone (an
    annotated sound without an event) or ``onset, offset, label`` of the recording beside the list; older
    lists have a scene after the file. Cells are separated by tabs, else by commas.

    Raises
    ------
    FormatError
        The file cannot be read, or a line is none of these.
    """
    lines = text_lines(path)
    delimiter = "\t" if any("\t" in line for line in lines) else ","
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            check_closed([line], number, delimiter=delimiter, skipinitialspace=True)
            cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error as error:
            raise FormatError(f"{path} cannot be read as a list of events: {error}.") from error
        cells = [cell.strip() for cell in cells]
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        if number_or_none(cells[0]) is not None and len(cells) >= 3:
            start, end = times(cells[0], cells[1], where)
            yield LabelRow(cells[2], start, end)
        elif len(cells) >= 4 and number_or_none(cells[-3]) is not None:
            start, end = times(cells[-3], cells[-2], where)
            yield LabelRow(cells[-1], start, end, cells[0])
        elif len(cells) == 1:
            yield LabelRow(None, file=cells[0])
        elif len(cells) == 2 or delimiter == ",":
            labels = [part.strip() for cell in cells[1:] for part in cell.split(",")]
            yield from (LabelRow(label, file=cells[0]) for label in labels if label)
        else:
            raise FormatError(f"{where}: this is no event: it must be file, onset, offset and label.")


def rttm_rows(path: Path) -> Iterator[LabelRow]:
    """Read the segments of an RTTM file; raises ``FormatError`` as ``rttm.read_segments`` does."""
    for name, region in rttm.read_segments(path):
        score = region.score if region.score is not None and 0 <= region.score <= 1 else None
        yield LabelRow(region.label, region.start, region.end, name, score)


def raven_rows(
    path: Path, label_column: str | None = None, score_column: str | None = None
) -> list[LabelRow]:
    """Read a Raven selection table of one recording or many.

    Rows of a second view of a selection (waveform beside spectrogram) are skipped. Times of a table over
    several files are those in each file: ``File Offset (s)`` gives the start, ``Begin Path`` or
    ``Begin File`` the recording.

    Raises
    ------
    FormatError
        The file cannot be read, lacks a column, a time is no number, or several files lack their offsets.
    """
    rows = csv.DictReader(text_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = list(rows.fieldnames or ())
    label = label_column or next((name for name in RAVEN_LABELS if name in columns), None)
    missing = [name for name in (*RAVEN_TIMES, label or "a label") if name not in columns]
    if label is None or missing:
        raise FormatError(
            f"{path} is no selection table with labels: it lacks {', '.join(missing)} (it has "
            f"{', '.join(columns)}); --labels-column names the one with the labels."
        )
    score = score_column or next((name for name in _RAVEN_SCORES if name in columns), None)
    seen: set[tuple[str, ...]] = set()
    result, files = [], set()
    offsets = "File Offset (s)" in columns
    for number, row in enumerate(rows, 2):
        where = f"{path}, line {number}"
        cells = {name: (value or "").strip() for name, value in row.items() if isinstance(value, str)}
        file = cells.get("Begin Path") or cells.get("Begin File") or ""
        start, end = times(cells.get(RAVEN_TIMES[0], ""), cells.get(RAVEN_TIMES[1], ""), where)
        key = (cells.get("Selection", str(number)), file, repr(start), repr(end))
        if key in seen:
            continue
        seen.add(key)
        files.add(file)
        if offsets:
            offset = seconds(cells.get("File Offset (s)", ""), where)
            start, end = offset, round(offset + end - start, 9)
        # BirdNET-Analyzer writes such a row where it found nothing.
        text = cells.get(label, "")
        empty = text.lower() in ("nocall", "no call")
        confidence = number_or_none(cells.get(score, "")) if score else None
        if confidence is not None and not 0 <= confidence <= 1:
            confidence = None
        annotator = cells.get("Annotator") or None
        name = file.replace("\\", "/")
        row_found = LabelRow(text, start, end, name, confidence, annotator)
        result.append(LabelRow(None, file=name) if empty else row_found)
    if len(files) > 1 and not offsets:
        raise FormatError(
            f"{path} is over {len(files)} files without a column File Offset (s), so its times cannot be "
            "placed in them: add that measurement in Raven and save the table again."
        )
    return result


def looks_like_audio(name: str) -> bool:
    """Whether a cell is the name of an audio file."""
    return Path(name.strip()).suffix.lower() in AUDIO_EXTENSIONS
