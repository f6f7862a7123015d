"""Bootstrap intervals: percentiles over resampled recordings, so that stretches of one stay together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
LEAST_RECORDINGS = 5
"""With fewer recordings, or fewer with a label, there is no interval: it would be far too narrow."""
_CELLS_AT_ONCE = 4_000_000
"""Weights that are expanded to rows in one batch: 32 MB, and as much for each step of a measure."""

Measure = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Maps weights of rows ``[B, n]`` to a figure for each of them ``[B]``, NaN where it is not defined."""


@dataclass(frozen=True)
class Figure:
    """A figure and its interval; ``low`` and ``high`` are None where recordings do not tell it."""

    value: float
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Resampled weights of rows, drawn once for all figures of a control.

    Parameters
    ----------
    recordings
        The recording of each row ``[n]``.
    """

    def __init__(self, recordings: Sequence[str], seed: int = 0) -> None:
        names, self._rows = np.unique(np.asarray(recordings, dtype=str), return_inverse=True)
        resamples = RESAMPLES if len(names) >= LEAST_RECORDINGS else 0
        draws = np.random.default_rng(seed).multinomial(
            len(names), np.full(len(names), 1 / max(1, len(names))), size=resamples
        )
        self._draws = draws.astype(np.uint32)

    def recordings_with(self, rows: NDArray[np.bool_]) -> int:
        """Return how many recordings some rows ``[n]`` are of."""
        return len(np.unique(self._rows[rows]))

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Yield how often each row is drawn, ``[b, n]`` for some resamples at a time."""
        batch = max(1, _CELLS_AT_ONCE // max(1, len(self._rows)))
        for first in range(0, len(self._draws), batch):
            yield self._draws[first : first + batch, self._rows].astype(np.float64)

    def values(self, measure: Measure) -> NDArray[np.float64]:
        """Return a figure of all rows, followed by that of each resample: ``[1 + B]``."""
        all_rows = np.ones((1, len(self._rows)))
        return np.concatenate([measure(all_rows), *(measure(weights) for weights in self.weights())])

    def figure(self, measure: Measure) -> Figure | None:
        """Return a figure of all rows with its interval; None where the figure is not defined."""
        return figure_of(self.values(measure))

    def ratio(self, over: NDArray[Any], under: NDArray[Any]) -> Figure | None:
        """Return the sum of ``over`` divided by that of ``under``, both ``[n]``, with its interval."""
        return self.figure(lambda weights: ratios(weights @ over, weights @ under))


def figure_of(values: NDArray[np.float64]) -> Figure | None:
    """Return the figure and interval of `Bootstrap.values` ``[1 + B]``; None where it is not defined."""
    value, resampled = float(values[0]), values[1:][np.isfinite(values[1:])]
    if not np.isfinite(value):
        return None
    # Where all resamples agree, as of a label that was always found, there is nothing to say how sure that is
    if not len(resampled) or np.ptp(resampled) == 0:
        return Figure(value)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Of a figure at the edge of its range, the percentiles may miss the figure itself
    return Figure(value, float(min(low, value)), float(max(high, value)))


def with_support(figure: Figure | None, recordings: int) -> Figure | None:
    """Return a label's figure, without an interval where fewer than `LEAST_RECORDINGS` have the label.

    Resamples of one recording repeat it, and their interval has no width, which looks like certainty.
    """
    return replace(figure, low=None, high=None) if figure and recordings < LEAST_RECORDINGS else figure


def ratios(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``over / under``, NaN where ``under`` is 0."""
    return np.asarray(np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0))
