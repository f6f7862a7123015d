"""Trained head: a linear classifier for each control, on embeddings or RBF features, and its safetensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from earmark.errors import HeadDamagedError
from earmark.head.rbf_features import Landmarks
from earmark.head.region_evidence import RegionEvidence, default_alone
from earmark.head.region_scorer import RegionScorer, default_gaps
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.registry import type_named

_FORMAT = 1
_FORMAT_OF_LANDMARKS = 2
"""Written only for heads with landmarks, so that a release that cannot read those refuses the head."""
_ARRAYS = ("mean", "scale", "weights", "bias", "thresholds")
_LANDMARK_ARRAYS = ("mean", "directions", "points")
_EVIDENCE_ARRAYS = ("agreed", "chosen", "missed", "quiet", "alone")
_SCORER_ARRAYS = ("weights", "cuts", "offsets", "lengths", "least", "gaps")
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class ControlHead:
    """Linear classifier of one control over its C labels.

    ``mean`` and ``scale`` (float32 ``[E]``) standardise embeddings, then ``weights`` (float32
    ``[E, K]``) and ``bias`` (float32 ``[K]``) apply. A label counts as present from its entry in
    ``thresholds`` (float32 ``[C]``, probabilities) on; a single choice ignores them.

    ``columns``: how many of the K columns belong to each label, in their order; the label is as
    likely as the likeliest of them. Empty, the usual case, is one column a label, K = C.

    ``landmarks``: if set, all of this applies to their RBF features, and E is the number of these.

    Statistics of labels that occur together, for post-processing; absent in heads of former releases:
    ``overlap_factors`` (float32 ``[C, C]``, of regions): see `prediction.overlap.learn_overlap_factors`.
    ``evidence`` (of tags): one `RegionEvidence` for each regions control that shares names with this one.
    ``scorer`` (of regions): which candidate regions are worth showing.

    ``held_back`` (of tags): whether correcting what would be shown costs as much as ticking all by hand; then
    nothing is shown.
    """

    control: str
    type: ControlType
    labels: tuple[str, ...]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    columns: tuple[int, ...] = ()
    landmarks: Landmarks | None = None
    overlap_factors: NDArray[np.float32] | None = None
    evidence: tuple[RegionEvidence, ...] = ()
    scorer: RegionScorer | None = None
    held_back: bool = False

    def is_finite(self) -> bool:
        """Whether every number is finite and every scale positive, so that it can give probabilities."""
        arrays = [getattr(self, name) for name in _ARRAYS]
        if self.landmarks is not None:
            arrays += [getattr(self.landmarks, name) for name in _LANDMARK_ARRAYS]
        return all(bool(np.isfinite(values).all()) for values in arrays) and bool((self.scale > 0).all())

    def logits(self, embeddings: NDArray[Any]) -> NDArray[Any]:
        """Log odds ``[n, C]`` of embeddings ``[n, E]``, in the precision of the embeddings."""
        if self.landmarks is not None:
            embeddings = self.landmarks.features(embeddings)
        scaled = embeddings - self.mean
        scaled /= self.scale  # in place: another array of this size costs as much time as the product
        logits = scaled @ self.weights + self.bias
        if self.columns:
            logits = np.maximum.reduceat(logits, [span.start for span in self.spans()], axis=1)
        return np.asarray(logits)

    def picked(self, indices: Sequence[int], labels: tuple[str, ...]) -> ControlHead:
        """The head reduced to its labels at ``indices``, renamed to ``labels``."""
        spans = self.spans()
        columns = [column for index in indices for column in range(spans[index].start, spans[index].stop)]
        factors = self.overlap_factors
        return replace(
            self,
            labels=labels,
            weights=self.weights[:, columns],
            bias=self.bias[columns],
            thresholds=self.thresholds[list(indices)],
            columns=tuple(self.columns[index] for index in indices) if self.columns else (),
            overlap_factors=None if factors is None else factors[np.ix_(list(indices), list(indices))],
            evidence=tuple(each.picked(indices) for each in self.evidence),
            scorer=None if self.scorer is None else self.scorer.picked(indices),
        )

    def spans(self) -> list[slice]:
        """The columns of each label, C slices of ``range(K)``."""
        ends = list(accumulate(self.columns or [1] * len(self.labels)))
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 ``[n, C]`` of embeddings ``[n, E]``.

        They sum to 1 in each row for a single choice and are independent of each other otherwise.
        """
        return np.asarray(self.type.probabilities(self.logits(embeddings)), dtype=np.float32)


