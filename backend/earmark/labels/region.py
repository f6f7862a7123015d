"""Region: a labelled time span of a sound, in annotations and as training data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """A time span, ``start`` and ``end`` in seconds, with every label that the region carries.

    ``weight``: how far the region is trusted, from 0 (not at all) to 1, relative to its annotation.
    ``absent``: labels that an annotator denied there. ``is_open``: which other labels sound there was
    not said, as in a region without a label: it is evidence neither for nor against them. ``channel``: the
    one that it was drawn on, from 0; where the editor shows the channels as one, they are channel 0.
    """

    start: float
    end: float
    labels: frozenset[str]
    weight: float = 1.0
    absent: frozenset[str] = frozenset()
    is_open: bool = False
    channel: int = 0
