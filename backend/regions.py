"""A stretch of sound and what is heard in it: what annotations hold and heads learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """``start`` and ``end`` in seconds, and every label that the region carries."""

    start: float
    end: float
    labels: frozenset[str]
