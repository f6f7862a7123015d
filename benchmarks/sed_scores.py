"""Scores of predicted regions against known events: edges, event-based F1, and an annotator's effort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dcase_util
import numpy as np
import sed_eval

from earmark.head import correction_effort
from earmark.head.correction_effort import drawing_effort, region_effort
from scripts.demo_clips import Event

Predictions = Sequence[Sequence[Event]]
"""Events of each mix."""


def effort_ratio(predicted: Predictions, true: Predictions) -> float:
    """Effort of correcting the suggestions over that of drawing every event by hand."""
    pairs = list(zip(map(_events, predicted), map(_events, true), strict=True))
    corrected = sum(region_effort(*pair) for pair in pairs)
    return corrected / sum(drawing_effort(events) for _, events in pairs)


def edge_errors(predicted: Predictions, true: Predictions) -> tuple[list[float], list[float]]:
    """How far onsets and offsets of suggestions are off, in seconds."""
    onsets, offsets = list[float](), list[float]()
    for shown, events in zip(predicted, true, strict=True):
        of_mix = correction_effort.edge_errors(_events(shown), _events(events))
        onsets += of_mix[0]
        offsets += of_mix[1]
    return onsets, offsets


def scores(
    predicted: Predictions, true: Predictions, labels: Sequence[str], background: Predictions, minutes: float
) -> dict[str, float]:
    """All figures of one head; ``background``: predictions on so many minutes without any event."""
    event = sed_eval.sound_event.EventBasedMetrics(list(labels), t_collar=0.2, percentage_of_length=0.5)
    onset = sed_eval.sound_event.EventBasedMetrics(list(labels), t_collar=0.1, evaluate_offset=False)
    segment = sed_eval.sound_event.SegmentBasedMetrics(list(labels), time_resolution=1.0)
    for suggestions, events in zip(predicted, true, strict=True):
        for metric in (event, onset, segment):
            metric.evaluate(_container(events), _container(suggestions))
    onsets, offsets = edge_errors(predicted, true)
    return {
        "event_f1_200ms": _f1(event),
        "onset_f1_100ms": _f1(onset),
        "segment_f1_1s": _f1(segment),
        "onset_error_ms_median": _milliseconds(onsets, 50),
        "onset_error_ms_p90": _milliseconds(onsets, 90),
        "offset_error_ms_median": _milliseconds(offsets, 50),
        "offset_error_ms_p90": _milliseconds(offsets, 90),
        "false_alarms_per_minute_on_background": sum(map(len, background)) / minutes,
        "effort_ratio": effort_ratio(predicted, true),
    }


def _events(events: Sequence[Event]) -> list[correction_effort.Event]:
    return [correction_effort.Event(event.onset, event.offset, event.label) for event in events]


def _f1(metric: Any) -> float:
    score = float(metric.results_overall_metrics()["f_measure"]["f_measure"])
    return score if np.isfinite(score) else 0.0


def _milliseconds(seconds: Sequence[float], percentile: float) -> float:
    return 1000 * float(np.percentile(seconds, percentile)) if seconds else float("nan")


def _container(events: Sequence[Event]) -> Any:
    return dcase_util.containers.MetaDataContainer(
        [
            {"file": "mix", "onset": e.onset, "offset": e.offset, "event_label": e.label}
            for e in sorted(events, key=lambda e: e.onset)
        ]
    )
