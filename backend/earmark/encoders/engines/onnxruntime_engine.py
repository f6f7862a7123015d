"""CNN14 in ONNX Runtime: a graph of a few kilobytes, with external weights in memory.

Nothing is exported or cached. Importing this imports onnxruntime, with its telemetry turned off.
"""

from __future__ import annotations

import os
from typing import Any

# From 1.29 on, onnxruntime sends what it runs to Microsoft unless this is set before it is imported.
# The pinned release cannot; this is for later releases.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
    RuntimeException,
)

from earmark.encoders.cnn14_network import MEL_BANDS, WIDTHS, Cnn14
from earmark.encoders.engines.base import EngineFaultError, Plan
from earmark.encoders.engines.folding import BLOCKS, transposed_block
from earmark.encoders.engines.front_end import FrontEnd

# They have no base of their own, and some builds raise RuntimeError for a lack of memory.
_FAULTS = (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
    RuntimeException,
    RuntimeError,
)
_OPSET = 17
_IR_VERSION = 9
_Weights = dict[str, NDArray[np.float32]]


class OnnxruntimeEngine:
    """See ``Engine``."""

    shared_seconds = 0.0  # measured: clips in company took as long, each, as alone, within noise

    def __init__(self, plan: Plan, network: Cnn14) -> None:
        self._front_end = FrontEnd(network)
        weights: _Weights = {}
        graph = _graph(network, weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = plan.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # what goes wrong is raised; warnings only repeat it
        # Idle threads that spin take the cores from decoding, from heads and from other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
            options.add_external_initializers(list(weights), values)
            self._session = onnxruntime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except _FAULTS as error:
            raise EngineFaultError(str(error)) from error

    def run(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.run``."""
        try:
            with torch.inference_mode():
                image = self._front_end(torch.from_numpy(waveforms)).numpy()
            frames: NDArray[np.float32] = self._session.run(None, {"image": image})[0]
        except _FAULTS as error:
            raise EngineFaultError(str(error)) from error
        return frames


def _graph(network: Cnn14, weights: _Weights) -> onnx.ModelProto:
    """``[B, 1, t, 64]`` to ``[B, t // 32, 2048]``; its weights go into ``weights``, by name.

    Inside, time lies along the rows.
    """
    nodes: list[onnx.NodeProto] = []

    def then(kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    x = then("Transpose", "image", perm=[0, 1, 3, 2])
    for block in range(1, BLOCKS + 1):
        for number, (weight, bias) in enumerate(transposed_block(network, block), start=1):
            weights[f"weight{block}{number}"] = weight
            weights[f"bias{block}{number}"] = bias
            x = then(
                "Conv",
                x,
                f"weight{block}{number}",
                f"bias{block}{number}",
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            )
            x = then("Relu", x)
        if block < BLOCKS:
            x = then("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = then("ReduceMean", x, axes=[2], keepdims=0)
    nodes.append(helper.make_node("Transpose", [x], ["frames"], perm=[0, 2, 1]))
    graph = helper.make_graph(
        nodes,
        "cnn14",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["clips", 1, "columns", MEL_BANDS])],
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["clips", "frames", WIDTHS[-1]])],
        [_external(name, value) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


def _external(name: str, value: NDArray[np.float32]) -> onnx.TensorProto:
    """Declare an external initialiser, whose data is passed in memory under a file name that is not read."""
    declared = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=value.shape, data_location=TensorProto.EXTERNAL
    )
    for key, text in (("location", "memory"), ("offset", "0"), ("length", str(value.nbytes))):
        declared.external_data.add(key=key, value=text)
    return declared
