"""Pictures of a report, as SVG that a page can hold; matplotlib draws them without a display."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

BARS_SHOWN = 40
TOGETHER_SHOWN = 25
_COLOUR = "#2f6f9f"
_BINS = 40
_SPREAD = 50.0
"""From this ratio of longest to shortest on, the axis of a histogram is logarithmic."""

Picture = tuple[str, str]
"""Its title, and ``<svg>…</svg>``."""


def histogram(title: str, values: Sequence[float], unit: str) -> Picture | None:
    """Draw how often values occur; None without any."""
    if not values:
        return None
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > _SPREAD
    figure, axes = _axes(5.6, 3.0)
    if low == high:
        edges: Any = np.array([low - 0.5, high + 0.5])
    else:
        edges = np.geomspace(low, high, _BINS) if logarithmic else np.linspace(low, high, _BINS)
    axes.hist(values, bins=edges, color=_COLOUR)
    if logarithmic:
        from matplotlib.ticker import LogLocator, StrMethodFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(LogLocator(subs=()))
    axes.set_xlabel(unit)
    axes.set_ylabel("files")
    axes.yaxis.get_major_locator().set_params(integer=True)
    return title, _svg(figure)


def bars(title: str, counts: Mapping[str, int]) -> Picture | None:
    """Draw counts, the largest on top; None without any."""
    shown = Counter(counts).most_common(BARS_SHOWN)
    if not shown:
        return None
    figure, axes = _axes(5.6, 1.0 + 0.24 * max(4, len(shown)))
    places = range(len(shown))
    drawn = axes.barh(places, [count for _, count in shown], color=_COLOUR, height=0.7)
    axes.bar_label(drawn, padding=3, fontsize=8)
    axes.set_yticks(places, [_short(name) for name, _ in shown])
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_xlabel("files")
    left = len(counts) - len(shown)
    return (f"{title} (the {BARS_SHOWN} most frequent of {len(counts)})" if left else title), _svg(figure)


def together(title: str, labels: Iterable[Sequence[str]]) -> Picture | None:
    """Draw in how many files each two labels occur; None where no file has two."""
    found = [sorted(set(names)) for names in labels]
    if not any(len(names) > 1 for names in found):
        return None
    frequent = Counter(name for names in found for name in names).most_common(TOGETHER_SHOWN)
    order = {name: place for place, (name, _) in enumerate(frequent)}
    counts = np.zeros((len(order), len(order)))
    for names in found:
        places = [order[name] for name in names if name in order]
        for first in places:
            for second in places:
                if first != second:
                    counts[first, second] += 1
    side = 2.0 + 0.28 * len(order)
    figure, axes = _axes(side + 0.6, side)
    axes.grid(visible=False)
    shown = np.where(counts > 0, counts, np.nan)
    # Vector squares: a bitmap in the page would blur, and be larger.
    drawn = axes.pcolormesh(shown, cmap="Blues", vmin=0, edgecolors="#eef2f5", linewidth=0.5)
    names_shown = [_short(name) for name in order]
    middles = np.arange(len(order)) + 0.5
    axes.set_xticks(middles, names_shown, rotation=90)
    axes.set_yticks(middles, names_shown)
    axes.invert_yaxis()
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="files")
    return title, _svg(figure)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    # The figure alone, not pyplot: no display, no state between two reports.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e6ebf0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    return figure, axes


def _svg(figure: Any) -> str:
    from matplotlib import rc_context

    text = io.StringIO()
    # Text stays text: it can be searched and copied, and any script shows in the reader's own fonts.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "earmark", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


def _short(name: str) -> str:
    # A dollar sign would begin a formula.
    return (name if len(name) <= 28 else name[:27] + "…").replace("$", r"\$")
