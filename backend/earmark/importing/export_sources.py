"""The sounds of an earlier export: Label Studio's JSON, or any format that this tool writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.audio.addresses import safe_suffix
from earmark.errors import ConfigurationError
from earmark.export import annotated
from earmark.export.formats import FORMATS, FormatName
from earmark.export.label_studio import TaskReader, file_name_of
from earmark.export.records import STRETCHES_FIELD, AnnotatedSpan, ClipRecord
from earmark.importing.folders import AUDIO_EXTENSIONS
from earmark.importing.models import NAME_FIELD, OWN_FIELDS, STRETCH_FIELDS, TRUST_FIELD, Listed, Trust
from earmark.labels.controls import Control


def list_own_export(path: Path, format_name: FormatName) -> list[tuple[str, Listed]]:
    """List the sounds of an export of this tool; its records of one sound are joined.

    Raises
    ------
    FormatError
        It cannot be read, or is not of that format.
    """
    records: dict[tuple[int | None, str, str], list[ClipRecord]] = {}
    for record in FORMATS[format_name].load().read(path):
        records.setdefault((record.task_id, record.sound, record.file_name), []).append(_with_spans(record))
    return [(name, _listed(name, sound, found, found[0].data)) for (_, sound, name), found in records.items()]


def annotated_parts(path: Path, rows: list[tuple[str, Listed]]) -> list[tuple[str, Listed]]:
    """Give the records of a table or folder the annotated parts that ``annotated.csv`` beside it names.

    Raises
    ------
    FormatError
        That file is damaged.
    """
    spans = annotated.read(annotated.path_beside(path, path.is_dir()))
    if not spans:
        return rows
    return [(name, replace(listed, marks=annotated.with_spans(listed.marks, spans))) for name, listed in rows]


def _with_spans(record: ClipRecord) -> ClipRecord:
    """The record with the parts that it was joined from, which older exports have in the data alone."""
    pairs = record.data.get(STRETCHES_FIELD)
    if record.annotated or not pairs:
        return record
    try:
        pairs = json.loads(pairs) if isinstance(pairs, str) else pairs
        return replace(record, annotated=tuple(AnnotatedSpan(float(a), float(b)) for a, b in pairs))
    except (TypeError, ValueError):  # a field of this name that no export has written
        return record


def list_label_studio_export(
    table: Path, say: Callable[[str], None] = lambda sentence: None
) -> list[tuple[str, Listed]]:
    """List the tasks of a JSON export of Label Studio, with their annotations and predictions.

    The export does not hold the label config: controls are taken from the results, the address from
    the field that looks like one.

    Parameters
    ----------
    say
        Gets a sentence for each kind of thing in the export that is passed over.

    Raises
    ------
    ConfigurationError
        The file is not there, or no such export.
    """
    try:
        tasks = json.loads(table.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{table} cannot be read as JSON: {error}.") from error
    if not isinstance(tasks, list) or not all(
        isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks
    ):
        raise ConfigurationError(
            f"{table} is no export of Label Studio: choose JSON there (not JSON-MIN), "
            "or give a CSV or JSON Lines file."
        )
    key = _audio_key(tasks, table)
    reader = TaskReader(_controls(tasks, key), key)
    found = []
    for task in tasks:
        data = task["data"]
        address = data.get(key)
        if isinstance(address, str) and address:
            name = file_name_of(data, address)
            records = [*reader.annotations(task), *reader.predictions(task)]
            found.append((name, _listed(name, address, records, data)))
    for sentence in _passed_over(tasks, reader):
        say(sentence)
    return found


def _passed_over(tasks: Sequence[Mapping[str, Any]], reader: TaskReader) -> Iterator[str]:
    """What the export holds and the reader left."""
    if reader.passed_over:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(reader.passed_over.items()))
        yield f"Results that are no labels of the sound are not imported: {kinds}."
    counts = Counter(what for task in tasks for what in _left(task))
    if counts["channel"]:
        yield f"{counts['channel']} regions of another channel than the first come in for the whole sound."
    if counts["skipped"]:
        yield f"{counts['skipped']} annotations that skip their task are not imported."
    if counts["older"]:
        yield f"{counts['older']} predictions are not imported, because their task has a newer one."
    if counts["number"]:
        yield (
            f"{counts['number']} predictions are not imported, because this export has no more of them than "
            "their numbers: 'earmark export PROJECT --what predictions --format jsonl' has all."
        )


def _left(task: Mapping[str, Any]) -> Iterator[str]:
    predictions = _made(task, "predictions")
    objects = [one for one in predictions if isinstance(one, dict)]
    yield from ["number"] * (len(predictions) - len(objects))
    yield from ["older"] * (len(objects) - 1)
    annotations = [one for one in _made(task, "annotations") if isinstance(one, dict)]
    yield from ("skipped" for one in annotations if one.get("was_cancelled"))
    for made in (*annotations, *objects):
        for item in _items(made):
            value = item.get("value")
            if item.get("type") == "labels" and isinstance(value, dict) and value.get("channel"):
                yield "channel"


def _listed(name: str, address: str, records: list[ClipRecord], data: Mapping[str, Any]) -> Listed:
    trust: Trust | None = data[TRUST_FIELD] if data.get(TRUST_FIELD) in ("curated", "noisy") else None
    # The address is the new project's business; the digest is taken anew from what is really there.
    given = OWN_FIELDS
    if STRETCHES_FIELD in data:  # joined again: no stretch any more, though its fields still say so
        given |= STRETCH_FIELDS | {STRETCHES_FIELD}
    fields = {key: value for key, value in data.items() if value != address and key not in given}
    return Listed(None, name, tuple(records), fields, trust, address)


def _controls(tasks: Iterable[dict[str, Any]], key: str) -> tuple[Control, ...]:
    """The controls that the results speak of."""
    found: dict[str, Control] = {}
    for task in tasks:
        for kind in ("annotations", "predictions"):
            for item in (i for made in _made(task, kind) if isinstance(made, dict) for i in _items(made)):
                name, of = str(item.get("from_name")), str(item.get("to_name"))
                value = item.get("value")
                if item.get("type") == "labels":
                    found.setdefault(name, Control(name, of, "regions", (), key))
                # A choice for one region has the region's times.
                elif item.get("type") == "choices" and isinstance(value, dict) and "start" not in value:
                    found.setdefault(name, Control(name, of, "multiple", (), key))
    return tuple(found.values())


def _made(task: Mapping[str, Any], kind: str) -> list[Any]:
    made = task.get(kind)
    return made if isinstance(made, list) else []


def _items(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    result = made.get("result")
    return [item for item in result if isinstance(item, dict)] if isinstance(result, list) else []


def _audio_key(tasks: Iterable[dict[str, Any]], table: Path) -> str:
    for task in tasks:
        for key, value in task["data"].items():
            if isinstance(value, str) and key != NAME_FIELD:
                path = value.partition("?d=")[2] or value.partition("?")[0]
                if safe_suffix(path) in AUDIO_EXTENSIONS:
                    return str(key)
    raise ConfigurationError(f"No task in {table} has a field with the address of a sound.")
