"""List the sounds of an export: Label Studio's JSON, or any format that this tool writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.audio.addresses import safe_suffix
from earmark.errors import ConfigurationError
from earmark.export import annotated, rttm
from earmark.export.formats import FORMATS, FormatName
from earmark.export.label_studio import TaskReader, file_name_of
from earmark.export.records import STRETCHES_FIELD, TRUST_FIELD, AnnotatedSpan, ClipRecord
from earmark.export.writers import INDEX, is_index
from earmark.importing.field.audio_index import AudioIndex
from earmark.importing.folders import AUDIO_EXTENSIONS
from earmark.importing.models import NAME_FIELD, OWN_FIELDS, STRETCH_FIELDS, Listed, Trust
from earmark.importing.table_rows import numeric_fields, with_numbers
from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS


def list_own_export(path: Path, format_name: FormatName) -> list[tuple[str, Listed]]:
    """List the sounds of an export of this tool; several records of one sound become one item.

    Raises
    ------
    FormatError
        The export cannot be read, or has another format.
    """
    by_sound: dict[tuple[int | None, str, str], list[ClipRecord]] = {}
    for record in FORMATS[format_name].load().read(path):
        by_sound.setdefault((record.task_id, record.sound, record.file_name), []).append(_with_spans(record))
    datas = [records[0].data for records in by_sound.values()]
    # A CSV has texts alone; the other formats keep the types of values
    numeric = numeric_fields(datas) if format_name == "csv" else {}
    return [
        (name, _listed(name, sound, records, with_numbers(data, numeric)))
        for ((_, sound, name), records), data in zip(by_sound.items(), datas, strict=True)
    ]


def annotated_parts(path: Path, rows: list[tuple[str, Listed]]) -> list[tuple[str, Listed]]:
    """Add the annotated parts in ``annotated.csv`` beside a table or folder to its records.

    The table of a single file of an export's folder is in that folder, or in one above. An export of
    predictions has such a table without a row: what it holds are predictions.

    Raises
    ------
    FormatError
        ``annotated.csv`` is damaged.
    """
    table = annotated.path_beside(path, path.is_dir())
    if not table.is_file() and not path.is_dir():
        exports = (folder for folder in path.absolute().parents if is_index(folder / INDEX))
        table = next((folder / annotated.NAME for folder in exports), table)
    spans = annotated.read(table)
    if spans:
        index = AudioIndex(spans)
        return [(name, replace(item, marks=_with_parts(item.marks, spans, index))) for name, item in rows]
    if not table.is_file():
        return rows
    return [
        (name, replace(item, marks=tuple(replace(record, source="prediction") for record in item.marks)))
        for name, item in rows
    ]


def _with_parts(
    records: Sequence[ClipRecord], spans: Mapping[str, Sequence[AnnotatedSpan]], index: AudioIndex
) -> tuple[ClipRecord, ...]:
    """Return records with the spans of their sounds, also where the table has folders or an extension."""
    by_name: dict[str, Sequence[AnnotatedSpan]] = {}
    for name in {record.file_name for record in records}:
        sounds = [name] if name in spans else index.find(name) if name else []
        by_name[name] = spans[sounds[0]] if len(sounds) == 1 else ()
    return annotated.with_spans(records, by_name)


def annotated_without_a_line(path: Path, rows: Sequence[tuple[str, Listed]]) -> list[tuple[str, Listed]]:
    """Return the sounds of an RTTM export that were annotated and hold nothing: ``annotated.csv`` has them.

    Raises
    ------
    FormatError
        ``annotated.csv`` is damaged.
    """
    names = {name for name, _ in rows}
    return [
        (sound, Listed(None, sound, (ClipRecord(sound, regions={"": ()}, annotated=tuple(spans)),)))
        for sound, spans in annotated.read(annotated.path_beside(path, is_folder=False)).items()
        if rttm.name_of(sound) not in names
    ]


def _with_spans(record: ClipRecord) -> ClipRecord:
    """Return the record with its annotated spans; older exports have them only in the task data."""
    pairs = record.data.get(STRETCHES_FIELD)
    if record.annotated or not pairs:
        return record
    try:
        pairs = json.loads(pairs) if isinstance(pairs, str) else pairs
        return replace(record, annotated=tuple(AnnotatedSpan(float(a), float(b)) for a, b in pairs))
    except (TypeError, ValueError):  # a field of this name that no export wrote
        return record


def list_label_studio_export(
    table: Path, say: Callable[[str], None] = lambda sentence: None
) -> list[tuple[str, Listed]]:
    """List the tasks of a JSON export of Label Studio, with their annotations and predictions.

    The export does not contain the label config: the controls are derived from the results, and the
    audio field is the first one whose value ends in an audio extension.

    Parameters
    ----------
    say
        Called with a sentence for each kind of content that is not imported.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or is no such export.
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
    sounds = []
    for task in tasks:
        data = task["data"]
        address = data.get(key)
        if isinstance(address, str) and address:
            name = file_name_of(data, address)
            records = [*reader.annotations(task), *reader.predictions(task)]
            sounds.append((name, _listed(name, address, records, data)))
    for sentence in _passed_over(tasks, reader):
        say(sentence)
    return sounds


