"""Correction effort: what it costs an annotator to turn suggestions into the annotation, in one unit.

Events are pairs of a time span and one label; a region with several labels is several events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from earmark.labels.region import Region
from earmark.labels.region_pairs import pair_regions

DRAW = 3.0
"""Effort of drawing a region and labelling it."""
DELETE = 1.0
RELABEL = 2.0
DRAG = 1.0
"""Effort of moving one edge of a region."""
TICK = 1.0
"""Effort of ticking or unticking a tag, or of choosing another one."""
RIGHT_SECONDS = 0.1
"""An edge that is no further off is left where it is."""
COLLAR_SECONDS, COLLAR_SHARE = 0.2, 0.5
"""An event counts as found with its onset this close, and its offset this close or within this share of its
length, as DCASE and ``sed_eval`` count."""
_NEVER = 1e6


class Event(NamedTuple):
    """A label from ``start`` to ``end``, in seconds."""

    start: float
    end: float
    label: str


def events_of(regions: Iterable[Region]) -> list[Event]:
    """Return the events of regions, in order of time."""
    return sorted(Event(region.start, region.end, label) for region in regions for label in region.labels)


def region_effort(shown: Sequence[Event], true: Sequence[Event]) -> float:
    """Return the least effort of turning the shown events into the true ones.

    Each shown event is deleted, or becomes a true one that it overlaps; what is left is drawn.
    """
    if not shown or not true:
        return DELETE * len(shown) + DRAW * len(true)
    size = len(shown) + len(true)
    costs = np.zeros((size, size))
    costs[: len(shown), : len(true)] = change_efforts(shown, true)
    costs[: len(shown), len(true) :] = DELETE
    costs[len(shown) :, : len(true)] = DRAW
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].sum())


def drawing_effort(true: Sequence[Event]) -> float:
    """Return the effort of drawing all events without any suggestion."""
    return DRAW * len(true)


def tag_effort(shown: frozenset[str], true: frozenset[str], exclusive: bool) -> float:
    """Return the effort of turning shown tags into the true ones.

    ``exclusive``: choosing one replaces another.
    """
    if exclusive:
        return TICK if shown != true else 0.0
    return TICK * len(shown ^ true)


def events_found(shown: Sequence[Event], true: Sequence[Event]) -> int:
    """Return how many true events a shown one of their label matches within the collars, each used once."""
    if not shown or not true:
        return 0
    starts, ends = _distances(shown, true)
    lengths = np.array([event.end - event.start for event in true])
    matches = _same_label(shown, true) & (starts <= COLLAR_SECONDS)
    matches &= ends <= np.maximum(COLLAR_SECONDS, COLLAR_SHARE * lengths)
    rows, columns = linear_sum_assignment(matches, maximize=True)
    return int(matches[rows, columns].sum())


def false_alarms(shown: Sequence[Event], true: Sequence[Event]) -> int:
    """Return how many shown events overlap no true one of any label."""
    return int((~_overlaps(shown, true).any(axis=1)).sum()) if true else len(shown)


def background_seconds(true: Sequence[Event], duration: float) -> float:
    """Return the seconds of a recording in which nothing is annotated."""
    sounding, last = 0.0, 0.0
    for start, end, _ in sorted(true):
        end = min(end, duration)
        sounding += max(0.0, end - max(start, last))
        last = max(last, end)
    return max(0.0, duration - sounding)


def edge_errors(shown: Sequence[Event], true: Sequence[Event]) -> tuple[list[float], list[float]]:
    """Return how far onsets and offsets of shown events are off, in seconds.

    Each is compared with the true event of its label that it overlaps most; each is used once.
    """
    pairs = pair_regions(shown, true, may_pair=lambda guess, event: guess.label == event.label)
    onsets = [abs(shown[row].start - true[column].start) for row, column in pairs]
    offsets = [abs(shown[row].end - true[column].end) for row, column in pairs]
    return onsets, offsets


def change_efforts(shown: Sequence[Event], true: Sequence[Event]) -> NDArray[np.float64]:
    """Return the effort of turning each shown event into each true one, ``[shown, true]``.

    Above that of deleting and drawing for events that do not overlap.
    """
    starts, ends = _distances(shown, true)
    dragged = (starts > RIGHT_SECONDS).astype(np.float64) + (ends > RIGHT_SECONDS)
    costs = RELABEL * ~_same_label(shown, true) + DRAG * dragged
    return np.asarray(np.where(_overlaps(shown, true), costs, _NEVER))


def _distances(
    shown: Sequence[Event], true: Sequence[Event]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances of starts and of ends, in seconds, ``[shown, true]`` each."""
    shown_edges, true_edges = (np.array([event[:2] for event in events]) for events in (shown, true))
    distances = np.abs(shown_edges[:, None] - true_edges)
    return distances[..., 0], distances[..., 1]


def _same_label(shown: Sequence[Event], true: Sequence[Event]) -> NDArray[np.bool_]:
    return np.array([[guess.label == event.label for event in true] for guess in shown], dtype=bool)


def _overlaps(shown: Sequence[Event], true: Sequence[Event]) -> NDArray[np.bool_]:
    """Return which events overlap, ``[shown, true]``."""
    if not shown or not true:
        return np.zeros((len(shown), len(true)), dtype=bool)
    first, second = (np.array([event[:2] for event in events]) for events in (shown, true))
    common = np.minimum(first[:, None, 1], second[:, 1]) - np.maximum(first[:, None, 0], second[:, 0])
    return np.asarray(common > 0)
