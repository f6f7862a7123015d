"""The trained head: one linear layer for each control, as plain arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

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
    """Linear classifier of one control over its C learned labels.

    ``mean`` and ``scale`` (float32 ``[E]``) standardise embeddings, then ``weights`` (float32
    ``[E, C]``) and ``bias`` (float32 ``[C]``) apply. A label counts as present from its entry in
    ``thresholds`` (float32 ``[C]``, probabilities) on; a single choice ignores them.
    """

    control: str
    kind: ControlKind
    labels: tuple[str, ...]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    thresholds: NDArray[np.float32]

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 ``[n, C]`` of embeddings ``[n, E]``.

        They sum to 1 in each row for a single choice and are independent of each other otherwise.
        """
        logits = ((embeddings - self.mean) / self.scale) @ self.weights + self.bias
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
            described.append({"name": control.control, "kind": control.kind, "labels": control.labels})
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
            header_length = int.from_bytes(data[:_LENGTH_BYTES], "little")
            header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + header_length])
            described = json.loads(header["__metadata__"]["earmark"])
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


def _control_head(described: dict[str, object], arrays: dict[str, NDArray[np.float32]]) -> ControlHead:
    """One control from its description and arrays; ValueError where they contradict each other."""
    labels = described["labels"]
    kind = described["kind"]
    if kind not in _KINDS or not isinstance(labels, list) or arrays["weights"].ndim != 2:
        raise ValueError("its description is not one of a head")
    embedding_dim, classes = arrays["weights"].shape
    shapes = {name: arrays[name].shape for name in _ARRAYS if name != "weights"}
    wanted = {
        "mean": (embedding_dim,),
        "scale": (embedding_dim,),
        "bias": (classes,),
        "thresholds": (classes,),
    }
    if shapes != wanted or len(labels) != classes:
        raise ValueError("its arrays do not fit together")
    return ControlHead(
        str(described["name"]),
        cast(ControlKind, kind),
        tuple(str(label) for label in labels),
        **arrays,
    )