def _passed_over(tasks: Sequence[Mapping[str, Any]], reader: TaskReader) -> Iterator[str]:
    """Yield a sentence for each kind of content in the export that is not imported."""
    if reader.passed_over:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(reader.passed_over.items()))
        yield f"Results that are no labels of the sound are not imported: {kinds}."
    counts = Counter(kind for task in tasks for kind in _skipped_kinds(task))
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


def _skipped_kinds(task: Mapping[str, Any]) -> Iterator[str]:
    predictions = _entries(task, "predictions")
    objects = [prediction for prediction in predictions if isinstance(prediction, dict)]
    yield from ["number"] * (len(predictions) - len(objects))
    yield from ["older"] * (len(objects) - 1)
    annotations = [annotation for annotation in _entries(task, "annotations") if isinstance(annotation, dict)]
    yield from ("skipped" for annotation in annotations if annotation.get("was_cancelled"))
    for entry in (*annotations, *objects):
        for item in _items(entry):
            value = item.get("value")
            if item.get("type") == "labels" and isinstance(value, dict) and value.get("channel"):
                yield "channel"


def _listed(name: str, address: str, records: list[ClipRecord], data: Mapping[str, Any]) -> Listed:
    trust: Trust | None = data[TRUST_FIELD] if data.get(TRUST_FIELD) in ("curated", "noisy") else None
    # The import writes the address, and computes the digest again from the file itself.
    dropped = OWN_FIELDS
    if STRETCHES_FIELD in data:  # rejoined: no longer a stretch, although its fields still say so
        dropped |= STRETCH_FIELDS | {STRETCHES_FIELD}
    fields = {key: value for key, value in data.items() if value != address and key not in dropped}
    return Listed(None, name, tuple(records), fields, trust, address)


def _controls(tasks: Iterable[dict[str, Any]], key: str) -> tuple[Control, ...]:
    """Return the controls that the results name."""
    controls: dict[str, Control] = {}
    for task in tasks:
        for kind in ("annotations", "predictions"):
            for item in (i for e in _entries(task, kind) if isinstance(e, dict) for i in _items(e)):
                name, to_name = str(item.get("from_name")), str(item.get("to_name"))
                value = item.get("value")
                if item.get("type") == "labels":
                    controls.setdefault(name, Control(name, to_name, REGION_LABELS, (), key))
                # A choice for one region has the times of that region: it is no tag of the clip.
                elif item.get("type") == "choices" and isinstance(value, dict) and "start" not in value:
                    controls.setdefault(name, Control(name, to_name, MULTIPLE_CHOICE, (), key))
    return tuple(controls.values())


def _entries(task: Mapping[str, Any], kind: str) -> list[Any]:
    entries = task.get(kind)
    return entries if isinstance(entries, list) else []


def _items(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    result = entry.get("result")
    return [item for item in result if isinstance(item, dict)] if isinstance(result, list) else []


def _audio_key(tasks: Iterable[dict[str, Any]], table: Path) -> str:
    for task in tasks:
        for key, value in task["data"].items():
            if isinstance(value, str) and key not in STRETCH_FIELDS | {NAME_FIELD}:
                path = value.partition("?d=")[2] or value.partition("?")[0]
                if safe_suffix(path) in AUDIO_EXTENSIONS:
                    return str(key)
    raise ConfigurationError(f"No task in {table} has a field with the address of a sound.")