class Head:
    """A project's model: one `ControlHead` for each control, for one encoder identity.

    ``per_channel``: whether it was fitted on annotations that tell the channels of a sound apart.
    """

    def __init__(self, identity: str, controls: Mapping[str, ControlHead], per_channel: bool = False) -> None:
        self.identity = identity
        self.controls = dict(controls)
        self.per_channel = per_channel

    def changed(self, served: ControlHead, change: Callable[[ControlHead, list[int]], ControlHead]) -> Head:
        """Return a head in which the control of ``served`` is changed; this one where the labels do not fit.

        Parameters
        ----------
        served
            What the change was learned for: it has all labels of this head's control, and maybe more.
        change
            Called with this head's control, and with the places of its labels among those of ``served``.
        """
        control = self.controls.get(served.control)
        if control is None or not set(control.labels) <= set(served.labels):
            return self
        places = [served.labels.index(label) for label in control.labels]
        controls = {**self.controls, served.control: change(control, places)}
        return Head(self.identity, controls, self.per_channel)

    def to_bytes(self) -> bytes:
        """Serialise as safetensors: arrays, and one JSON text in the metadata. Equal heads, equal bytes."""
        arrays = {}
        entries = []
        version = _FORMAT
        for index, control in enumerate(self.controls.values()):
            entry: dict[str, object] = {
                "name": control.control,
                "kind": control.type.name,
                "labels": control.labels,
            }
            if control.columns:
                entry["columns"] = control.columns
            if control.landmarks is not None:
                entry["landmarks"] = True
                version = _FORMAT_OF_LANDMARKS
                for name in _LANDMARK_ARRAYS:
                    values = np.ascontiguousarray(getattr(control.landmarks, name), dtype=np.float32)
                    arrays[f"{index}.landmarks.{name}"] = values
            if control.overlap_factors is not None:
                entry["overlap_factors"] = True
                arrays[f"{index}.overlap_factors"] = np.ascontiguousarray(
                    control.overlap_factors, dtype=np.float32
                )
            if control.scorer is not None:
                entry["scorer"] = True
                for name in _SCORER_ARRAYS:
                    values = np.ascontiguousarray(getattr(control.scorer, name), dtype=np.float32)
                    arrays[f"{index}.scorer.{name}"] = values
            if control.held_back:
                entry["held_back"] = True
            if control.evidence:
                entry["evidence"] = [each.regions for each in control.evidence]
                for number, each in enumerate(control.evidence):
                    for name in _EVIDENCE_ARRAYS:
                        values = np.ascontiguousarray(getattr(each, name), dtype=np.float32)
                        arrays[f"{index}.evidence.{number}.{name}"] = values
            entries.append(entry)
            for name in _ARRAYS:
                values = np.ascontiguousarray(getattr(control, name), dtype=np.float32)
                arrays[f"{index}.{name}"] = values
        described = {"format": version, "identity": self.identity, "controls": entries}
        if self.per_channel:  # absent otherwise, as in heads of former releases
            described["per_channel"] = True
        text = json.dumps(described)
        return bytes(save(arrays, metadata={"earmark": text}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Head:
        """Read what `to_bytes` wrote.

        Raises
        ------
        HeadDamagedError
            The bytes are cut short, are something else, describe arrays that do not fit, or hold numbers
            that are not finite, as earlier releases could store them.
        """
        try:
            arrays = load(data)
            metadata = read_metadata(data)
            if metadata["format"] not in (_FORMAT, _FORMAT_OF_LANDMARKS):
                raise HeadDamagedError(
                    f"The stored head has format {metadata['format']}, and this version of Earmark "
                    f"reads {_FORMAT} and {_FORMAT_OF_LANDMARKS}: train the project again."
                )
            controls = [
                _control_head(
                    entry,
                    {name: arrays[f"{index}.{name}"] for name in _ARRAYS},
                    _landmarks(entry, index, arrays),
                    arrays[f"{index}.overlap_factors"] if "overlap_factors" in entry else None,
                    _evidence(entry, index, arrays),
                    _scorer(entry, index, arrays),
                )
                for index, entry in enumerate(metadata["controls"])
            ]
            return cls(
                str(metadata["identity"]),
                {control.control: control for control in controls},
                metadata.get("per_channel") is True,
            )
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise HeadDamagedError(
                f"The stored head cannot be read ({error}): train the project again."
            ) from error


def read_metadata(data: bytes) -> dict[str, Any]:
    """Parse the JSON metadata of safetensors bytes; ValueError where it is not a JSON object."""
    header_length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + header_length])
    metadata = json.loads(header["__metadata__"]["earmark"])
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is not an object")
    return metadata


