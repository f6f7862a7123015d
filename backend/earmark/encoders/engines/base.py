"""Engine protocol: inference of CNN14's network, sound to frames, in one precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

EngineName = Literal["openvino", "onnxruntime", "torch"]
Precision = Literal["fp32", "bf16", "fp16"]


class EngineFaultError(Exception):
    """An engine cannot be started, or a pass of it failed; the encoder goes on with the next one."""


@dataclass(frozen=True)
class Plan:
    """One way to run the network.

    Attributes
    ----------
    engine
        Which library.
    precision
        What the convolutions are computed in; the spectrogram is float32 always.
    device
        PyTorch's name of the device: ``cpu``, or ``cuda`` with engine ``torch`` alone.
    threads
        CPU threads.
    """

    engine: EngineName
    precision: Precision
    device: str
    threads: int

    def __str__(self) -> str:
        where = "" if self.device == "cpu" else f" on {self.device}"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.engine} in {self.precision}{where}, {threads}"


class Engine(Protocol):
    """A loaded network. One pass at a time, which ``BatchRunner`` ensures."""

    @property
    def shared_seconds(self) -> float:
        """Seconds of sound up to which clips of one length are faster together; 0 where they are not."""
        ...

    def run(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode float32 ``[B, n]`` at 32 kHz, n >= 9,920, to float32 ``[B, (n // 320 + 1) // 32, 2048]``.

        Raises
        ------
        EngineFaultError
            The library or the device gave up.
        """
        ...
