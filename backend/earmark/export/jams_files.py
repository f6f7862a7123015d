"""JAMS: one file for each sound, in a folder beside ``sounds.csv``, validated by the library ``jams``.

Every record and control is a JAMS annotation: regions in the namespace ``segment_open``, tags of the
whole sound in ``tag_open``, as soundata writes them; scores are confidences. Values without a field in
JAMS are in sandboxes under ``earmark``, so that nothing is lost. Source: Humphrey et al., "JAMS: a JSON
annotated music specification for reproducible MIR research", ISMIR 2014.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jams

from earmark.errors import FormatError
from earmark.export import jsonl
from earmark.export.formats import Add
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.writers import read_index, storable, writing_label_files

REGIONS, TAGS = "segment_open", "tag_open"
_EVENTS = frozenset({REGIONS, "scaper", "sound_event"})
"""Namespaces of regions; in the last two, of Scaper and of URBAN-SED, a value is an object with a label."""


@contextmanager
def writing(path: Path) -> Iterator[Add]:
    """Write a folder of JAMS files; see ``FormatModule``."""
    with writing_label_files(path, ".jams") as files:

        def add(records: Sequence[ClipRecord]) -> int:
            for record in records:
                storable(record.file_name + record.sound + (record.annotator or ""), "The name")
            content = _file_content(records)
            target = files.new_path(records[0])
            target.write_text(content, encoding="utf-8")
            files.add_to_index(target, records[0])
            files.annotated.add(records)
            return sum(len(labels) for r in records for labels in (*r.regions.values(), *r.tags.values()))

        yield add


def check_label(label: str) -> None:
    """Raise ``FormatError`` for a label that the format has no place for."""
    storable(label, "The label")


def read(path: Path) -> Iterator[ClipRecord]:
    """Read a folder that ``writing`` wrote."""
    for entry in read_index(path):
        yield from read_file(entry.path)


def read_file(path: Path) -> list[ClipRecord]:
    """Read one JAMS file, of any origin: its tags, and its segments with labels.

    A file from another tool becomes one record for each annotator, with controls named after the
    namespaces. A background of Scaper's is no event.

    Raises
    ------
    FormatError
        The file cannot be read or breaks the schema.
    """
    try:
        content = jams.load(str(path), validate=False)
        content.validate(strict=all(a.namespace in (REGIONS, TAGS) for a in content.annotations))
    except (OSError, ValueError, TypeError, KeyError, jams.JamsError) as error:
        raise FormatError(f"{path} cannot be read as JAMS: {error}.") from error
    records: dict[str, ClipRecord] = {}
    for number, base in enumerate(_earmark_sandbox(content.sandbox).get("records", ())):
        records[str(number)] = jsonl.record_of(base)
    for annotation in content.annotations:
        is_tag = annotation.namespace.startswith("tag_")
        if not is_tag and annotation.namespace not in _EVENTS:
            continue
        sandbox, annotator = _earmark_sandbox(annotation.sandbox), _annotator(annotation)
        key = str(sandbox.get("record", f"of {annotator}"))
        record = records.get(key) or ClipRecord(
            content.file_metadata.title or path.stem,
            duration=content.file_metadata.duration,
            annotator=annotator,
        )
        records[key] = _with_labels(record, annotation, sandbox.get("control", annotation.namespace), sandbox)
    return list(records.values())


def _file_content(records: Sequence[ClipRecord]) -> str:
    """Return the JSON of a sound's JAMS file, validated against the schema.

    Raises
    ------
    FormatError
        A time is negative or not finite, which JAMS cannot hold.
    """
    first = records[0]
    content = jams.JAMS()
    content.file_metadata.title = first.file_name
    content.file_metadata.duration = _extent(records)
    bare = [replace(record, regions={}, tags={}, tag_scores={}) for record in records]
    content.sandbox.earmark = {"records": [json.loads(jsonl.line_of(record)) for record in bare]}
    for number, record in enumerate(records):
        for control, regions in record.regions.items():
            content.annotations.append(_regions(record, number, control, regions))
        for control, tags in record.tags.items():
            content.annotations.append(_tags(record, number, control, tags))
    try:
        content.validate(strict=True)
        return json.dumps(content.__json__, indent=1, allow_nan=False)
    except (jams.JamsError, ValueError) as error:
        raise FormatError(f"{first.file_name}: JAMS has no place for it ({error}).") from error


def _regions(record: ClipRecord, number: int, control: str, regions: Sequence[RegionRecord]) -> Any:
    # The library sorts stably by time: the lists in the sandbox must have the same order.
    ordered = sorted(regions, key=lambda region: region.start)
    annotation = _annotation(REGIONS, record, number, control)
    annotation.sandbox.earmark |= {
        "ends": [region.end for region in ordered],
        "ids": [region.id for region in ordered],
        "annotators": [region.annotator for region in ordered],
    }
    for region in ordered:
        length = max(0.0, region.end - region.start)
        annotation.append(time=region.start, duration=length, value=region.label, confidence=region.score)
    return annotation


def _tags(record: ClipRecord, number: int, control: str, tags: Sequence[str]) -> Any:
    annotation = _annotation(TAGS, record, number, control)
    for tag in tags:
        score = record.tag_scores.get(control)
        annotation.append(time=0.0, duration=record.duration or 0.0, value=tag, confidence=score)
    return annotation


def _annotation(namespace: str, record: ClipRecord, number: int, control: str) -> Any:
    annotation = jams.Annotation(namespace=namespace, time=0, duration=record.duration)
    metadata = annotation.annotation_metadata
    metadata.data_source = record.source
    metadata.version = record.version or ""
    if record.annotator:
        metadata.annotator = jams.Sandbox(name=record.annotator)
    annotation.sandbox.earmark = {"record": number, "control": control}
    return annotation


def _with_labels(record: ClipRecord, annotation: Any, control: str, sandbox: Mapping[str, Any]) -> ClipRecord:
    """Return the record with the labels of one JAMS annotation added."""
    data = [item for item in annotation.data if not _is_background(item.value)]
    if annotation.namespace.startswith("tag_"):
        scores = [float(item.confidence) for item in data if item.confidence is not None]
        return replace(
            record,
            tags={**record.tags, control: tuple(str(item.value) for item in data)},
            tag_scores={**record.tag_scores, **({control: min(scores)} if scores else {})},
        )
    regions = []
    for index, item in enumerate(data):
        annotator = _nth(sandbox, "annotators", index, record.annotator)
        # Start plus duration need not be the exact end, because both are rounded.
        end = _nth(sandbox, "ends", index, item.time + item.duration)
        score = None if item.confidence is None else float(item.confidence)
        regions.append(
            RegionRecord(
                item.time, end, _label(item.value), score, annotator, _nth(sandbox, "ids", index, None)
            )
        )
    return replace(record, regions={**record.regions, control: tuple(regions)})


def _label(value: object) -> str:
    return str(value.get("label", "")) if isinstance(value, Mapping) else str(value)


def _is_background(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("role") == "background"


def _extent(records: Sequence[ClipRecord]) -> float:
    """Return the duration in seconds, which JAMS requires: if unknown, the last end of a region."""
    durations = [record.duration for record in records if record.duration is not None]
    ends = [region.end for record in records for regions in record.regions.values() for region in regions]
    return max(durations or ends, default=0.0)


def _earmark_sandbox(sandbox: Any) -> Mapping[str, Any]:
    values = getattr(sandbox, "earmark", {})
    return values if isinstance(values, Mapping) else {}


def _annotator(annotation: Any) -> str | None:
    name = getattr(annotation.annotation_metadata.annotator, "name", None)
    return str(name) if name else None


def _nth(values: Mapping[str, Any], name: str, index: int, default: Any) -> Any:
    items = values.get(name)
    return items[index] if isinstance(items, list) and index < len(items) else default
