"""Event-based and segment-based scores of regions, by sed_eval.

Mesaros, Heittola and Virtanen, "Metrics for Polyphonic Sound Event Detection", Applied Sciences 6, 2016.
Events match within a collar of 200 ms at the onset, and of 200 ms or 20 % of the length at the offset, as
in DCASE; segments last 1 s.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.intervals import Bootstrap, Figure, with_support
from earmark.evaluation.predictions import Measured
from earmark.extras import require_extra
from earmark.labels.control import Control
from earmark.labels.region import Region

COLLAR_SECONDS = 0.2
OFFSET_SHARE = 0.2
SEGMENT_SECONDS = 1.0
MATCHING = (
    f"events match within {COLLAR_SECONDS * 1000:.0f} ms at the onset, and {COLLAR_SECONDS * 1000:.0f} ms or "
    f"{OFFSET_SHARE:.0%} of the length at the offset; segments last {SEGMENT_SECONDS:g} s"
)


@dataclass(frozen=True)
class EventClass:
    """Scores of one label. ``support``: annotated events."""

    label: str
    support: int
    event_precision: Figure | None
    event_recall: Figure | None
    event_f1: Figure | None
    segment_f1: Figure | None


@dataclass(frozen=True)
class EventFigures:
    """Scores of a control's regions; ``overall``: over all labels together; ``matching``: how, in words."""

    classes: tuple[EventClass, ...]
    overall: dict[str, Figure]
    matching: str = MATCHING


def event_figures(control: Control, sounds: Sequence[Measured], bootstrap: Bootstrap) -> EventFigures:
    """Score the regions that are shown for sounds against the annotated ones.

    Raises
    ------
    MissingExtraError
        The library ``sed_eval`` is not installed.
    """
    require_extra("sed_eval", "Scores of events")
    labels = list(control.labels)
    counts = [_counts(labels, control, sound) for sound in sounds]
    events, segments = (np.array([pair[kind] for pair in counts]) for kind in (0, 1))
    classes = []
    for k, label in enumerate(labels):
        own, parts = events[:, k], segments[:, k]
        if not own[:, 1:].any():
            continue
        precision, recall, f1 = _figures(own, bootstrap)
        recordings = bootstrap.recordings_with(own[:, 1] > 0)
        measured = (precision, recall, f1, _figures(parts, bootstrap)[2])
        classes.append(
            EventClass(label, int(own[:, 1].sum()), *(with_support(each, recordings) for each in measured))
        )
    overall: dict[str, Figure | None] = {}
    for name, values in (("event", events.sum(axis=1)), ("segment", segments.sum(axis=1))):
        figures = _figures(values, bootstrap)
        overall |= {
            f"{name}_{kind}": figure
            for kind, figure in zip(("precision", "recall", "f1"), figures, strict=True)
        }
    return EventFigures(
        tuple(classes), {name: figure for name, figure in overall.items() if figure is not None}
    )


def _figures(
    counts: NDArray[np.float64], bootstrap: Bootstrap
) -> tuple[Figure | None, Figure | None, Figure | None]:
    """Precision, recall and F1 from ``[n, 3]``: hits, annotated and shown of each sound."""
    hits, true, shown = counts.T
    return (
        bootstrap.ratio(hits, shown),
        bootstrap.ratio(hits, true),
        bootstrap.ratio(2 * hits, true + shown),
    )


def _counts(
    labels: list[str], control: Control, sound: Measured
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hits, annotated and shown events, and segments, of each label: ``[C, 3]`` each, by sed_eval."""
    sed_eval, _ = _libraries()
    events = sed_eval.sound_event.EventBasedMetrics(
        labels, t_collar=COLLAR_SECONDS, percentage_of_length=OFFSET_SHARE
    )
    segments = sed_eval.sound_event.SegmentBasedMetrics(labels, time_resolution=SEGMENT_SECONDS)
    reference = _event_list(sound.clip.regions[control.name], labels)
    estimated = _event_list(sound.shown_regions(control), labels)
    events.evaluate(reference, estimated)
    segments.evaluate(reference, estimated, evaluated_length_seconds=sound.clip.duration)
    return _class_counts(events, labels), _class_counts(segments, labels)


@lru_cache(maxsize=1)
def _libraries() -> tuple[Any, Any]:
    """Import sed_eval and dcase_util's containers, without a warning about the former's setuptools."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sed_eval = import_module("sed_eval")
        return sed_eval, import_module("dcase_util.containers")


def _class_counts(metrics: Any, labels: Sequence[str]) -> NDArray[np.float64]:
    names = ("Ntp", "Nref", "Nsys")
    return np.array(
        [[metrics.class_wise[label][name] for name in names] for label in labels], dtype=np.float64
    )


def _event_list(regions: Sequence[Region], labels: Sequence[str]) -> Any:
    _, containers = _libraries()
    return containers.MetaDataContainer(
        [
            {"filename": "sound", "onset": region.start, "offset": region.end, "event_label": label}
            for region in regions
            for label in sorted(region.labels & set(labels))
            if region.end > region.start
        ]
    )
