"""Cross-validated head: the head that is served, and fold heads for out-of-fold predictions."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from earmark.errors import HeadDamagedError
from earmark.head.model import Head, read_metadata

_FORMAT = 1


@dataclass(frozen=True)
class CrossValidatedHead:
    """A head and its fold heads.

    ``head`` is fitted on everything and is what is served. ``folds[f]`` was fitted without the
    recordings that ``assignment`` (recording to fold) puts into f, so its predictions for them are out of
    fold; empty with too few recordings. ``assignment`` names every recording that ``head`` was fitted on;
    None where that is not known.
    """

    head: Head
    folds: tuple[Head, ...]
    assignment: dict[str, int] | None

    def out_of_fold_head(self, recording: str) -> Head | None:
        """A head that was fitted without a recording; None where there is none."""
        if self.assignment is None:
            return None
        fold = self.assignment.get(recording)
        if fold is None:
            return self.head
        return self.folds[fold] if self.folds else None

    def folds_to_bytes(self) -> bytes:
        """Serialise folds and assignment as one safetensors; the head itself is `Head.to_bytes`."""
        arrays: dict[str, NDArray[np.uint8]] = {
            str(fold): np.frombuffer(head.to_bytes(), dtype=np.uint8) for fold, head in enumerate(self.folds)
        }
        assignment = self.assignment or {}
        recordings = sorted(assignment)
        arrays["assignment"] = np.array([assignment[name] for name in recordings], dtype=np.uint8)
        text = json.dumps({"format": _FORMAT, "recordings": recordings})
        return bytes(save(arrays, metadata={"earmark": text}))

    @classmethod
    def from_bytes(cls, head: bytes, folds: bytes | None) -> CrossValidatedHead:
        """Read what `Head.to_bytes` and `folds_to_bytes` wrote; without ``folds`` there are none.

        Raises
        ------
        HeadDamagedError
            The bytes are cut short, are something else, or do not fit together.
        """
        served = Head.from_bytes(head)
        if folds is None:
            return cls(served, (), None)
        try:
            arrays = load(folds)
            metadata = read_metadata(folds)
            if metadata["format"] != _FORMAT:
                raise ValueError(f"format {metadata['format']}, where {_FORMAT} is read")
            fold_numbers = arrays.pop("assignment").tolist()
            assignment = dict(zip(metadata["recordings"], fold_numbers, strict=True))
            heads = tuple(Head.from_bytes(arrays[str(fold)].tobytes()) for fold in range(len(arrays)))
            if heads and any(fold >= len(heads) for fold in fold_numbers):
                raise ValueError("a recording is in a fold that is not there")
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise HeadDamagedError(
                f"The stored folds of a head cannot be read ({error}): train the project again."
            ) from error
        return cls(served, heads, assignment)
