"""Scores of predicted regions against known events: edges, event-based F1, and an annotator's effort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dcase_util
import numpy as np
import sed_eval
from scipy.optimize import linear_sum_assignment

from scripts.demo_clips import Event

DRAW, DELETE, RELABEL, DRAG = 3.0, 1.0, 2.0, 1.0
"""Effort of drawing a region, deleting one, giving it another label, and dragging one of its edges."""
RIGHT_SECONDS = 0.1
"""An edge that is no further off is left where it is."""
_NEVER = 1e6

Predictions = Sequence[Sequence[Event]]
"""Events of each mix."""


def effort(predicted: Sequence[Event], true: Sequence[Event]) -> float:
    """Least effort of turning suggestions into the truth."""
    size = len(predicted) + len(true)
    costs = np.zeros((size, size))
    for row, suggestion in enumerate(predicted):
        costs[row, len(true) :] = DELETE
        for column, event in enumerate(true):
            overlap = min(suggestion.offset, event.offset) - max(suggestion.onset, event.onset)
            dragged = int(abs(suggestion.onset - event.onset) > RIGHT_SECONDS) + int(
                abs(suggestion.offset - event.offset) > RIGHT_SECONDS
            )
            relabelled = suggestion.label != event.label
            costs[row, column] = RELABEL * relabelled + DRAG * dragged if overlap > 0 else _NEVER
    costs[len(predicted) :, : len(true)] = DRAW
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].sum())


def effort_ratio(predicted: Predictions, true: Predictions) -> float:
    """Effort of correcting the suggestions over that of drawing every event by hand."""
    corrected = sum(effort(*pair) for pair in zip(predicted, true, strict=True))
    return corrected / (DRAW * sum(map(len, true)))


def edge_errors(predicted: Predictions, true: Predictions) -> tuple[list[float], list[float]]:
    """Distances in seconds of onsets and offsets of suggestions from the events of their label that they
    overlap most, each once.
    """
    onsets, offsets = list[float](), list[float]()
    for suggestions, events in zip(predicted, true, strict=True):
        pairs = sorted(
            (
                (min(s.offset, e.offset) - max(s.onset, e.onset), row, column)
                for row, s in enumerate(suggestions)
                for column, e in enumerate(events)
                if s.label == e.label
            ),
            reverse=True,
        )
        rows, columns = set[int](), set[int]()
        for overlap, row, column in pairs:
            if overlap <= 0 or row in rows or column in columns:
                continue
            rows.add(row)
            columns.add(column)
            onsets.append(abs(suggestions[row].onset - events[column].onset))
            offsets.append(abs(suggestions[row].offset - events[column].offset))
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


def _f1(metric: Any) -> float:
    found = float(metric.results_overall_metrics()["f_measure"]["f_measure"])
    return found if np.isfinite(found) else 0.0


def _milliseconds(seconds: Sequence[float], percentile: float) -> float:
    return 1000 * float(np.percentile(seconds, percentile)) if seconds else float("nan")


def _container(events: Sequence[Event]) -> Any:
    return dcase_util.containers.MetaDataContainer(
        [
            {"file": "mix", "onset": e.onset, "offset": e.offset, "event_label": e.label}
            for e in sorted(events, key=lambda e: e.onset)
        ]
    )
