"""JSON Lines format, lossless: one ``ClipRecord`` a line with all of its fields.

A line is one JSON object in UTF-8: ``earmark_clip`` (the version of this format, 1) and the fields of
``ClipRecord`` under their own names; empty fields may be absent. ``regions`` is an object of
lists of objects with the fields of ``RegionRecord``, ``annotated`` a list of those of ``AnnotatedSpan``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from earmark.errors import FormatError
from earmark.export.formats import Add
from earmark.export.records import AnnotatedSpan, ClipRecord, RegionRecord
from earmark.export.writers import writing_text

FORMAT_VERSION = 1
VERSION_KEY = "earmark_clip"


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write a file of JSON Lines; see ``FormatModule``."""
    with writing_text(path) as file:

        def add(records: Sequence[ClipRecord]) -> int:
            lines = [line_of(record) for record in records]
            file.writelines(f"{line}\n" for line in lines)
            return len(lines)

        yield add


def check_label(label: str) -> None:
    """Accept any label."""


def read(path: Path) -> Iterator[ClipRecord]:
    """Read the records of a file, one at a time.

    Raises
    ------
    FormatError
        The file cannot be read, or a line is no such record; the message contains the line number.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield record_of_line(line)
                    except FormatError as error:
                        raise FormatError(f"{path}, line {number}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as UTF-8 JSON Lines: {error}.") from error


def line_of(record: ClipRecord) -> str:
    """Return a record as one line of JSON, without the line end.

    Raises
    ------
    FormatError
        A time or score is not finite, which JSON cannot hold.
    """
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    values["regions"] = {
        control: [_region_values(region) for region in regions] for control, regions in record.regions.items()
    }
    values["annotated"] = [span_values(span) for span in record.annotated] or None
    for name in ("data", "tags", "tag_scores"):
        values[name] = dict(values[name])
    values = {VERSION_KEY: FORMAT_VERSION, **_without_none(values)}
    try:
        line = json.dumps(values, ensure_ascii=False, allow_nan=False)
        # A lone surrogate cannot be encoded in UTF-8, but JSON can escape it
        return line if _is_encodable(line) else json.dumps(values, allow_nan=False)
    except ValueError as error:
        raise FormatError(f"{record.file_name}: JSON has no place for it ({error}).") from error


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def record_of_line(line: str) -> ClipRecord:
    """Parse a line into a record; raises ``FormatError`` as ``record_of`` does, and for invalid JSON."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"this is no JSON ({error}).") from error
    return record_of(content)


def record_of(line: object) -> ClipRecord:
    """Convert the parsed JSON of a line to a record.

    Raises
    ------
    FormatError
        It is no record, or has a later version of this format.
    """
    if not isinstance(line, dict) or VERSION_KEY not in line:
        raise FormatError(f'this is no clip of an export: it has no "{VERSION_KEY}".')
    if line[VERSION_KEY] != FORMAT_VERSION:
        raise FormatError(f"version {line[VERSION_KEY]} of this format is not known here: update Earmark.")
    source = line.get("source", "annotation")
    if source not in ("annotation", "prediction"):
        raise FormatError(f'"source" is {source!r}, not annotation or prediction.')
    return ClipRecord(
        file_name=_text(line, "file_name") or "",
        sound=_text(line, "sound") or "",
        task_id=_whole(line, "task_id"),
        data=_object(line, "data"),
        duration=_number(line, "duration"),
        tags=_tags(line),
        tag_scores={
            control: score
            for control, score in _object(line, "tag_scores").items()
            if _number({control: score}, control) is not None
        },
        regions={
            control: tuple(_region(region, control) for region in _list(regions, control))
            for control, regions in _object(line, "regions").items()
        },
        source=source,
        version=_text(line, "version"),
        annotator=_text(line, "annotator"),
        ground_truth=line.get("ground_truth") is True,
        id=_whole(line, "id"),
        annotated=spans_of(line.get("annotated", [])),
    )


def span_values(span: AnnotatedSpan) -> dict[str, Any]:
    """Return the fields of an annotated part; without ``end`` it lasts to the end of the sound."""
    values = _without_none(asdict(span))
    return {name: value for name, value in values.items() if name != "end" or math.isfinite(span.end)}


def spans_of(values: object) -> tuple[AnnotatedSpan, ...]:
    """Convert a list of what `span_values` returns to annotated parts; raises ``FormatError`` for others."""
    return tuple(_span(value) for value in _list(values, "annotated"))


def _span(span: object) -> AnnotatedSpan:
    if not isinstance(span, dict):
        raise FormatError('a part of "annotated" is no object.')
    start, end = _number(span, "start"), _number(span, "end")
    if start is None:
        raise FormatError('a part of "annotated" lacks start.')
    end = math.inf if end is None else end
    return AnnotatedSpan(start, end, _text(span, "annotator"), _tags(span) if "tags" in span else None)


def _tags(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {control: _texts(labels, control) for control, labels in _object(values, "tags").items()}


def _region(region: object, control: str) -> RegionRecord:
    if not isinstance(region, dict):
        raise FormatError(f'a region of "{control}" is no object.')
    start, end, label = _number(region, "start"), _number(region, "end"), _text(region, "label")
    if start is None or end is None or label is None:
        raise FormatError(f'a region of "{control}" lacks start, end or label.')
    score, annotator = _number(region, "score"), _text(region, "annotator")
    return RegionRecord(start, end, label, score, annotator, _text(region, "id"))


def _region_values(region: RegionRecord) -> dict[str, Any]:
    """Return a region's fields; that its label is denied, the label says."""
    return {name: value for name, value in _without_none(asdict(region)).items() if name != "is_denied"}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise FormatError(f'"{name}" is {value!r}, not text.')
    return value


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise FormatError(f'"{name}" is {value!r}, not a number.')


def _whole(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise FormatError(f'"{name}" is {value!r}, not a whole number.')
    return value


def _object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise FormatError(f'"{name}" is {value!r}, not an object.')
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(f'"{name}" is {value!r}, not a list.')
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    labels = _list(value, name)
    if not all(isinstance(label, str) for label in labels):
        raise FormatError(f'"{name}" has a label that is not text.')
    return tuple(labels)
