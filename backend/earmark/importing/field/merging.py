"""Join the labels that several label files have of one recording."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from earmark.export.records import AnnotatedSpan, ClipRecord, RegionRecord

T = TypeVar("T")
_SAME_SECONDS = 0.001
"""Regions of a label whose edges differ by no more are one region in two label files: some round times."""


def without_repeated(record: ClipRecord, before: Sequence[ClipRecord]) -> ClipRecord:
    """Return a record without the regions that records of the same author from other label files have."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for other in before:
        if _author(other) == _author(record):
            for region in (region for group in other.regions.values() for region in group):
                times[region.label].append((region.start, region.end))
    for pairs in times.values():
        pairs.sort()

    def is_repeated(region: RegionRecord) -> bool:
        pairs = times.get(region.label, [])
        for place in range(bisect_left(pairs, (region.start - _SAME_SECONDS, 0.0)), len(pairs)):
            start, end = pairs[place]
            if start > region.start + _SAME_SECONDS:
                break
            if abs(end - region.end) <= _SAME_SECONDS:
                return True
        return False

    if not times:
        return record
    regions = {
        name: tuple(region for region in group if not is_repeated(region))
        for name, group in record.regions.items()
    }
    return replace(record, regions=regions)


def region_count(record: ClipRecord) -> int:
    """Return how many regions a record has."""
    return sum(map(len, record.regions.values()))


def _author(record: ClipRecord) -> tuple[str, str | None, str | None]:
    return record.source, record.version, record.annotator


def merged(records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """Join the records of one sound that have the same author, such as two selection tables of a recording.

    As annotations of their own each would say that nothing of the other's labels sounds.
    """
    by_author: dict[tuple[str, str | None, str | None], ClipRecord] = {}
    for record in records:
        author = _author(record)
        before = by_author.get(author)
        if before is not None:
            scores = {**before.tag_scores}
            for control, score in record.tag_scores.items():
                scores[control] = min(score, scores.get(control, score))
            record = replace(
                before,
                regions=_joined(before.regions, record.regions),
                tags=_unique(_joined(before.tags, record.tags)),
                tag_scores=scores,
                annotated=_joined_spans(before, record),
            )
        by_author[author] = record
    return list(by_author.values())


def _joined_spans(first: ClipRecord, second: ClipRecord) -> tuple[AnnotatedSpan, ...]:
    """Return the spans of both; none where one of them says that the whole sound was annotated."""
    return (*first.annotated, *second.annotated) if first.annotated and second.annotated else ()


def _joined(
    first: Mapping[str, tuple[T, ...]], second: Mapping[str, tuple[T, ...]]
) -> dict[str, tuple[T, ...]]:
    return {name: (*first.get(name, ()), *second.get(name, ())) for name in {**first, **second}}


def _unique(tags: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {control: tuple(dict.fromkeys(names)) for control, names in tags.items()}
