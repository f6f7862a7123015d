"""Convert tasks of Label Studio's API or its JSON exports to ``ClipRecord``s."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from earmark.export.records import (
    AnnotatedSpan,
    ClipRecord,
    RegionRecord,
    Source,
    expansion_of,
    scaled,
    spans_without,
)
from earmark.labels.control import Control
from earmark.labels.denials import denial
from earmark.labels.region import Region
from earmark.labelstudio.region_judgement import judged_region, judgements

FILE_NAME_FIELD = "fname"
"""Field of a task's data with the file name of the sound before its import."""
DURATION_FIELD = "duration"
_UPLOAD = re.compile(r"/data/upload/.*/[0-9a-f]{8}-(?P<name>[^/]+)$")
"""Label Studio adds eight hexadecimal digits before the name of an uploaded file."""


@dataclass
class TaskReader:
    """Converts the tasks of one project to records, with times of the recording, not of an expanded sound.

    Only results of ``controls`` are read, with any labels; ``passed_over`` counts the others by their
    type (text areas, ratings, choices for a single region, controls of text).
    """

    controls: tuple[Control, ...]
    data_key: str
    """Field of a task's data with the sound's address."""
    annotators: Mapping[int, str] = field(default_factory=dict)
    """E-mail addresses by user id in Label Studio."""
    passed_over: dict[str, int] = field(default_factory=dict)

    def annotations(self, task: Mapping[str, Any]) -> list[ClipRecord]:
        """Return one record for each submitted annotation; skipped ones are left out."""
        return [
            self._record(task, annotation, "annotation")
            for annotation in _objects(task.get("annotations"))
            if not annotation.get("was_cancelled")
        ]

    def predictions(self, task: Mapping[str, Any], version: str | None = None) -> list[ClipRecord]:
        """Return the task's newest prediction, or its newest of ``version``; at most one record."""
        predictions = [
            prediction
            for prediction in _objects(task.get("predictions"))
            if version is None or prediction.get("model_version") == version
        ]
        if not predictions:
            return []
        return [self._record(task, max(predictions, key=_age), "prediction")]

    def _record(self, task: Mapping[str, Any], item: Mapping[str, Any], source: Source) -> ClipRecord:
        data = task.get("data")
        data = data if isinstance(data, dict) else {}
        address = data.get(self.data_key)
        address = address if isinstance(address, str) else ""
        results = _objects(item.get("result"))
        annotator = None if source == "prediction" else self._annotator(item.get("completed_by"))
        regions, tags, scores, undecided = self._results(results, annotator)
        duration = _duration(results, data)
        record = ClipRecord(
            file_name=file_name_of(data, address),
            sound=address,
            task_id=_whole(task.get("id")),
            data=data,
            duration=duration,
            tags=tags,
            tag_scores=scores,
            regions=regions,
            source=source,
            version=_text(item.get("model_version")) if source == "prediction" else None,
            annotator=annotator,
            ground_truth=item.get("ground_truth") is True,
            id=_whole(item.get("id")),
            annotated=spans_without(
                [AnnotatedSpan(0.0, duration or math.inf)],
                [(region.start, region.end) for region in undecided],
            )
            if undecided
            else (),
        )
        return scaled(record, 1 / expansion_of(data))

    def _results(
        self, results: Sequence[Mapping[str, Any]], annotator: str | None
    ) -> tuple[
        dict[str, tuple[RegionRecord, ...]], dict[str, tuple[str, ...]], dict[str, float], list[Region]
    ]:
        """Return regions, tags and scores, and regions in which other labels were left open."""
        by_name = {(c.from_name, c.to_name): c for c in self.controls if not c.type.per_region}
        judged = judgements(results)
        undecided: list[Region] = []
        regions: dict[str, list[RegionRecord]] = {c.name: [] for c in self.controls if c.type.draws_regions}
        tags: dict[str, dict[str, None]] = {}
        scores: dict[str, float] = {}
        for item in results:
            control = by_name.get((str(item.get("from_name")), str(item.get("to_name"))))
            value = item.get("value")
            if control is None or item.get("type") != control.result_type or not isinstance(value, dict):
                kind = str(item.get("type", "unknown"))
                self.passed_over[kind] = self.passed_over.get(kind, 0) + 1
                continue
            labels, score = (
                [label for label in control.type.read_labels(value) if label],
                _finite(item.get("score")),
            )
            if not control.type.draws_regions:
                tags.setdefault(control.name, {}).update(dict.fromkeys(labels))
                if score is not None:
                    scores[control.name] = score
                continue
            start, end = _times(control, value)
            if start is None or end is None or end < start:
                self.passed_over["region without times"] = self.passed_over.get("region without times", 0) + 1
                continue
            region_id = _text(item.get("id"))
            region = Region(max(0.0, start), max(0.0, end), frozenset(labels), is_open=not labels)
            if region_id in judged:
                region = judged_region(region, control, judged[region_id])
                labels = labels if region.labels == frozenset(labels) else sorted(region.labels)
            undecided += [region] if region.is_open else []
            regions[control.name] += [
                RegionRecord(region.start, region.end, label, score, annotator, region_id)
                for label in labels or ([] if region.absent else [""])
            ]
            regions[control.name] += [
                RegionRecord(region.start, region.end, denial(label), score, annotator, region_id, True)
                for label in sorted(region.absent)
            ]
        ordered = {
            name: tuple(sorted(group, key=lambda region: (region.start, region.end, region.label)))
            for name, group in regions.items()
        }
        return ordered, {name: tuple(group) for name, group in tags.items()}, scores, undecided

    def _annotator(self, completed_by: object) -> str | None:
        if isinstance(completed_by, dict):
            return _text(completed_by.get("email")) or _text(str(completed_by.get("id") or ""))
        user_id = _whole(completed_by)
        return None if user_id is None else self.annotators.get(user_id, str(user_id))


def _times(control: Control, value: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return a region's onset and offset, which may be equal."""
    span = control.read_span(value)
    return span if span is not None else (_finite(value.get("start")), _finite(value.get("end")))


def file_name_of(data: Mapping[str, Any], address: str) -> str:
    """Return the file name of a task's sound: the field ``fname``, else the last part of the address."""
    name = data.get(FILE_NAME_FIELD)
    if isinstance(name, str) and name.strip():
        return name
    uploaded = _UPLOAD.search(address)
    if uploaded:
        return unquote(uploaded["name"])
    parts = urlsplit(address)
    path = parts.query.removeprefix("d=") if parts.path.rstrip("/").endswith("/local-files") else parts.path
    return unquote(path).rpartition("/")[2] or address


def _duration(results: Iterable[Mapping[str, Any]], data: Mapping[str, Any]) -> float | None:
    """Return the duration in seconds: measured by the labeling interface, else from the task's data."""
    measured = [seconds for item in results if (seconds := _finite(item.get("original_length")))]
    seconds = measured[0] if measured else _finite(data.get(DURATION_FIELD))
    return seconds if seconds is not None and seconds > 0 else None


def _age(prediction: Mapping[str, Any]) -> int:
    return _whole(prediction.get("id")) or 0


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
