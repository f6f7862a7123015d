"""Learning curve of a project as data for a plot: three series over the number of annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from earmark.web.version_points import VersionPoint

TREND_SUGGESTIONS = 40
"""A trend is the mean over the neighbouring versions that have at least this many suggestions together."""


def curve_data(points: Sequence[VersionPoint]) -> dict[str, Any]:
    """Return the points of a plot as JSON values, oldest first.

    ``x``: annotations; ``names`` and ``states`` of the versions; ``accepted``: share of suggestions that was
    submitted unchanged, ``trend``: its moving mean; ``edges``: share of edges that were moved;
    ``quality``: on recordings left out. Values that are not known are null.
    """
    return {
        "x": [point.annotations for point in points],
        "names": [point.name for point in points],
        "states": [point.state for point in points],
        "accepted": [_rounded(point.accepted_share) for point in points],
        "trend": [_rounded(value) for value in _trend(points)],
        "edges": [_rounded(point.edges.share) for point in points],
        "quality": [_rounded(point.measured.quality) for point in points],
    }


def curve_sentence(points: Sequence[VersionPoint]) -> str:
    """Describe the curve in a sentence, for readers who do not see the plot; empty without any figures."""
    parts = []
    for name, values in (
        ("suggestions accepted as they were", [v for v in _trend(points) if v is not None]),
        ("quality on recordings left out", [q for p in points if (q := p.measured.quality) is not None]),
    ):
        if values:
            parts.append(f"{name}: {100 * values[0]:.0f} % at first, {100 * values[-1]:.0f} % now")
    return "; ".join(parts)


def accepted_lately(points: Sequence[VersionPoint]) -> float | None:
    """Return the share that was accepted of the last `TREND_SUGGESTIONS` or more; None without any."""
    return _trend(points)[-1] if points else None


def _trend(points: Sequence[VersionPoint]) -> list[float | None]:
    """Return `accepted_lately` up to each version."""
    shares: list[float | None] = []
    first = suggested = accepted = 0
    for point in points:
        suggested += point.suggested
        accepted += point.accepted
        while suggested - points[first].suggested >= TREND_SUGGESTIONS:
            suggested -= points[first].suggested
            accepted -= points[first].accepted
            first += 1
        shares.append(accepted / suggested if suggested else None)
    return shares


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
