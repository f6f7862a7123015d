"""Separation of the events of one label: what a pause splits, and what is one event in spite of it.

Each label has a gap, from `head.region_scorer`: a shorter pause is part of an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.prediction.edge_refinement import EdgeRefiner, Span
from earmark.prediction.pauses import find_pauses

LEAST_AUDIBLE_SHARE = 0.5
"""A candidate that is inaudible for longer does not extend an event beside it: it is background."""
SLACK_SECONDS = 0.05
"""Edges and pauses are measured over different stretches of time, so they differ by about this much."""


def spanning_two_events(
    refiner: EdgeRefiner,
    spans: NDArray[np.float64],
    columns: NDArray[np.intp],
    usable: NDArray[np.bool_],
    gaps: NDArray[np.floating[Any]],
) -> NDArray[np.bool_]:
    """Return which candidates span two events, ``[n]``: a pause separates usable ones of their label in them.

    Parameters
    ----------
    usable
        Which candidates save work, ``[n]``; the others are neither split nor parts.
    gaps
        Shortest pause in seconds that separates two events of each label, ``[C]``.
    """
    spanning = np.zeros(len(spans), dtype=bool)
    pauses: dict[Span, list[Span]] = {}
    # In order of time, in which the levels are read fastest
    for whole, parts in sorted(
        _wholes(spans, columns, np.flatnonzero(usable)), key=lambda pair: float(spans[pair[0], 0])
    ):
        start, end = spans[whole].tolist()
        if (start, end) not in pauses:
            pauses[start, end] = find_pauses(refiner, (start, end))
        spanning[whole] = any(
            (spans[parts, 1] <= pause_start + SLACK_SECONDS).any()
            and (spans[parts, 0] >= pause_end - SLACK_SECONDS).any()
            for pause_start, pause_end in pauses[start, end]
            if pause_end - pause_start >= gaps[columns[whole]]
        )
    return spanning


def _wholes(
    spans: NDArray[np.float64], columns: NDArray[np.intp], usable: NDArray[np.intp]
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each candidate that holds two or more of its label apart from each other, with those in it."""
    for column in np.unique(columns[usable]):
        places = usable[columns[usable] == column]
        places = places[np.argsort(spans[places, 0], kind="stable")]
        starts, ends = spans[places].T
        for place, start, end in zip(places.tolist(), starts.tolist(), ends.tolist(), strict=True):
            near = slice(*np.searchsorted(starts, [start - SLACK_SECONDS, end]))
            inside = (ends[near] <= end + SLACK_SECONDS) & (places[near] != place)
            if inside.any() and ends[near][inside].min() < starts[near][inside].max():
                yield place, places[near][inside]


def joined(
    chosen: list[int],
    spans: NDArray[np.float64],
    columns: NDArray[np.intp],
    gaps: NDArray[np.floating[Any]],
    audible: NDArray[np.floating[Any]],
) -> list[list[int]]:
    """Group the chosen candidates into events.

    Those of one label are one event where pauses between them are shorter than its gap. The best candidate of
    an event stays, and the others where they are audible.

    Parameters
    ----------
    chosen
        Positions of candidates, the best first, those of one label apart from each other. Events are in the
        order of their first candidate in ``chosen``, and the candidates of each in order of time.
    spans, columns
        Of all candidates: in seconds ``[n, 2]``, and indices of labels ``[n]``.
    gaps
        Shortest pause in seconds that separates two events of each label, ``[C]``.
    audible
        Share of each candidate's time in which it is audible, in [0, 1], ``[n]``.
    """
    rank = {place: position for position, place in enumerate(chosen)}
    best = {min(chain, key=rank.__getitem__) for chain in _chains(chosen, spans, columns, gaps)}
    sounding = [place for place in chosen if place in best or audible[place] >= LEAST_AUDIBLE_SHARE]
    events = _chains(sounding, spans, columns, gaps)
    return sorted(events, key=lambda event: min(rank[place] for place in event))


def _chains(
    places: Sequence[int],
    spans: NDArray[np.float64],
    columns: NDArray[np.intp],
    gaps: NDArray[np.floating[Any]],
) -> list[list[int]]:
    """Return candidates of one label with less than its gap between them together, in order of time."""
    chains: list[list[int]] = []
    last_of: dict[int, list[int]] = {}
    for place in sorted(places, key=lambda place: float(spans[place, 0])):
        column = int(columns[place])
        chain = last_of.get(column)
        if chain is None or spans[place, 0] - spans[chain[-1], 1] >= gaps[column]:
            chain = last_of[column] = []
            chains.append(chain)
        chain.append(place)
    return chains
