"""Charts of the import report: inline SVG, drawn by matplotlib without a display."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

BARS_SHOWN = 40
COOCCURRENCE_SHOWN = 25
_COLOUR = "#2f6f9f"
_BINS = 40
_SPREAD = 50.0
"""Ratio of the largest to the smallest value above which the axis of a histogram is logarithmic."""

Chart = tuple[str, str]
"""Title, and ``<svg>…</svg>``."""


def histogram(title: str, values: Sequence[float], unit: str) -> Chart | None:
    """Draw a histogram of the values; None without any."""
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


def bars(title: str, counts: Mapping[str, int]) -> Chart | None:
    """Draw a bar chart of counts, the largest on top; None without any."""
    shown = Counter(counts).most_common(BARS_SHOWN)
    if not shown:
        return None
    figure, axes = _axes(5.6, 1.0 + 0.24 * max(4, len(shown)))
    positions = range(len(shown))
    container = axes.barh(positions, [count for _, count in shown], color=_COLOUR, height=0.7)
    axes.bar_label(container, padding=3, fontsize=8)
    axes.set_yticks(positions, [_shorten(name) for name, _ in shown])
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_xlabel("files")
    hidden = len(counts) - len(shown)
    return (f"{title} (the {BARS_SHOWN} most frequent of {len(counts)})" if hidden else title), _svg(figure)


def cooccurrence(title: str, labels: Iterable[Sequence[str]]) -> Chart | None:
    """Draw the co-occurrence matrix of labels, in files; None where no file has two labels."""
    label_sets = [sorted(set(names)) for names in labels]
    if not any(len(names) > 1 for names in label_sets):
        return None
    frequent = Counter(name for names in label_sets for name in names).most_common(COOCCURRENCE_SHOWN)
    position_of = {name: position for position, (name, _) in enumerate(frequent)}
    counts = np.zeros((len(position_of), len(position_of)))
    for names in label_sets:
        positions = [position_of[name] for name in names if name in position_of]
        for row in positions:
            for column in positions:
                if row != column:
                    counts[row, column] += 1
    inches = 2.0 + 0.28 * len(position_of)
    figure, axes = _axes(inches + 0.6, inches)
    axes.grid(visible=False)
    shown = np.where(counts > 0, counts, np.nan)
    # Vector squares: a bitmap in the page would blur and be larger.
    mesh = axes.pcolormesh(shown, cmap="Blues", vmin=0, edgecolors="#eef2f5", linewidth=0.5)
    names_shown = [_shorten(name) for name in position_of]
    centers = np.arange(len(position_of)) + 0.5
    axes.set_xticks(centers, names_shown, rotation=90)
    axes.set_yticks(centers, names_shown)
    axes.invert_yaxis()
    figure.colorbar(mesh, ax=axes, shrink=0.7, label="files")
    return title, _svg(figure)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    # Figure without pyplot: needs no display and keeps no state between reports.
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

    buffer = io.StringIO()
    # Text stays text, not outlines: it can be searched and copied, and uses the fonts of the browser.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "earmark", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    document = buffer.getvalue()
    return document[document.index("<svg") :]


def _shorten(name: str) -> str:
    # matplotlib would read a dollar sign as the start of a formula.
    return (name if len(name) <= 28 else name[:27] + "…").replace("$", r"\$")
