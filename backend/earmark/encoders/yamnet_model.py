"""YAMNet's ONNX graph in float32, made from the quantised one that is published. Imports onnx."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from earmark.encoders.yamnet import (
    BANDS,
    CLASSES,
    EMBEDDING,
    EMBEDDING_DIM,
    PATCH_COLUMNS,
    PATCHES,
    SCORES,
)
from earmark.errors import WeightsError

_QUANTISING = ("QuantizeLinear", "DequantizeLinear")


def convert(quantised: Path) -> bytes:
    """Return the float32 graph as a serialised ONNX model, weights included.

    The published graph carries float32 weights and rounds them, and every activation, to 8 bits in pairs
    of QuantizeLinear and DequantizeLinear. Without these pairs the network is what it was before it was
    quantised. Its input becomes float32 ``[n, 1, 96, 64]``, its outputs float32 ``[n, 1024]`` and
    ``[n, 521]`` (the embedding, and logits), for any n.

    Raises
    ------
    WeightsError
        The file is not such a graph.
    """
    try:
        graph = onnx.load(quantised).graph  # with the weights, which lie in a file beside it
        return bytes(_converted(graph).SerializeToString())
    except (DecodeError, OSError, ValueError, LookupError, onnx.checker.ValidationError) as error:
        raise WeightsError(f"{quantised.name} does not hold YAMNet as it was published ({error}).") from error


def _converted(graph: onnx.GraphProto) -> onnx.ModelProto:
    (given,), (scores,) = graph.input, graph.output
    names = {given.name: PATCHES}

    def source(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type in _QUANTISING:
            names[node.output[0]] = node.input[0]
            continue
        inputs = [source(name) for name in node.input]
        if node.op_type == "Reshape":  # to [1, 1024], for a single patch
            nodes.append(helper.make_node("Flatten", inputs[:1], [EMBEDDING], axis=1))
            names[node.output[0]] = EMBEDDING
            continue
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        del copied.input[:]
        copied.input.extend(inputs)
        nodes.append(copied)
    last = nodes[-1]
    if source(scores.name) != last.output[0] or EMBEDDING not in last.input:
        raise ValueError("its last layer is another one")
    last.output[0] = SCORES
    used = {name for node in nodes for name in node.input}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "yamnet",
            [helper.make_tensor_value_info(PATCHES, TensorProto.FLOAT, ["n", 1, PATCH_COLUMNS, BANDS])],
            [
                helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", EMBEDDING_DIM]),
                helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["n", CLASSES]),
            ],
            [weight for weight in graph.initializer if weight.name in used],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model
