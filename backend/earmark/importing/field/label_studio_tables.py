"""Label Studio's CSV and TSV exports: a row for each annotation, with its labels as JSON in a cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from earmark.errors import ConfigurationError, FormatError
from earmark.export.label_studio import file_name_of
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.field.label_rows import number_or_none
from earmark.importing.field.text_formats import looks_like_audio
from earmark.importing.models import OWN_FIELDS, Listed
from earmark.importing.table_columns import Columns
from earmark.importing.table_files import csv_rows
from earmark.importing.table_rows import numeric_fields, with_numbers

_NEEDS = frozenset({"annotation_id", "annotator", "lead_time", "updated_at"})
_META = _NEEDS | {"id", "created_at", "agreement", "history"}


def has_columns(names: Iterable[str]) -> bool:
    """Whether these are columns of Label Studio's CSV export."""
    return set(names) >= _NEEDS


def list_table(
    path: Path, columns: Columns, say: Callable[[str], None] = lambda sentence: None
) -> list[tuple[str, Listed]]:
    """List the sounds of an export, with a record for each annotation.

    A column is a control where a cell holds regions or several choices. A column with one choice in each
    row looks like a field of the task: ``--labels-column`` names it.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or no column has the address of a sound.
    FormatError
        A region has no usable times.
    """
    with csv_rows(path) as reader:
        names = [name for name in reader.fieldnames or () if name]
        lines = [(reader.line, {name: row.get(name) or "" for name in names}) for row in reader]
    rows = [row for _, row in lines]
    audio = columns.file or next(
        (
            name
            for name in names
            if name not in OWN_FIELDS | {"source"} and any(looks_like_audio(_path(row[name])) for row in rows)
        ),
        None,
    )
    if audio is None or audio not in names:
        raise ConfigurationError(f"No column of {path} has the address of a sound: name it by --file-column.")
    labels = {columns.labels} if columns.labels else set()
    controls = [
        name for name in names if name in labels or any(_parsed(row[name]) is not None for row in rows)
    ]
    numeric = numeric_fields({k: v for k, v in row.items() if v} for row in rows)
    sounds: dict[str, tuple[str, str, dict[str, Any], list[ClipRecord]]] = {}
    for line, row in lines:
        address = row[audio]
        if not address:
            continue
        fields = {
            name: value
            for name, value in row.items()
            if value and name not in _META | OWN_FIELDS | {audio, *controls}
        }
        name = file_name_of(row, address)
        key = row.get("id") or address
        record = _record(name, row, controls, labels, f"{path}, line {line}")
        sounds.setdefault(key, (name, address, with_numbers(fields, numeric), []))[3].append(record)
    left = [name for name in names if name not in {*_META, *OWN_FIELDS, audio, *controls}]
    if left and not columns.labels:
        say(
            f"{', '.join(left)} in {path.name} come in as fields of the tasks; if one is a control with one "
            "choice, name it by --labels-column."
        )
    return [
        (name, Listed(None, name, tuple(records), fields, None, address))
        for name, address, fields, records in sounds.values()
    ]


def _record(
    name: str, row: Mapping[str, str], controls: Iterable[str], labels: set[str], where: str
) -> ClipRecord:
    regions: dict[str, tuple[RegionRecord, ...]] = {}
    tags: dict[str, tuple[str, ...]] = {}
    annotator = row.get("annotator") or None
    for control in controls:
        content = _parsed(row[control])
        if content is None:
            if row[control] and control in labels:
                tags[control] = (row[control],)
            continue
        spans: list[RegionRecord] = []
        for item in content:
            if item.get("choices") is not None:
                tags[control] = (*tags.get(control, ()), *_texts(item["choices"]))
            elif "start" in item and "end" in item:
                names, (start, end) = _texts(item.get("labels")), _times(item, where)
                identity = str(item.get("id") or len(spans)) if len(names) > 1 else None
                spans += [RegionRecord(start, end, label, None, annotator, identity) for label in names]
        if spans:
            regions[control] = tuple(spans)
    return ClipRecord(name, tags=tags, regions=regions, annotator=annotator)


def _texts(value: object) -> list[str]:
    """Return labels or choices of a result: a list, or a single one."""
    return [str(text) for text in value] if isinstance(value, list) else [str(value)] if value else []


def _times(item: Mapping[str, Any], where: str) -> tuple[float, float]:
    """Return start and end of a region in seconds; an editor's start may be slightly before 0."""
    start, end = number_or_none(str(item["start"])), number_or_none(str(item["end"]))
    if start is None or end is None or end < start:
        raise FormatError(
            f"{where}: a region must end after it starts, not {item['start']} to {item['end']}: correct it "
            "in Label Studio and export again."
        )
    return max(0.0, start), max(0.0, end)


def _parsed(cell: str) -> list[dict[str, Any]] | None:
    """Return the results in a cell; None where it holds none."""
    if not cell.startswith(("[{", "{")):
        return None
    try:
        content = json.loads(cell)
    except ValueError:
        return None
    items = content if isinstance(content, list) else [content]
    fits = all(
        isinstance(item, dict) and ("choices" in item or ("start" in item and "labels" in item))
        for item in items
    )
    return items if items and fits else None


def _path(address: str) -> str:
    return address.partition("?d=")[2] or address.partition("?")[0]
