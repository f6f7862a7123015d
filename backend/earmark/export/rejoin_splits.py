"""Stretches of long recordings put together again: one sound, in the whole recording's time."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from earmark.export import jsonl
from earmark.export.records import (
    SOURCE_DIGEST_FIELD,
    SOURCE_END_FIELD,
    SOURCE_FIELD,
    SOURCE_START_FIELD,
    STRETCHES_FIELD,
    AnnotatedSpan,
    ClipRecord,
    RegionRecord,
    Stretch,
    stretch_of,
)

CUT_TOLERANCE_SECONDS = 0.02
"""So near to a cut a region reaches it: players round to their own buffers and pixels."""
_OWN_FIELDS = (SOURCE_START_FIELD, SOURCE_END_FIELD)

_Piece = tuple[Stretch, ClipRecord]


def unsplit(sounds: Iterable[Sequence[ClipRecord]]) -> Iterator[Sequence[ClipRecord]]:
    """Join the records of tasks that are stretches of one recording; others pass as they are.

    ``sounds`` holds the records of one task each. The stretches wait in a temporary file until the
    last task is there, so that memory holds one recording at a time. Regions that touch a cut from
    both sides with the same label become one. Where a stretch has several annotations, annotators
    stay apart; otherwise a recording is one record, whoever worked on it. Predictions of different
    versions stay apart.
    """
    with (
        TemporaryDirectory(prefix="earmark-export-") as folder,
        closing(sqlite3.connect(Path(folder) / "stretches.sqlite")) as waiting,
    ):
        waiting.execute("CREATE TABLE stretch (source TEXT, start REAL, record TEXT)")
        for records in sounds:
            stretch = stretch_of(records[0].data) if records else None
            if stretch is None:
                yield records
                continue
            key = json.dumps([stretch.source, records[0].data.get(SOURCE_DIGEST_FIELD)])
            new = [(key, stretch.start, jsonl.line_of(record)) for record in records]
            waiting.executemany("INSERT INTO stretch VALUES (?, ?, ?)", new)
        waiting.execute("CREATE INDEX by_source ON stretch (source, start)")
        ordered = waiting.execute("SELECT source, record FROM stretch ORDER BY source, start, rowid")
        for _, rows in groupby(ordered, key=lambda row: row[0]):
            yield join([jsonl.record_of_line(line) for _, line in rows])


def join(records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """Join records of stretches of one recording, in the order of their starts.

    Raises
    ------
    ValueError
        A record is of no stretch.
    """
    pieces: list[_Piece] = []
    for record in records:
        stretch = stretch_of(record.data)
        if stretch is None:
            raise ValueError(f"task {record.task_id} is no stretch of a recording")
        pieces.append((stretch, record))
    voices: dict[tuple[object, ...], list[_Piece]] = {}
    several = _several(pieces)
    turns: Counter[tuple[object, ...]] = Counter()
    for stretch, record in pieces:
        who = (record.source, record.version, record.annotator if several else None)
        turns[*who, stretch] += 1  # the same one may have submitted twice
        voices.setdefault((*who, turns[*who, stretch]), []).append((stretch, record))
    return [_joined(voice) for voice in voices.values()]


def in_whole(region: RegionRecord, stretch: Stretch) -> RegionRecord:
    """Return a region of a stretch in the time of the whole recording."""
    start, end = round(stretch.start + region.start, 6), round(stretch.start + region.end, 6)
    if stretch.end < end <= stretch.end + CUT_TOLERANCE_SECONDS:
        start, end = min(start, stretch.end), stretch.end
    return replace(region, start=start, end=end)


def _several(pieces: Sequence[_Piece]) -> bool:
    """Whether any stretch has more than one record of a kind and version."""
    keys = [(stretch, record.source, record.version) for stretch, record in pieces]
    return len(set(keys)) < len(keys)


def _joined(voice: Sequence[_Piece]) -> ClipRecord:
    _, first = voice[0]
    records = [record for _, record in voice]
    stretches = [[stretch.start, stretch.end] for stretch, _ in voice]
    controls = dict.fromkeys(name for record in records for name in record.regions)
    annotators = {record.annotator for record in records}
    addresses = {record.sound for record in records}
    return replace(
        first,
        file_name=str(first.data[SOURCE_FIELD]),
        sound=first.sound if len(addresses) == 1 else "",
        task_id=first.task_id if len(records) == 1 else None,
        id=first.id if len(records) == 1 else None,
        data={**_common_fields(records), STRETCHES_FIELD: stretches},
        duration=max(stretch.end for stretch, _ in voice),
        tags=_tags(records),
        tag_scores=_best_scores(records),
        regions={name: _regions(voice, name) for name in controls},
        annotator=first.annotator if len(annotators) == 1 else None,
        ground_truth=all(record.ground_truth for record in records),
        annotated=tuple(_span(stretch, record) for stretch, record in voice),
    )


def _span(stretch: Stretch, record: ClipRecord) -> AnnotatedSpan:
    return AnnotatedSpan(stretch.start, stretch.end, record.annotator, record.tags)


def _regions(voice: Sequence[_Piece], control: str) -> tuple[RegionRecord, ...]:
    done: list[RegionRecord] = []
    at_cut: list[RegionRecord] = []
    cut = 0.0
    for stretch, record in voice:
        if abs(stretch.start - cut) > CUT_TOLERANCE_SECONDS:
            done += at_cut
            at_cut = []
        cut = stretch.end
        open_ones: list[RegionRecord] = []
        for local in record.regions.get(control, ()):
            region = in_whole(local, stretch)
            if local.start <= CUT_TOLERANCE_SECONDS:
                before = next((other for other in at_cut if other.label == region.label), None)
                if before is not None:
                    at_cut.remove(before)
                    region = _one(before, region)
            (open_ones if region.end >= stretch.end - CUT_TOLERANCE_SECONDS else done).append(region)
        done += at_cut
        at_cut = open_ones
    return tuple(sorted(done + at_cut, key=lambda region: (region.start, region.end, region.label)))


def _one(before: RegionRecord, after: RegionRecord) -> RegionRecord:
    """Two regions as one; its score is their mean, weighted by their lengths."""
    score = before.score if after.score is None else after.score
    if before.score is not None and after.score is not None:
        first, second = before.end - before.start, after.end - after.start
        share = first / (first + second) if first + second > 0 else 0.5
        score = round(share * before.score + (1 - share) * after.score, 6)
    return replace(before, end=max(before.end, after.end), score=score)


def _common_fields(records: Sequence[ClipRecord]) -> Mapping[str, Any]:
    """Fields that all stretches have the same, but for those that made them stretches."""
    return {
        name: value
        for name, value in records[0].data.items()
        if name not in _OWN_FIELDS and all(record.data.get(name) == value for record in records)
    }


def _tags(records: Sequence[ClipRecord]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for control, tags in record.tags.items():
            found.setdefault(control, {}).update(dict.fromkeys(tags))
    return {control: tuple(tags) for control, tags in found.items()}


def _best_scores(records: Sequence[ClipRecord]) -> dict[str, float]:
    found: dict[str, float] = {}
    for record in records:
        for control, score in record.tag_scores.items():
            found[control] = max(score, found.get(control, score))
    return found
