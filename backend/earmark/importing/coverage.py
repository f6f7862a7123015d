"""Coverage of a part of a sound by annotated spans: only a fully covered part gets an annotation.

An annotation without a label means "nothing sounds here" and trains the model. So a stretch that the
annotated spans cover only in part gets no annotation, and its labels are counted as lost. A region without a
label, or with one that is denied, says itself that it leaves open what sounds there: its time needs no span.
Where nothing was annotated completely, labels stay: the annotation leaves open what else sounds there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from earmark.export.records import AnnotatedSpan, ClipRecord, RegionRecord, Stretch
from earmark.labels.denials import may_deny

TOLERANCE_SECONDS = 0.1
"""Up to this much at the ends of a part may lie outside the spans: decoders differ by some frames."""
_GAP_SECONDS = 0.001
"""Up to this much may lie between spans: their times are rounded."""


@dataclass(frozen=True)
class Part:
    """The records that cover one part of a sound; times are still those of the whole sound.

    ``lost``: number of labels left out, namely those of records that do not cover the part, and tags of
    longer parts. ``partly``: whether anything is left out, even an annotation without labels.
    """

    records: tuple[ClipRecord, ...]
    lost: int = 0
    partly: bool = False


def annotated_part(records: Sequence[ClipRecord], part: Stretch, total_seconds: float) -> Part:
    """Select the records that cover a part of a sound, with the tags and annotator of that part."""
    selected: list[ClipRecord] = []
    lost, partly = 0, False
    for record in records:
        spans = [span for span in record.annotated if _overlap(span, part) > 0]
        left_open = [span for span in _left_open(record) if _overlap(span, part) > 0]
        whole = part.start <= TOLERANCE_SECONDS and part.end >= total_seconds - TOLERANCE_SECONDS
        named = any(region.label for region in _touching(record, part))
        if not record.annotated:
            selected.append(record)
        elif _cover([*spans, *left_open], part):
            if not (whole or named) and _cover(left_open, part):
                continue  # of this part nothing was said
            tags = (
                dict(record.tags) if whole and left_open else _part_tags(record, spans, part, total_seconds)
            )
            dropped = _dropped_tags(record, spans, tags)
            lost, partly = lost + dropped, partly or dropped > 0
            if tags or record.regions or not record.tags:
                annotator = record.annotator or _annotator_names(spans)
                scores = {name: score for name, score in record.tag_scores.items() if name in tags}
                # Regions that leave their time open do so; the rest is annotated
                annotated = (AnnotatedSpan(part.start, part.end),) if left_open else ()
                selected.append(
                    replace(record, tags=tags, tag_scores=scores, annotator=annotator, annotated=annotated)
                )
        elif record.is_open:
            if named or (whole and record.regions):
                selected.append(record)
            elif whole:
                partly, lost = True, lost + sum(map(len, record.tags.values()))
        else:
            partly |= bool(spans)
            lost += _count_labels(record, spans, part) if spans else 0
    return Part(tuple(selected), lost, partly)


def _left_open(record: ClipRecord) -> Iterator[AnnotatedSpan]:
    """Yield the times of regions that leave open what sounds there.

    A label that begins with "not" and denies nothing is in an annotated span anyway.
    """
    for region in (region for group in record.regions.values() for region in group):
        if not region.label or region.is_denied or may_deny(region.label):
            yield AnnotatedSpan(region.start, region.end)


def _overlap(span: AnnotatedSpan, part: Stretch) -> float:
    return min(span.end, part.end) - max(span.start, part.start)


def _cover(spans: Iterable[AnnotatedSpan], part: Stretch) -> bool:
    """Whether spans cover a part of a sound."""
    outside, between, reached = 0.0, 0.0, part.start
    for number, span in enumerate(sorted(spans, key=lambda span: span.start)):
        gap = max(0.0, span.start - reached)
        outside, between = (outside, between + gap) if number else (gap, 0.0)
        reached = max(reached, span.end)
    outside += max(0.0, part.end - reached)
    return outside <= TOLERANCE_SECONDS and between <= _GAP_SECONDS


def _part_tags(
    record: ClipRecord, spans: Sequence[AnnotatedSpan], part: Stretch, total: float
) -> Mapping[str, tuple[str, ...]]:
    """Tags that hold for the part: a tag of a longer span need not hold for a piece of it."""
    if not spans or any(span.tags is None for span in spans):
        whole = any(
            span.start <= TOLERANCE_SECONDS and span.end >= total - TOLERANCE_SECONDS for span in spans
        )
        return record.tags if whole or len(record.annotated) == 1 else {}
    tags_by_control: dict[str, dict[str, None]] = {}
    unsure: set[str] = set()
    for span in spans:
        inside = span.start >= part.start - TOLERANCE_SECONDS and span.end <= part.end + TOLERANCE_SECONDS
        for control, tags in (span.tags or {}).items():
            tags_by_control.setdefault(control, {}).update(dict.fromkeys(tags))
            if tags and not inside:
                unsure.add(control)
    return {control: tuple(tags) for control, tags in tags_by_control.items() if control not in unsure}


def _dropped_tags(
    record: ClipRecord, spans: Iterable[AnnotatedSpan], tags: Mapping[str, tuple[str, ...]]
) -> int:
    """Count the tags of the spans, or of the sound where spans have none of their own, that are not kept."""
    source_tags = {
        (control, tag)
        for span in spans
        for control, names in (record.tags if span.tags is None else span.tags).items()
        for tag in names
    }
    return len(source_tags - {(control, tag) for control, names in tags.items() for tag in names})


def _annotator_names(spans: Iterable[AnnotatedSpan]) -> str | None:
    """Annotators of a part, each once; several are joined by commas, and match no account."""
    return ", ".join(dict.fromkeys(span.annotator for span in spans if span.annotator)) or None


def _count_labels(record: ClipRecord, spans: Sequence[AnnotatedSpan], part: Stretch) -> int:
    tags = [tag for span in spans for group in (span.tags or {}).values() for tag in group]
    return sum(1 for region in _touching(record, part) if region.label) + len(tags)


def _touching(record: ClipRecord, part: Stretch) -> Iterator[RegionRecord]:
    for region in (region for group in record.regions.values() for region in group):
        if region.start < part.end and region.end > part.start:
            yield region
