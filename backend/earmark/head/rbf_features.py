"""Radial basis function (RBF) features: nearness to landmarks, for curved borders with a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FARTHEST = 100.0
"""Coordinates are clipped here, far from any landmark: an absurd embedding must not overflow."""


@dataclass(frozen=True)
class Landmarks:
    """Features ``[n, r + m]`` of embeddings: r coordinates, and nearness to m points among them.

    Coordinates are ``(embeddings - mean) @ directions``, nearness ``exp(-|coordinates - point|²)``, a
    radial basis function whose width is part of ``directions``. All are float32: ``mean`` ``[E]``,
    ``directions`` ``[E, r]``, ``points`` ``[m, r]``.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    points: NDArray[np.float32]

    @classmethod
    def checked(
        cls, mean: NDArray[np.float32], directions: NDArray[np.float32], points: NDArray[np.float32]
    ) -> Landmarks:
        """Landmarks from stored arrays; ValueError where their shapes contradict each other."""
        if directions.ndim != 2 or points.ndim != 2 or mean.ndim != 1:
            raise ValueError("its landmarks have other dimensions than landmarks have")
        if directions.shape != (len(mean), points.shape[1]):
            raise ValueError("its landmarks do not fit together")
        return cls(mean, directions, points)

    @property
    def width(self) -> int:
        """Number of features of an embedding, r + m."""
        return sum(self.points.shape)

    def features(self, embeddings: NDArray[Any]) -> NDArray[Any]:
        """RBF features ``[n, r + m]`` of embeddings ``[n, E]``, in their precision."""
        coordinates = np.clip((embeddings - self.mean) @ self.directions, -FARTHEST, FARTHEST)
        distances = np.square(coordinates).sum(axis=1, keepdims=True) - 2 * coordinates @ self.points.T
        distances += np.square(self.points).sum(axis=1)
        return np.concatenate([coordinates, np.exp(-np.maximum(distances, 0))], axis=1)
