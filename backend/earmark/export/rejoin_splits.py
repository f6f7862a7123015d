"""Rejoin the stretches of split recordings: one sound for each, in the time of the whole recording."""

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
    NOTHING,
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
"""A region this close to a cut touches it: players round to their own buffers and pixels."""
_OWN_FIELDS = (SOURCE_START_FIELD, SOURCE_END_FIELD)

_Piece = tuple[Stretch, ClipRecord]


def rejoin(sounds: Iterable[Sequence[ClipRecord]]) -> Iterator[Sequence[ClipRecord]]:
    """Join the records of tasks that are stretches of one recording; yield others unchanged.

    Each item of ``sounds`` is the records of one task. The stretches are spooled to a temporary SQLite
    database until the last task, so that only one recording at a time is in memory. Regions that touch
    a cut from both sides with the same label become one. Where a stretch has several annotations,
    annotators stay separate; otherwise a recording is one record of all its annotators. Predictions of
    different versions stay separate.
    """
    with (
        TemporaryDirectory(prefix="earmark-export-") as folder,
        closing(sqlite3.connect(Path(folder) / "stretches.sqlite")) as database,
    ):
        database.execute("CREATE TABLE stretch (source TEXT, start REAL, record TEXT)")
        for records in sounds:
            stretch = stretch_of(records[0].data) if records else None
            if stretch is None:
                yield records
                continue
            key = json.dumps([stretch.source, records[0].data.get(SOURCE_DIGEST_FIELD)])
            rows = [(key, stretch.start, jsonl.line_of(record)) for record in records]
            database.executemany("INSERT INTO stretch VALUES (?, ?, ?)", rows)
        database.execute("CREATE INDEX by_source ON stretch (source, start)")
        ordered = database.execute("SELECT source, record FROM stretch ORDER BY source, start, rowid")
        for _, group in groupby(ordered, key=lambda row: row[0]):
            yield join([jsonl.record_of_line(line) for _, line in group])


def join(records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """Join the records of one recording's stretches, which are in the order of their starts.

    Raises
    ------
    ValueError
        A record belongs to no stretch.
    """
    pieces: list[_Piece] = []
    for record in records:
        stretch = stretch_of(record.data)
        if stretch is None:
            raise ValueError(f"task {record.task_id} is no stretch of a recording")
        pieces.append((stretch, record))
    tracks: dict[tuple[object, ...], list[_Piece]] = {}
    separate = _has_repeated_stretch(pieces)
    counts: Counter[tuple[object, ...]] = Counter()
    for stretch, record in pieces:
        author = (record.source, record.version, record.annotator if separate else None)
        counts[*author, stretch] += 1  # one annotator may have submitted twice
        tracks.setdefault((*author, counts[*author, stretch]), []).append((stretch, record))
    return [_join_track(track) for track in tracks.values()]


def in_recording(region: RegionRecord, stretch: Stretch) -> RegionRecord:
    """Return a region of a stretch in the time of the whole recording."""
    start, end = round(stretch.start + region.start, 6), round(stretch.start + region.end, 6)
    if stretch.end < end <= stretch.end + CUT_TOLERANCE_SECONDS:
        start, end = min(start, stretch.end), stretch.end
    return replace(region, start=start, end=end)


def _has_repeated_stretch(pieces: Sequence[_Piece]) -> bool:
    """Whether any stretch has more than one record of a kind and version."""
    keys = [(stretch, record.source, record.version) for stretch, record in pieces]
    return len(set(keys)) < len(keys)


def _join_track(track: Sequence[_Piece]) -> ClipRecord:
    _, first = track[0]
    records = [record for _, record in track]
    stretches = [[stretch.start, stretch.end] for stretch, _ in track]
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
        duration=max(stretch.end for stretch, _ in track),
        tags=_tags(records),
        tag_scores=_best_scores(records),
        regions={name: _join_regions(track, name) for name in controls},
        annotator=first.annotator if len(annotators) == 1 else None,
        ground_truth=all(record.ground_truth for record in records),
        annotated=tuple(span for piece in track for span in _spans(*piece)) or (NOTHING,),
    )


def _spans(stretch: Stretch, record: ClipRecord) -> Iterator[AnnotatedSpan]:
    """Yield the annotated parts of a stretch; its tags need not hold for less than the whole of it."""
    if not record.annotated:
        yield AnnotatedSpan(stretch.start, stretch.end, record.annotator, record.tags)
    for span in record.annotated:
        if span.end > span.start:
            start = round(stretch.start + span.start, 6)
            end = min(round(stretch.start + span.end, 6), stretch.end)
            yield AnnotatedSpan(start, end, span.annotator or record.annotator, {})


def _join_regions(track: Sequence[_Piece], control: str) -> tuple[RegionRecord, ...]:
    done: list[RegionRecord] = []
    at_cut: list[RegionRecord] = []
    cut = 0.0
    for stretch, record in track:
        if abs(stretch.start - cut) > CUT_TOLERANCE_SECONDS:
            done += at_cut
            at_cut = []
        cut = stretch.end
        open_regions: list[RegionRecord] = []
        for local in record.regions.get(control, ()):
            region = in_recording(local, stretch)
            if local.start <= CUT_TOLERANCE_SECONDS:
                before = next((candidate for candidate in at_cut if candidate.label == region.label), None)
                if before is not None:
                    at_cut.remove(before)
                    region = _merge(before, region)
            (open_regions if region.end >= stretch.end - CUT_TOLERANCE_SECONDS else done).append(region)
        done += at_cut
        at_cut = open_regions
    return tuple(sorted(done + at_cut, key=lambda region: (region.start, region.end, region.label)))


def _merge(before: RegionRecord, after: RegionRecord) -> RegionRecord:
    """Merge two regions; the score is their mean, weighted by their lengths."""
    score = before.score if after.score is None else after.score
    if before.score is not None and after.score is not None:
        first, second = before.end - before.start, after.end - after.start
        share = first / (first + second) if first + second > 0 else 0.5
        score = round(share * before.score + (1 - share) * after.score, 6)
    return replace(before, end=max(before.end, after.end), score=score)


def _common_fields(records: Sequence[ClipRecord]) -> Mapping[str, Any]:
    """Return the fields that are equal in all stretches, without the times of the stretch."""
    return {
        name: value
        for name, value in records[0].data.items()
        if name not in _OWN_FIELDS and all(record.data.get(name) == value for record in records)
    }


def _tags(records: Sequence[ClipRecord]) -> dict[str, tuple[str, ...]]:
    tags_by_control: dict[str, dict[str, None]] = {}
    for record in records:
        for control, tags in record.tags.items():
            tags_by_control.setdefault(control, {}).update(dict.fromkeys(tags))
    return {control: tuple(tags) for control, tags in tags_by_control.items()}


def _best_scores(records: Sequence[ClipRecord]) -> dict[str, float]:
    best: dict[str, float] = {}
    for record in records:
        for control, score in record.tag_scores.items():
            best[control] = max(score, best.get(control, score))
    return best
