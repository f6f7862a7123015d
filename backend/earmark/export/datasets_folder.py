"""A folder that Hugging Face's ``datasets`` loads as ``audiofolder``: the sounds, and ``metadata.csv``.

A row for each sound: ``file_name`` (relative to the folder), ``labels`` and ``events`` as JSON, and the
fields of the task. ``labels`` is the list of all labels; an event has ``start``, ``end``, ``label``, and
``score`` and ``annotator`` where there are any. ``annotated`` has the parts that were annotated, by whom, as
in JSON Lines. Times are of the task's own sound: cut recordings stay cut.
Source of the format: the documentation of ``datasets``, "AudioFolder".
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.audio.addresses import safe_suffix
from earmark.errors import TaskError
from earmark.export.annotated import annotated_spans
from earmark.export.csv_table import DATA_PREFIX
from earmark.export.field_types import field_value
from earmark.export.formats import Add
from earmark.export.jsonl import span_values
from earmark.export.records import ClipRecord, expansion_of, scaled
from earmark.export.writers import METADATA, FileNames, storable, writing_folder

Locate = Callable[[str], Path]
"""Maps the address of a task's sound to a local file; raises ``EarmarkError``."""

COLUMNS = ("file_name", "labels", "events", "annotators", "duration", "task_id")
ANNOTATED = "annotated"
"""Column that older exports lack."""
_TAKEN = frozenset({*COLUMNS, ANNOTATED, "audio"})
"""Columns of ours, and the one that ``datasets`` makes of ``file_name``."""


@contextmanager
def writing(path: Path, locate: Locate) -> Iterator[Add]:
    """Write the folder atomically: it appears when the context ends without an error."""
    with writing_folder(path) as folder:
        names, rows = FileNames(folder, (METADATA,)), list[dict[str, Any]]()

        def add(records: Sequence[ClipRecord]) -> int:
            first = records[0]
            if not first.sound.strip():
                raise TaskError("The task has no address of a sound to copy: set its Audio field.")
            row = _row(records)
            storable("".join(map(str, row.values())), "A text")
            source = locate(first.sound.strip())
            suffix = source.suffix or safe_suffix(first.sound)
            target = names.new_path(first.file_name, suffix)
            shutil.copyfile(source, target)
            rows.append({"file_name": target.relative_to(folder).as_posix(), **row})
            return 1

        yield add
        columns = dict.fromkeys(COLUMNS) | dict.fromkeys(name for row in rows for name in row)
        with (folder / METADATA).open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(columns), restval="")
            table.writeheader()
            table.writerows(rows)


def _row(records: Sequence[ClipRecord]) -> dict[str, Any]:
    records = [scaled(record, expansion_of(record.data)) for record in records]  # times of the copied file
    first = records[0]
    labels: dict[str, None] = {}
    events = []
    for record in records:
        for tags in record.tags.values():
            labels.update(dict.fromkeys(tags))
        for region in (region for group in record.regions.values() for region in group):
            labels[region.label] = None
            event: dict[str, Any] = {"start": region.start, "end": region.end, "label": region.label}
            event |= {} if region.score is None else {"score": region.score}
            annotator = region.annotator or record.annotator
            events.append(event | ({"annotator": annotator} if annotator else {}))
    annotators = dict.fromkeys(record.annotator for record in records if record.annotator)
    fields = {
        (DATA_PREFIX + name if name in _TAKEN else name): field_value(value, "text")
        for name, value in first.data.items()
        if value != first.sound
    }
    spans = [
        replace(span, annotator=span.annotator or record.annotator, tags=None)
        for record in records
        if record.regions or record.tags  # an annotation that answers no control says nothing
        for span in annotated_spans(record)
    ]
    return {
        "labels": json.dumps(list(labels), ensure_ascii=False),
        "events": json.dumps(events, ensure_ascii=False),
        "annotators": ", ".join(annotators),
        "duration": "" if first.duration is None else first.duration,
        "task_id": "" if first.task_id is None else first.task_id,
        ANNOTATED: json.dumps([span_values(span) for span in spans], ensure_ascii=False),
        **fields,
    }
