"""Prior of a fit: the head that was served before the first annotation, as the starting point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.head.model import ControlHead
from earmark.head.solver import Array, Basis, Linear
from earmark.labels.control import Control


@dataclass(frozen=True)
class Prior:
    """The prior of one control: ``head`` is None where there is none, and then it adds nothing.

    ``share``: factor of its logits in the sum with what is fitted.
    """

    control: Control
    head: ControlHead | None
    share: float = 1.0

    @classmethod
    def of(cls, head: ControlHead | None, control: Control) -> Prior:
        """The prior of a control; a head of another type, or of none of its labels, is none."""
        usable = head is not None and head.type is control.type and set(head.labels) & set(control.labels)
        return cls(control, head if usable else None)

    def without(self, labels: tuple[str, ...]) -> Prior:
        """The prior reduced to its other labels."""
        if self.head is None:
            return self
        indices = [index for index, label in enumerate(self.head.labels) if label not in labels]
        head = self.head.picked(indices, tuple(self.head.labels[index] for index in indices))
        return Prior.of(head, self.control)

    def softmax_labels(self, learned: tuple[str, ...]) -> tuple[str, ...]:
        """Labels of a single choice, in order: those with examples, and those that the prior adds.

        All of them share one softmax, so corrections also lower the others where they are too likely.
        """
        return tuple(label for label in self.control.labels if label in learned or self._index(label) >= 0)

    def covers(self, labels: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which labels the prior has a logit for: bool ``[C]``."""
        return np.array([self._index(label) >= 0 for label in labels], dtype=bool)

    def logits(self, labels: tuple[str, ...], embeddings: NDArray[np.float32]) -> Array | None:
        """Its logits float64 ``[n, C]`` of embeddings ``[n, E]``, or None where it covers no label.

        A label that it does not cover gets 0, even odds, as it would without any prior. In a single
        choice even odds are those of "none of the labels that the prior covers" (see
        `zero_shot`), and the labels that it does not cover share them.
        """
        covered = self.covers(labels)
        if self.head is None or not covered.any():
            return None
        head_logits = self.head.logits(embeddings.astype(np.float64))
        logits = np.full((len(embeddings), len(labels)), self._unknown(labels))
        logits[:, covered] = head_logits[
            :, [self._index(label) for label in labels if self._index(label) >= 0]
        ]
        return self.share * logits

    def thresholds(self, labels: tuple[str, ...], default: float) -> Array:
        """Its thresholds ``[C]``, and the default for labels that it does not cover."""
        by_label = {} if self.head is None else dict(zip(self.head.labels, self.head.thresholds, strict=True))
        return np.array([by_label.get(label, default) for label in labels], dtype=np.float64)

    def columns(self, label: str, labels: tuple[str, ...], basis: Basis) -> tuple[Array, Array]:
        """Weights ``[E, k]`` and bias ``[k]`` of one label, for standardised embeddings.

        Those of the fitted ``labels`` are multiplied by ``share``; any other keeps its predictions.
        """
        index = self._index(label)
        share = self.share if label in labels else 1.0
        if self.head is None or index < 0:
            return np.zeros((len(basis.mean), 1)), np.array([share * self._unknown(labels)])
        if self.head.landmarks is not None:
            raise ValueError("a head with landmarks cannot be folded into a linear one")
        span = self.head.spans()[index]
        weights = self.head.weights[:, span].astype(np.float64) / self.head.scale[:, None]
        bias = self.head.bias[span] + (basis.mean - self.head.mean) @ weights
        return share * weights * basis.scale[:, None], share * bias

    def _index(self, label: str) -> int:
        return self.head.labels.index(label) if self.head and label in self.head.labels else -1

    def _unknown(self, labels: tuple[str, ...]) -> float:
        if self.head is None or not self.control.type.exclusive:
            return 0.0
        return -float(np.log(max(1, (~self.covers(labels)).sum())))


def fold_back(
    prior: Prior,
    labels: tuple[str, ...],
    basis: Basis,
    difference: Linear,
    temperature: float,
    thresholds: NDArray[np.floating[Any]],
) -> ControlHead:
    """Merge the prior and the fitted difference into one head with the sum of their logits.

    The highest of several columns, all moved by the same difference, is the highest moved by it; so
    a label's columns stay apart and the sum is exact.

    Parameters
    ----------
    labels
        The C fitted labels; others that the prior covers are kept as they are.
    difference, temperature, thresholds
        Logits are ``(prior + difference) / temperature``; thresholds ``[C]``.
    """
    control = prior.control
    slopes = basis.slopes(difference.weights) / temperature
    steps = difference.bias / temperature
    merged = tuple(label for label in control.labels if label in labels or prior.covers((label,))[0])
    weights, biases, limits = [], [], []
    for label in merged:
        weight, bias = prior.columns(label, labels, basis)
        if label in labels:
            column = labels.index(label)
            weight, bias = weight / temperature + slopes[:, [column]], bias / temperature + steps[column]
            limits.append(thresholds[column])
        else:
            limits.extend(prior.thresholds((label,), 1.0))
        weights.append(weight)
        biases.append(bias)
    widths = tuple(len(bias) for bias in biases)
    return ControlHead(
        control.name,
        control.type,
        merged,
        basis.mean.astype(np.float32),
        basis.scale.astype(np.float32),
        np.concatenate(weights, axis=1).astype(np.float32),
        np.concatenate(biases).astype(np.float32),
        np.array(limits, dtype=np.float32),
        widths if max(widths) > 1 else (),
    )
