"""Coverage of a part of a sound by annotated spans: an annotation of a part needs all of it annotated.

An annotation without a label says "nothing sounds here" and trains the model. So a stretch that is only
partly covered by what was annotated gets no annotation, and its labels are counted as lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from earmark.export.records import AnnotatedSpan, ClipRecord, RegionRecord, Stretch

TOLERANCE_SECONDS = 0.1
"""Of a part, so much may lie outside the spans: decoders and players differ by some frames."""


@dataclass(frozen=True)
class Part:
    """What records say of one part of a sound, still in the time of the whole.

    ``lost`` counts labels that have no place in it: of records that do not cover the part, and tags of
    longer parts. ``partly``: something is left out, be it an annotation without labels.
    """

    records: tuple[ClipRecord, ...]
    lost: int = 0
    partly: bool = False


def annotated_part(records: Sequence[ClipRecord], place: Stretch, total_seconds: float) -> Part:
    """Select the records that cover a part of a sound, with the tags and annotator of that part."""
    kept: list[ClipRecord] = []
    lost, partly = 0, False
    for record in records:
        spans = [span for span in record.annotated if _overlap(span, place) > 0]
        if not record.annotated:
            kept.append(record)
        elif _uncovered(spans, place) > TOLERANCE_SECONDS:
            partly |= bool(spans)
            lost += _labels_within(record, spans, place) if spans else 0
        else:
            tags = _tags(record, spans, place, total_seconds)
            dropped = _dropped_tags(record, spans, tags)
            lost, partly = lost + dropped, partly or dropped > 0
            if tags or record.regions or not record.tags:
                annotator = record.annotator or _names(spans)
                scores = {name: score for name, score in record.tag_scores.items() if name in tags}
                kept.append(replace(record, tags=tags, tag_scores=scores, annotator=annotator, annotated=()))
    return Part(tuple(kept), lost, partly)


def _overlap(span: AnnotatedSpan, place: Stretch) -> float:
    return min(span.end, place.end) - max(span.start, place.start)


def _uncovered(spans: Iterable[AnnotatedSpan], place: Stretch) -> float:
    """Seconds of the part that are in none of the spans."""
    missing, reached = 0.0, place.start
    for span in sorted(spans, key=lambda span: span.start):
        missing += max(0.0, span.start - reached)
        reached = max(reached, span.end)
    return missing + max(0.0, place.end - reached)


def _tags(
    record: ClipRecord, spans: Sequence[AnnotatedSpan], place: Stretch, total: float
) -> Mapping[str, tuple[str, ...]]:
    """Tags that hold for the part: a tag of a longer span need not be true for a piece of it."""
    if any(span.tags is None for span in spans):
        whole = any(
            span.start <= TOLERANCE_SECONDS and span.end >= total - TOLERANCE_SECONDS for span in spans
        )
        return record.tags if whole or len(record.annotated) == 1 else {}
    found: dict[str, dict[str, None]] = {}
    unsure: set[str] = set()
    for span in spans:
        inside = span.start >= place.start - TOLERANCE_SECONDS and span.end <= place.end + TOLERANCE_SECONDS
        for control, tags in (span.tags or {}).items():
            found.setdefault(control, {}).update(dict.fromkeys(tags))
            if tags and not inside:
                unsure.add(control)
    return {control: tuple(tags) for control, tags in found.items() if control not in unsure}


def _dropped_tags(
    record: ClipRecord, spans: Iterable[AnnotatedSpan], tags: Mapping[str, tuple[str, ...]]
) -> int:
    """Number of tags that were given to the spans, or where that is unknown to the sound, and not kept."""
    given = {
        (control, tag)
        for span in spans
        for control, found in (record.tags if span.tags is None else span.tags).items()
        for tag in found
    }
    return len(given - {(control, tag) for control, found in tags.items() for tag in found})


def _names(spans: Iterable[AnnotatedSpan]) -> str | None:
    """Annotators of a part, each once; several joined by commas, which is no account's name."""
    return ", ".join(dict.fromkeys(span.annotator for span in spans if span.annotator)) or None


def _labels_within(record: ClipRecord, spans: Sequence[AnnotatedSpan], place: Stretch) -> int:
    def touches(region: RegionRecord) -> bool:
        return region.start < place.end and region.end > place.start

    regions = sum(touches(region) for found in record.regions.values() for region in found)
    tags = [tag for span in spans for found in (span.tags or {}).values() for tag in found]
    return regions + len(tags)
