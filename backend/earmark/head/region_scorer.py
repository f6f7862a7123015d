"""Region scorer: how much effort each candidate region is expected to save an annotator if it is shown.

A small proportional-odds model (McCullagh, 1980) of a candidate's features, the same for all labels. It
starts from weights that were fitted to generated soundscapes, and each training moves them by the project's
own annotations; see `learning.region_scoring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

FEATURES = (
    "label_logit",
    "rival_logit",
    "contrast",
    "rise",
    "fall",
    "inner_rise",
    "inner_fall",
    "audible_share",
    "longest_pause",
    "loudness",
    "loudness_before",
    "loudness_after",
    "log_seconds",
    "unusual_length",
    "detected",
)
GAINS = (0.0, 1.0, 2.0, 3.0)
"""What showing a region can save, beyond the effort of deleting it: see `head.correction_effort`."""
LEAST_GAIN = -1.0
LEAST_PROBABILITY = 0.1
"""Before annotations: a sound of none of the labels looks like one of the least unlikely label."""
DEFAULT_GAP_SECONDS = 0.2
"""Pauses of this length separate two events of a label before any annotation."""
_FLOOR = 1e-4


@dataclass(frozen=True)
class RegionScorer:
    """Weights for the regions of C labels, float32 all.

    ``weights`` ``[F]`` of `FEATURES`; ``cuts`` ``[4]``: log odds of each of `GAINS` or more; ``offsets``
    ``[C]``: added for candidates of a label; ``lengths`` ``[C, 2]``: mean and standard deviation of the
    logarithm of a label's lengths in seconds. ``least`` ``[1]``: probability that a label must have, whatever
    it would save; 0 once annotations tell what a clear sound of no label costs. ``gaps`` ``[C]``: seconds; a
    shorter pause is part of an event, and a longer one separates two.
    """

    weights: NDArray[np.float32]
    cuts: NDArray[np.float32]
    offsets: NDArray[np.float32]
    lengths: NDArray[np.float32]
    least: NDArray[np.float32]
    gaps: NDArray[np.float32]

    @classmethod
    def default(cls, count: int) -> RegionScorer:
        """Return the scorer for so many labels before any annotation."""
        return cls(
            np.array(DEFAULT_WEIGHTS, dtype=np.float32),
            np.array(DEFAULT_CUTS, dtype=np.float32),
            np.zeros(count, dtype=np.float32),
            np.tile(np.array(DEFAULT_LENGTHS, dtype=np.float32), (count, 1)),
            np.array([LEAST_PROBABILITY], dtype=np.float32),
            default_gaps(count),
        )

    @classmethod
    def checked(cls, count: int, **arrays: NDArray[np.float32]) -> RegionScorer:
        """Return a scorer for so many labels; ValueError where arrays do not fit or are not finite."""
        scorer = cls(**arrays)
        shapes = ((len(FEATURES),), (len(GAINS),), (count,), (count, 2), (1,), (count,))
        for field, shape in zip(fields(cls), shapes, strict=True):
            values = getattr(scorer, field.name)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError("its region scorer and its labels do not fit together")
        return scorer

    def picked(self, indices: Sequence[int]) -> RegionScorer:
        """Return the scorer of the labels at ``indices``."""
        places = list(indices)
        return replace(
            self, offsets=self.offsets[places], lengths=self.lengths[places], gaps=self.gaps[places]
        )

    def expected_gains(self, features: NDArray[np.floating[Any]], columns: NDArray[np.intp]) -> NDArray[Any]:
        """Return the effort that showing each candidate is expected to save, ``[n]``.

        ``features`` ``[n, F]``; ``columns`` ``[n]``: index of each candidate's label.
        """
        logits = features @ self.weights + self.offsets[columns]
        return np.asarray(LEAST_GAIN + expit(logits[:, None] + self.cuts).sum(axis=1))

    def unusual_lengths(self, seconds: NDArray[np.float64], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return how unusual each length is for its label: its squared z-score, at most 9, ``[n]``."""
        mean, deviation = self.lengths[columns].T
        return np.asarray(np.minimum(np.square((np.log(seconds) - mean) / deviation), 9.0))


def default_gaps(count: int) -> NDArray[np.float32]:
    """Return the gaps of so many labels before any annotation."""
    return np.full(count, DEFAULT_GAP_SECONDS, dtype=np.float32)


def log_odds(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return log odds of probabilities, finite for 0 and 1 too."""
    safe = np.clip(probabilities.astype(np.float64), _FLOOR, 1 - _FLOOR)
    return np.asarray(np.log(safe / (1 - safe)))


DEFAULT_LENGTHS = (0.08, 0.79)
"""Mean and standard deviation of log seconds."""
DEFAULT_WEIGHTS = (
    0.23,
    -0.23,
    2.37,
    0.28,
    0.8,
    -0.09,
    -0.02,
    0.01,
    -2.0,
    0.01,
    -0.59,
    -0.17,
    0.13,
    -0.01,
    0.26,
)
DEFAULT_CUTS = (1.64, -0.94, -2.12, -4.51)
"""All fitted by ``python -m benchmarks.sed_defaults``, but for the weight of pauses: soundscapes hardly have
two events of one label that follow each other closely, and such events must stay two.
"""
