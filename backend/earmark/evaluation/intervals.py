"""Bootstrap intervals: percentiles over resampled recordings, so that stretches of one stay together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
LEAST_RECORDINGS = 3
"""With fewer recordings an interval would say nothing."""


@dataclass(frozen=True)
class Figure:
    """A figure and its interval; ``low`` and ``high`` are None where there are too few recordings."""

    value: float
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Resampled weights of rows, drawn once for all figures of a control.

    Parameters
    ----------
    recordings
        The recording of each row.
    """

    def __init__(self, recordings: Sequence[str], seed: int = 0) -> None:
        names, rows = np.unique(np.asarray(recordings, dtype=str), return_inverse=True)
        self._enough = len(names) >= LEAST_RECORDINGS
        draws = np.random.default_rng(seed).multinomial(
            len(names), np.full(len(names), 1 / max(1, len(names))), size=RESAMPLES if self._enough else 0
        )
        self.weights: NDArray[np.float64] = draws[:, rows].astype(np.float64)
        """How often each row is drawn: ``[B, n]``."""

    def figure(
        self, value: float, resampled: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Figure | None:
        """Return a figure with its interval; None where the figure is not defined.

        Parameters
        ----------
        resampled
            Maps weights ``[B, n]`` to the figure of each resample ``[B]``; NaN where it is not defined.
        """
        if not np.isfinite(value):
            return None
        if not self._enough:
            return Figure(float(value))
        values = resampled(self.weights)
        values = values[np.isfinite(values)]
        if not len(values):
            return Figure(float(value))
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        # Of a figure at the edge of its range, the percentiles may miss the figure itself
        return Figure(float(value), float(min(low, value)), float(max(high, value)))

    def ratio(self, value: float, over: NDArray[Any], under: NDArray[Any]) -> Figure | None:
        """Return a figure that is a sum over rows divided by another one, with its interval."""
        return self.figure(value, lambda weights: ratios(weights @ over, weights @ under))


def ratios(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``over / under``, NaN where ``under`` is 0."""
    return np.asarray(np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0))