def _landmarks(
    described: dict[str, object], index: int, arrays: dict[str, NDArray[np.float32]]
) -> Landmarks | None:
    """A control's landmarks; ValueError where shapes do not fit, KeyError where arrays are missing."""
    if "landmarks" not in described:
        return None
    return Landmarks.checked(**{name: arrays[f"{index}.landmarks.{name}"] for name in _LANDMARK_ARRAYS})


def _evidence(
    described: dict[str, object], index: int, arrays: dict[str, NDArray[np.float32]]
) -> tuple[RegionEvidence, ...]:
    """A control's evidence from regions; none in heads of former releases. Errors: as `_landmarks`."""
    names, labels = described.get("evidence", []), described["labels"]
    if not isinstance(names, list) or not isinstance(labels, list):
        raise ValueError("its evidence is not a list")
    for alone in (f"{index}.evidence.{number}.alone" for number in range(len(names))):
        if alone not in arrays:  # as in heads of former releases
            arrays = {**arrays, alone: default_alone(len(labels))}
    return tuple(
        RegionEvidence.checked(
            name,
            len(labels),
            *(arrays[f"{index}.evidence.{number}.{array}"] for array in _EVIDENCE_ARRAYS),
        )
        for number, name in enumerate(names)
    )


def _scorer(
    described: dict[str, object], index: int, arrays: dict[str, NDArray[np.float32]]
) -> RegionScorer | None:
    """A control's region scorer; None in heads of former releases.

    Errors: as `_landmarks`.
    """
    labels = described["labels"]
    if "scorer" not in described or not isinstance(labels, list):
        return None
    gaps = f"{index}.scorer.gaps"
    if gaps not in arrays:  # as in heads of former releases
        arrays = {**arrays, gaps: default_gaps(len(labels))}
    return RegionScorer.checked(
        len(labels), **{name: arrays[f"{index}.scorer.{name}"] for name in _SCORER_ARRAYS}
    )


def _control_head(
    described: dict[str, object],
    arrays: dict[str, NDArray[np.float32]],
    landmarks: Landmarks | None,
    overlap_factors: NDArray[np.float32] | None,
    evidence: tuple[RegionEvidence, ...],
    scorer: RegionScorer | None,
) -> ControlHead:
    """One control from its description and arrays; ValueError where they contradict each other."""
    labels = described["labels"]
    if not isinstance(labels, list) or arrays["weights"].ndim != 2:
        raise ValueError("its description is not one of a head")
    embedding_dim, width = arrays["weights"].shape
    columns = described.get("columns", [])
    if not isinstance(columns, list) or not all(type(count) is int and count > 0 for count in columns):
        raise ValueError("its columns are not counts")
    shapes = {name: arrays[name].shape for name in _ARRAYS if name != "weights"}
    expected = {
        "mean": (embedding_dim,),
        "scale": (embedding_dim,),
        "bias": (width,),
        "thresholds": (len(labels),),
    }
    column_counts = columns or [1] * len(labels)
    if landmarks is not None and landmarks.width != embedding_dim:
        raise ValueError("its landmarks and its weights do not fit together")
    if shapes != expected or len(column_counts) != len(labels) or sum(column_counts) != width:
        raise ValueError("its arrays do not fit together")
    if overlap_factors is not None and overlap_factors.shape != (len(labels), len(labels)):
        raise ValueError("its overlap factors and its labels do not fit together")
    control = ControlHead(
        str(described["name"]),
        type_named(described["kind"]),
        tuple(str(label) for label in labels),
        **arrays,
        columns=tuple(columns),
        landmarks=landmarks,
        overlap_factors=overlap_factors,
        evidence=evidence,
        scorer=scorer,
        held_back=described.get("held_back") is True,
    )
    if not control.is_finite():
        raise ValueError("it holds numbers that are not finite, or a scale that is not positive")
    return control
