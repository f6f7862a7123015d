"""Self-test of an engine against PyTorch on two frames of noise. Importing this imports torch."""

from __future__ import annotations

import numpy as np
import torch

from earmark.encoders.cnn14_network import Cnn14
from earmark.encoders.engines.base import Engine, EngineFaultError

_SAMPLES = 2 * 32 * 320
_LARGEST_ERROR = 0.03
"""Norm of the difference over norm of the frames: bf16 stays near 0.003, a wrong layer far above 0.1."""


def compare_with_torch(engine: Engine, network: Cnn14) -> None:
    """Compare an engine's frames of noise with PyTorch's.

    Catches a driver, a library build or an overflow in half precision that gives wrong numbers
    instead of an error, before they are stored.

    Raises
    ------
    EngineFaultError
        They differ by more than half precision can explain, or are not finite.
    """
    rng = np.random.default_rng(0)
    loudness = np.geomspace(1e-3, 1.0, _SAMPLES)
    waveform = (0.3 * loudness * rng.standard_normal(_SAMPLES)).astype(np.float32)[None]
    with torch.inference_mode():
        expected = network(torch.from_numpy(waveform)).numpy()
    frames = engine.run(waveform)
    if frames.shape != expected.shape:
        raise EngineFaultError(f"it gives frames of shape {frames.shape} instead of {expected.shape}")
    error = float(np.linalg.norm(frames - expected))
    if not error <= _LARGEST_ERROR * float(np.linalg.norm(expected)) + 1e-6:  # catches NaN too
        raise EngineFaultError("its frames differ from those of PyTorch")
