"""One labelled sound as every format writes and reads it: what exports and imports agree on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Source = Literal["annotation", "prediction"]

SOURCE_FIELD, SOURCE_START_FIELD, SOURCE_END_FIELD = "source", "source_start", "source_end"
"""Fields of a task's data that make it a stretch of a longer recording: the name of the whole, and
from where to where the stretch goes, in seconds of the whole."""

SOURCE_DIGEST_FIELD = "source_sha256"
"""Field with the sha256 of the whole recording's file, where an import has written it: two recordings
may have one name."""

STRETCHES_FIELD = "source_stretches"
"""Field of a joined record's data: the stretches that it is made of, in seconds of the whole."""


@dataclass(frozen=True)
class AnnotatedSpan:
    """One part of a sound that was annotated from beginning to end; ``end`` may be infinite, its end.

    ``tags``: labels of this part for each control; None where a format does not tell them from those of
    other parts.
    """

    start: float
    end: float
    annotator: str | None = None
    tags: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class RegionRecord:
    """One label from ``start`` to ``end``, seconds of the record's sound; they may be equal.

    A region of Label Studio with several labels is one record for each label, all with its id.
    """

    start: float
    end: float
    label: str
    score: float | None = None
    """From 0 to 1, where somebody or something gave one."""
    annotator: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class ClipRecord:
    """What one annotator, or one version of a model, says of one sound.

    A task with three annotations is three records. Every control of the project that marks regions is
    a key of ``regions``; an empty one says that somebody listened and nothing sounds. A control
    without a key, among the ``tags`` too, says nothing.
    """

    file_name: str
    """The name that people know the sound by; it may have folders, separated by ``/``."""
    sound: str = ""
    """The sound's address in the task, or a path; empty where a format has no place for it."""
    task_id: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """All fields of the task's data, as JSON has them."""
    duration: float | None = None
    """Seconds, where known."""
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels of the whole sound for each control, in the order in which they were chosen."""
    tag_scores: Mapping[str, float] = field(default_factory=dict)
    """Score of a control's tags, from 0 to 1, where there is one."""
    regions: Mapping[str, tuple[RegionRecord, ...]] = field(default_factory=dict)
    source: Source = "annotation"
    version: str | None = None
    """Version that made a prediction."""
    annotator: str | None = None
    """E-mail of who made an annotation, or Label Studio's number of them."""
    ground_truth: bool = False
    id: int | None = None
    """Label Studio's number of the annotation or prediction."""
    annotated: tuple[AnnotatedSpan, ...] = ()
    """Parts of the sound that it is about; without any, the whole sound."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of a longer recording: ``start`` and ``end`` are seconds of ``source``."""

    source: str
    start: float
    end: float


def stretch_of(data: Mapping[str, Any]) -> Stretch | None:
    """Return which stretch of a longer recording a task's data is, or None for a whole sound."""
    source = data.get(SOURCE_FIELD)
    start, end = _seconds(data.get(SOURCE_START_FIELD)), _seconds(data.get(SOURCE_END_FIELD))
    if not isinstance(source, str) or not source or start is None or end is None:
        return None
    return Stretch(source, start, end) if 0 <= start < end else None


def _seconds(value: object) -> float | None:
    """A number; imports of tables make texts of all fields."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
