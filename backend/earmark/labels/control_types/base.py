"""Control type: how the results of one control tag are read and written, and what is learned of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from earmark.labels.config_tree import Tag

Array = NDArray[np.float64]

MAX_CLASS_WEIGHT = 10.0


SEPARATOR = " / "
"""Between the labels of a path, as the editor shows it."""
LONGEST_SECONDS = 1e9
"""Times beyond this, 30 years, are invalid."""

Path = tuple[str, ...]
"""A label with those above it, from the top; of a flat list, the label alone."""


class ControlType(ABC):
    """One way in which a control tag labels sound; its instances are constants, one for each name.

    ``name`` is stored in heads and shown by the API. Its results are time spans with labels
    (``draws_regions``), labels of such a span (``per_region``), or labels of the whole clip. ``exclusive``:
    exactly one of its labels is true.
    """

    result_type: ClassVar[str]
    """``type`` and value key of its results in Label Studio."""
    label_tag: ClassVar[str]
    """Tag of its labels in the label config."""
    draws_regions: ClassVar[bool] = False
    names_sounds: ClassVar[bool] = True
    """Whether its labels may be names of sounds, by which an encoder's classes can match."""

    def __init__(self, name: str, exclusive: bool = False, per_region: bool = False) -> None:
        self.name, self.exclusive, self.per_region = name, exclusive, per_region

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @classmethod
    @abstractmethod
    def of_tag(cls, tag: Tag) -> ControlType | None:
        """Return the type of a control tag; None where it is not of this class."""

    @property
    def of_clip(self) -> bool:
        """Whether its labels are those of the whole clip."""
        return not (self.draws_regions or self.per_region)

    def config_paths(self, tag: Tag) -> list[tuple[Path, Tag]]:
        """Return the labels that a control tag lists, in document order, each with its own tag."""
        labels = [child for child in tag.walk() if child.name == self.label_tag.lower()]
        return [((name,), label) for label in labels if (name := label.get("alias") or label.get("value"))]

    def read_paths(self, value: Mapping[str, Any]) -> list[Path]:
        """Return the labels in the ``value`` of a result item, in order: texts, or lists of texts."""
        labels = value.get(self.result_type)
        paths = [
            tuple(label) if isinstance(label, list) else (label,)
            for label in (labels if isinstance(labels, list) else [])
        ]
        return [path for path in paths if path and all(isinstance(name, str) for name in path)]

    def read_labels(self, value: Mapping[str, Any]) -> list[str]:
        """Return the labels in the ``value`` of a result item as `joined` paths."""
        return [self.joined(path) for path in self.read_paths(value)]

    def joined(self, path: Path) -> str:
        """Return the text that stands for a path."""
        return SEPARATOR.join(path)

    def value(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Return the part of a result item's ``value`` that holds these labels."""
        return {self.result_type: [self.joined(path) for path in paths]}

    def span_value(self, start: float, end: float, frame_rate: float) -> dict[str, Any]:
        """Return the part of a result item's ``value`` that holds onset and offset (seconds)."""
        return {"start": round(start, 6), "end": round(end, 6), "channel": 0}

    def read_span(self, value: Mapping[str, Any], frame_rate: float) -> tuple[float, float] | None:
        """Return onset and offset (seconds) in a result item's ``value``; None where they are not usable."""
        return usable_span(value.get("start"), value.get("end"))

    def likeliest(self, probabilities: NDArray[Any]) -> int:
        """Return the index of the label ``[C]`` that is shown of exclusive ones."""
        return int(probabilities.argmax())

    @property
    def may_be_empty(self) -> bool:
        """Whether a submitted annotation may say "none of these" by leaving every tag out."""
        return self.of_clip and not self.exclusive

    def is_answer(self, labels: frozenset[str]) -> bool:
        """Whether a submitted set of tags can be learned: an empty one where it means "none of these"."""
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


def usable_span(start: object, end: object) -> tuple[float, float] | None:
    """Return a span in seconds, from 0 on; None where the values are not usable times."""
    for time in (start, end):
        # Compared without conversion: an integer may be too large for a float
        if isinstance(time, bool) or not isinstance(time, int | float) or not abs(time) < LONGEST_SECONDS:
            return None
    span = (max(0.0, float(start)), float(end))  # type: ignore[arg-type]
    return span if span[1] > span[0] else None
