"""The trained head: one linear layer for each control, as plain arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.special import expit, softmax

from backend.errors import HeadDamagedError
from backend.labelstudio.config import ControlKind

_FORMAT = 1
_ARRAYS = ("mean", "scale", "weights", "bias", "thresholds")
_LENGTH_BYTES = 8
_KINDS = ("regions", "single", "multiple")


@dataclass(frozen=True)
class ControlHead:
    """Linear classifier of one control over its C labels.

    ``mean`` and ``scale`` (float32 ``[E]``) standardise embeddings, then ``weights`` (float32
    ``[E, K]``) and ``bias`` (float32 ``[K]``) apply. A label counts as present from its entry in
    ``thresholds`` (float32 ``[C]``, probabilities) on; a single choice ignores them.

    ``columns``: how many of the K columns belong to each label, in their order; the label is as
    likely as the likeliest of them. Empty, the usual case, is one column a label, K = C.
    """

    control: str
    kind: ControlKind
    labels: tuple[str, ...]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    columns: tuple[int, ...] = ()

    def logits(self, embeddings: NDArray[Any]) -> NDArray[Any]:
        """Log odds ``[n, C]`` of embeddings ``[n, E]``, in the precision of the embeddings."""
        logits = ((embeddings - self.mean) / self.scale) @ self.weights + self.bias
        if self.columns:
            logits = np.maximum.reduceat(logits, [span.start for span in self.spans()], axis=1)
        return np.asarray(logits)

    def spans(self) -> list[slice]:
        """Where each label's columns are."""
        ends = list(accumulate(self.columns or [1] * len(self.labels)))
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 ``[n, C]`` of embeddings ``[n, E]``.

        They sum to 1 in each row for a single choice and are independent of each other otherwise.
        """
        logits = self.logits(embeddings)
        found = softmax(logits, axis=1) if self.kind == "single" else expit(logits)
        return np.asarray(found, dtype=np.float32)


class Head:
    """What a project has learned: one `ControlHead` for each control, for one encoder identity."""

    def __init__(self, identity: str, controls: Mapping[str, ControlHead]) -> None:
        self.identity = identity
        self.controls = dict(controls)

    def to_bytes(self) -> bytes:
        """Serialise as safetensors: arrays, and one JSON text in the metadata. Equal heads, equal bytes."""
        arrays = {}
        described = []
        for index, control in enumerate(self.controls.values()):
            about = {"name": control.control, "kind": control.kind, "labels": control.labels}
            described.append({**about, "columns": control.columns} if control.columns else about)
            for name in _ARRAYS:
                values = np.ascontiguousarray(getattr(control, name), dtype=np.float32)
                arrays[f"{index}.{name}"] = values
        text = json.dumps({"format": _FORMAT, "identity": self.identity, "controls": described})
        return bytes(save(arrays, metadata={"earmark": text}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Head:
        """Read what `to_bytes` wrote.

        Raises
        ------
        HeadDamagedError
            The bytes are cut short, are something else, or describe arrays that do not fit.
        """
        try:
            arrays = load(data)
            described = read_metadata(data)
            if described["format"] != _FORMAT:
                raise HeadDamagedError(
                    f"The stored head has format {described['format']}, and this version of Earmark "
                    f"reads {_FORMAT}: train the project again."
                )
            controls = [
                _control_head(entry, {name: arrays[f"{index}.{name}"] for name in _ARRAYS})
                for index, entry in enumerate(described["controls"])
            ]
            return cls(str(described["identity"]), {control.control: control for control in controls})
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise HeadDamagedError(
                f"The stored head cannot be read ({error}): train the project again."
            ) from error


def read_metadata(data: bytes) -> dict[str, Any]:
    """The JSON text that safetensors bytes carry beside their arrays; ValueError where it is none."""
    header_length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + header_length])
    described = json.loads(header["__metadata__"]["earmark"])
    if not isinstance(described, dict):
        raise ValueError("its metadata is not an object")
    return described


def _control_head(described: dict[str, object], arrays: dict[str, NDArray[np.float32]]) -> ControlHead:
    """One control from its description and arrays; ValueError where they contradict each other."""
    labels = described["labels"]
    kind = described["kind"]
    if kind not in _KINDS or not isinstance(labels, list) or arrays["weights"].ndim != 2:
        raise ValueError("its description is not one of a head")
    embedding_dim, width = arrays["weights"].shape
    columns = described.get("columns", [])
    if not isinstance(columns, list) or not all(type(count) is int and count > 0 for count in columns):
        raise ValueError("its columns are not counts")
    shapes = {name: arrays[name].shape for name in _ARRAYS if name != "weights"}
    wanted = {
        "mean": (embedding_dim,),
        "scale": (embedding_dim,),
        "bias": (width,),
        "thresholds": (len(labels),),
    }
    owned = columns or [1] * len(labels)
    if shapes != wanted or len(owned) != len(labels) or sum(owned) != width:
        raise ValueError("its arrays do not fit together")
    return ControlHead(
        str(described["name"]),
        cast(ControlKind, kind),
        tuple(str(label) for label in labels),
        **arrays,
        columns=tuple(columns),
    )
