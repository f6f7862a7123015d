"""Control type: how the results of one control tag are read and written, and what is learned of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

Array = NDArray[np.float64]

MAX_CLASS_WEIGHT = 10.0


class ControlType(ABC):
    """One way in which a control tag labels sound; its instances are constants, one for each name.

    ``name`` is stored in heads and shown by the API. ``draws_regions``: its results are time spans with
    labels, else tags of the whole clip. ``exclusive``: exactly one of its labels is true.
    """

    result_type: ClassVar[str]
    """``type`` and value key of its results in Label Studio."""
    label_tag: ClassVar[str]
    """Tag of its labels in the label config."""
    draws_regions: ClassVar[bool] = False

    def __init__(self, name: str, exclusive: bool = False) -> None:
        self.name, self.exclusive = name, exclusive

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @classmethod
    @abstractmethod
    def of_tag(cls, tag: Element) -> ControlType | None:
        """Return the type of a control tag; None where it is not of this class."""

    def read_labels(self, value: Mapping[str, Any]) -> list[str]:
        """Return the labels in the ``value`` of a result item, in order."""
        labels = value.get(self.result_type)
        return [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []

    def value(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the part of a result item's ``value`` that holds these labels."""
        return {self.result_type: list(labels)}

    @property
    def may_be_empty(self) -> bool:
        """Whether a submitted annotation may say "none of these" by leaving every tag out."""
        return not (self.draws_regions or self.exclusive)

    def is_answer(self, labels: frozenset[str]) -> bool:
        """Whether a submitted set of tags is an example; an empty one is where it means "none of these"."""
        return bool(labels) or self.may_be_empty

    def probabilities(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Return probabilities ``[n, C]`` of logits ``[n, C]``; equal in exclusive rows without any."""
        if not self.exclusive:
            return np.asarray(expit(logits))
        any_finite = np.isfinite(logits).any(axis=1, keepdims=True)
        return np.asarray(softmax(np.where(any_finite, logits, 0.0), axis=1))

    def decisions(self, probabilities: NDArray[Any], thresholds: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which labels ``[n, C]`` are taken as true: the likeliest, or those that reach thresholds."""
        if self.exclusive:
            likeliest = probabilities.argmax(axis=1)[:, None]
            return np.asarray(np.arange(probabilities.shape[1]) == likeliest)
        return np.asarray(probabilities >= thresholds)

    def certainty(self, probabilities: NDArray[Any]) -> float:
        """Return the certainty of one clip's probabilities ``[C]``, in [0, 1].

        The margin between the two likeliest labels, or the least certain label's distance from 1/2.
        """
        if not self.exclusive:
            return float(np.abs(2 * probabilities - 1).min())
        if len(probabilities) < 2:
            return 0.0
        second, first = np.sort(probabilities)[-2:]
        return float(first - second)

    def balanced_weights(self, targets: NDArray[np.bool_], weights: Array) -> Array:
        """Return class-balanced weights ``[n, C]``: rare labels weigh more.

        Exclusive labels get the same sum each. Otherwise positives weigh more by the square root of the
        odds against them, halfway to equal sums: probabilities keep some meaning.
        """
        positive = (weights * targets).sum(axis=0)
        if self.exclusive:
            return np.asarray(weights / np.where(positive > 0, positive, 1.0))
        negative = (weights * ~targets).sum(axis=0)
        odds = negative / np.where(positive > 0, positive, 1.0)
        return np.asarray(weights * np.where(targets, np.clip(np.sqrt(odds), 1.0, MAX_CLASS_WEIGHT), 1.0))
