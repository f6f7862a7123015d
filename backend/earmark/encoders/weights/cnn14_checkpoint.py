"""CNN14 checkpoint loading, without executing pickled code."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import WeightsError
from earmark.storage.atomic_files import sha256_of

if TYPE_CHECKING:
    from earmark.encoders.cnn14_network import Cnn14

_GARBAGE = (
    pickle.PickleError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    MemoryError,
    OverflowError,
)
"""What torch.load has been seen to raise for files that are none of its own, and what it may raise."""


def network_in(checkpoint: Path, *, mapped: bool = False) -> Cnn14:
    """Load the network of a checkpoint: a dict with the state dict under ``model``.

    With ``mapped`` a file of torch's newer kind is mapped and not read, which is enough to see what it
    holds, and takes milliseconds. This imports torch.

    Raises
    ------
    WeightsError
        The file cannot be read, or does not hold exactly Cnn14's weights.
    """
    import torch

    from earmark.encoders.cnn14_network import build

    try:
        mapped = mapped and zipfile.is_zipfile(checkpoint)
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise _unreadable(checkpoint, error) from error
    except _GARBAGE as error:
        raise _not_cnn14(checkpoint) from error
    weights = content.get("model") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise _not_cnn14(checkpoint)
    try:
        return build(weights)
    except (RuntimeError, TypeError, AttributeError) as error:  # a key may be anything that can be pickled
        raise _not_cnn14(checkpoint) from error


def digest_of(checkpoint: Path) -> str:
    """Return the sha256 of a checkpoint, in hexadecimal.

    Raises
    ------
    WeightsError
        The file cannot be read.
    """
    try:
        return sha256_of(checkpoint)
    except OSError as error:
        raise _unreadable(checkpoint, error) from error


def _unreadable(checkpoint: Path, error: OSError) -> WeightsError:
    return WeightsError(
        f"The checkpoint {checkpoint} cannot be read ({error.strerror or error}): check the path."
    )


def _not_cnn14(checkpoint: Path) -> WeightsError:
    return WeightsError(
        f"{checkpoint} does not hold the weights of Cnn14: point CNN14_CHECKPOINT to a copy of "
        "Cnn14_mAP=0.431.pth or to weights that were tuned from it, or unset it to have them fetched."
    )
