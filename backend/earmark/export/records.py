"""Data model of exports and imports: a labelled sound, as every format writes and reads it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Source = Literal["annotation", "prediction"]

SOURCE_FIELD, SOURCE_START_FIELD, SOURCE_END_FIELD = "source", "source_start", "source_end"
"""Fields of a task's data that make it a stretch of a longer recording: the name of the whole, and the
start and end of the stretch in seconds of the whole."""

SOURCE_DIGEST_FIELD = "source_sha256"
"""Field with the SHA-256 of the whole recording's file, if an import wrote it: it distinguishes
recordings of the same name."""

TRUST_FIELD = "label_trust"
"""Field with the reliability of imported labels: ``curated`` or ``noisy``."""

SAMPLE_RATE_FIELD = "sample_rate"
"""Field with the samples a second of the imported file."""

EXPANSION_FIELD = "time_expansion"
"""Field with how many times as long a task's sound is as the recording that it was made of."""

STRETCHES_FIELD = "source_stretches"
"""Field of a rejoined record's data: its stretches, in seconds of the whole."""


@dataclass(frozen=True)
class AnnotatedSpan:
    """A part of a sound that was annotated completely; an infinite ``end`` is the end of the sound.

    An empty one says that no part was, see `NOTHING`.

    ``tags``: labels of this part for each control; None where a format does not separate them from
    those of other parts.
    """

    start: float
    end: float
    annotator: str | None = None
    tags: Mapping[str, tuple[str, ...]] | None = None


NOTHING = AnnotatedSpan(0.0, 0.0)
"""The only span of a sound of which no part was annotated completely: an annotator left open what else
sounds there, or a format could not hold a label that lasts from its start to its end."""


@dataclass(frozen=True)
class RegionRecord:
    """A region with one label from ``start`` to ``end``, in seconds of the sound; they may be equal.

    A region of Label Studio with several labels is one record for each label, all with its id. An empty
    label leaves open what sounds there: label files of other tools have such regions.
    """

    start: float
    end: float
    label: str
    score: float | None = None
    """Confidence from 0 to 1, if there is one."""
    annotator: str | None = None
    id: str | None = None
    is_denied: bool = False
    """Whether the label is "not …": an annotator denied it there, and left others open."""


@dataclass(frozen=True)
class ClipRecord:
    """The labels that one annotator, or one version of a model, gave one sound.

    A task with three annotations is three records. Every control of the project for regions is a key
    of ``regions``; an empty value means that an annotator listened and nothing sounds. A control that
    is a key neither of ``regions`` nor of ``tags`` was not answered.
    """

    file_name: str
    """Name of the sound for people; it may have folders, separated by ``/``."""
    sound: str = ""
    """The sound's address in the task, or a path; empty where a format does not hold it."""
    task_id: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """All fields of the task's data, as JSON values."""
    duration: float | None = None
    """Seconds, where known."""
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels of the whole sound for each control, in the order of their choice."""
    tag_scores: Mapping[str, float] = field(default_factory=dict)
    """Score of a control's tags, from 0 to 1, where there is one."""
    regions: Mapping[str, tuple[RegionRecord, ...]] = field(default_factory=dict)
    source: Source = "annotation"
    version: str | None = None
    """Model version of a prediction."""
    annotator: str | None = None
    """E-mail address of the annotator, or the user id in Label Studio."""
    ground_truth: bool = False
    id: int | None = None
    """Id of the annotation or prediction in Label Studio."""
    annotated: tuple[AnnotatedSpan, ...] = ()
    """Annotated parts of the sound; empty for the whole sound."""

    @property
    def is_open(self) -> bool:
        """Whether no part was annotated completely: its labels say nothing about others."""
        return bool(self.annotated) and all(span.end <= span.start for span in self.annotated)


@dataclass(frozen=True)
class Stretch:
    """A stretch of a longer recording: ``start`` and ``end`` are seconds of ``source``."""

    source: str
    start: float
    end: float


def stretch_of(data: Mapping[str, Any]) -> Stretch | None:
    """Return the stretch of a longer recording that a task's data describes, or None for a whole sound."""
    source = data.get(SOURCE_FIELD)
    start, end = _seconds(data.get(SOURCE_START_FIELD)), _seconds(data.get(SOURCE_END_FIELD))
    if not isinstance(source, str) or not source or start is None or end is None:
        return None
    return Stretch(source, start, end) if 0 <= start < end else None


def highest_frequency(data: Mapping[str, Any]) -> float | None:
    """Return half of the recording's sample rate in Hz, where the task's data has that of its sound."""
    rate = _seconds(data.get(SAMPLE_RATE_FIELD))
    return rate * expansion_of(data) / 2 if rate and rate > 0 else None


def expansion_of(data: Mapping[str, Any]) -> float:
    """Return how many times as long a task's sound is as its recording: 1 without such a field."""
    factor = _seconds(data.get(EXPANSION_FIELD))
    return factor if factor and factor > 0 else 1.0


def scaled(record: ClipRecord, factor: float) -> ClipRecord:
    """Return a record with all times multiplied by a factor."""
    if factor == 1:
        return record

    def times(seconds: float) -> float:
        return round(seconds * factor, 9)

    return replace(
        record,
        duration=None if record.duration is None else times(record.duration),
        regions={
            control: tuple(replace(r, start=times(r.start), end=times(r.end)) for r in group)
            for control, group in record.regions.items()
        },
        annotated=tuple(replace(s, start=times(s.start), end=times(s.end)) for s in record.annotated),
    )


def spans_without(
    spans: Iterable[AnnotatedSpan], gaps: Iterable[tuple[float, float]]
) -> tuple[AnnotatedSpan, ...]:
    """Return what is left of spans outside of gaps, each ``(start, end)`` in seconds; else `NOTHING`."""
    ordered = sorted(gaps)
    left = []
    for span in spans:
        reached = span.start
        for start, end in ordered:
            if min(start, span.end) > reached:
                left.append(replace(span, start=reached, end=min(start, span.end)))
            reached = max(reached, end)
        if span.end > reached:
            left.append(replace(span, start=reached))
    return tuple(left) or (NOTHING,)


def _seconds(value: object) -> float | None:
    """Parse a number, also from text: fields of imported tables are text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
