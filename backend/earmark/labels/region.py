"""A stretch of sound and what is heard in it: what annotations hold and heads learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """``start`` and ``end`` in seconds, and every label that the region carries.

    ``weight``: how far the region is trusted, from 0 (says nothing) to 1, relative to its annotation.
    """

    start: float
    end: float
    labels: frozenset[str]
    weight: float = 1.0
