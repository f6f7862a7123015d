"""CNN14 in OpenVINO, built operation by operation from the weights: nothing is converted or cached.

Importing this imports openvino, with its telemetry shut out.
"""

from __future__ import annotations

import functools
import sys

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.encoders.cnn14_network import MEL_BANDS, Cnn14
from earmark.encoders.engines.base import EngineFaultError, Plan
from earmark.encoders.engines.folding import BLOCKS, transposed_block
from earmark.encoders.engines.front_end import FrontEnd

# On import, openvino reports itself to Google Analytics through this package, unless it cannot be
# imported; then openvino takes a stub of its own. It stays shut out as long as the process lives.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenvinoEngine:
    """See ``Engine``. Any length of sound runs without being compiled for it."""

    def __init__(self, plan: Plan, network: Cnn14) -> None:
        # Measured in bf16, each clip, alone and in 20 s of company: 1 s 12 and 6 ms, 5 s 23 and 17, 10 s 31
        # and 29. In fp32 company gained nothing.
        self.shared_seconds = 20.0 if plan.precision == "bf16" else 0.0
        self._front_end = FrontEnd(network)
        hint = _HINTS[plan.precision]
        try:
            compiled = _core().compile_model(
                _model(network),
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_PRECISION_HINT": hint,
                    "INFERENCE_NUM_THREADS": plan.threads,
                    # Pinned threads of two processes would share the same cores and leave others idle.
                    "ENABLE_CPU_PINNING": False,
                },
            )
            taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise EngineFaultError(_last_line(error)) from error
        if taken != hint:
            raise EngineFaultError(f"OpenVINO takes {taken} instead of {hint} on this processor")

    def run(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        try:
            with torch.inference_mode():
                image = self._front_end(torch.from_numpy(waveforms)).numpy()
            frames: NDArray[np.float32] = self._request.infer([image], share_inputs=True)[0]
        except RuntimeError as error:
            raise EngineFaultError(_last_line(error)) from error
        return frames


@functools.cache
def _core() -> openvino.Core:
    """Return this process's single OpenVINO core, which lives as long as the process.

    Each core gives the thread that starts it another stack for signals. When several end in the order in
    which they began, that stack is memory that is there no more, and the next Ctrl-C a segmentation fault.
    """
    return openvino.Core()


def _model(network: Cnn14) -> openvino.Model:
    """``[B, 1, t, 64]`` to ``[B, t // 32, 2048]``, B and t free; inside, time lies along the rows."""
    image = ops.parameter([-1, 1, -1, MEL_BANDS], np.float32, name="image")
    x = ops.transpose(image, ops.constant(np.array([0, 1, 3, 2])))
    for block in range(1, BLOCKS + 1):
        for weight, bias in transposed_block(network, block):
            x = ops.convolution(x, ops.constant(weight), [1, 1], [1, 1], [1, 1], [1, 1])
            x = ops.relu(ops.add(x, ops.constant(bias.reshape(1, -1, 1, 1))))
        if block < BLOCKS:
            x = ops.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], True)
    x = ops.reduce_mean(x, ops.constant(np.array([2])), False)
    x = ops.transpose(x, ops.constant(np.array([0, 2, 1])))
    return openvino.Model([ops.result(x)], [image], "cnn14")


def _last_line(error: Exception) -> str:
    """OpenVINO's messages begin with source files and end with the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
