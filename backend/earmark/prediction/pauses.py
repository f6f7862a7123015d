"""Pauses: where the sound of a region is inaudible for a while, from band levels.

Whether a pause separates two events or is part of one depends on the label; `learning.event_gaps` learns it.
"""

from __future__ import annotations

from earmark.features.band_levels import HOP_SECONDS
from earmark.prediction.edge_refinement import MEAN_HOPS, EdgeRefiner, Span
from earmark.prediction.overlap import runs

LONGEST_SECONDS = 60.0
"""Pauses are not looked for in longer regions, which would take time."""
SHORTEST_PAUSE_SECONDS = 0.05


def find_pauses(refiner: EdgeRefiner, span: Span) -> list[Span]:
    """Return the pauses between the first and the last audible moment of a span, in seconds."""
    first, last = refiner.hops_of(span)
    if last - first <= MEAN_HOPS or span[1] - span[0] > LONGEST_SECONDS:
        return []
    audible = refiner.audible(first, last)
    reach = MEAN_HOPS // 2
    return [
        ((first + start - reach) * HOP_SECONDS, (first + end + reach) * HOP_SECONDS)
        for start, end in runs(~audible)
        if start > 0
        and end < len(audible)
        and (end - start + 2 * reach) * HOP_SECONDS >= SHORTEST_PAUSE_SECONDS
    ]


def pause_between(refiner: EdgeRefiner, before: Span, after: Span) -> float:
    """Return the length in seconds of the longest pause between the middles of two regions; 0 without any."""
    pauses = find_pauses(refiner, (sum(before) / 2, sum(after) / 2))
    return max((end - start for start, end in pauses), default=0.0)
