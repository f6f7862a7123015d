"""Chosen candidates as events: what is joined, and what beside an event is background."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.prediction.separation import joined

Parts = list[tuple[float, float, float]]
"""First and last second of candidates of one label, and the audible share of each."""


def events(parts: Parts, best_first: list[int] | None = None) -> list[tuple[float, float]]:
    """From and to of each event, for a gap of 0.2 s; by default the earlier candidate is the better one."""
    spans = np.array([part[:2] for part in parts])
    order = best_first or list(range(len(parts)))
    audible = np.array([part[2] for part in parts])
    chains = joined(order, spans, np.zeros(len(parts), dtype=np.intp), np.array([0.2]), audible)
    return [(spans[chain[0], 0], spans[chain[-1], 1]) for chain in chains]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(1.0, 1.4, 1.0), (1.5, 1.9, 1.0), (2.0, 2.4, 0.6)], [(1.0, 2.4)]),
        ([(1.0, 1.4, 1.0), (1.7, 2.1, 1.0)], [(1.0, 1.4), (1.7, 2.1)]),
        ([(2.0, 2.7, 1.0), (1.7, 2.0, 0.4), (0.9, 1.7, 0.3)], [(2.0, 2.7)]),
        ([(2.0, 2.7, 1.0), (2.7, 3.4, 0.2), (3.5, 3.9, 0.9)], [(2.0, 2.7), (3.5, 3.9)]),
        ([(2.0, 2.7, 1.0), (2.7, 2.8, 0.2), (2.85, 3.9, 0.9)], [(2.0, 3.9)]),
        ([(4.0, 4.5, 0.3)], [(4.0, 4.5)]),
    ],
    ids=["short pauses", "a long pause", "noise before", "noise between two", "a short pause", "faint alone"],
)
def test_background_beside_an_event_neither_extends_it_nor_joins_it_to_another(
    parts: Parts, expected: list[tuple[float, float]]
) -> None:
    assert events(parts) == expected


def test_a_faint_best_candidate_stays_and_events_come_best_first() -> None:
    parts = [(1.0, 1.3, 0.9), (2.0, 2.3, 0.2), (2.4, 2.7, 1.0)]
    assert events(parts, best_first=[1, 0, 2]) == [(2.0, 2.7), (1.0, 1.3)]
