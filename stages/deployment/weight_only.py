"""Weights stored small, arithmetic in float: for networks that int8 arithmetic makes slower, such as those with
hard-swish, which stays in float between pairs of quantisers.

In: an onnx.ModelProto in float. Out: the same, a quarter or half as large. The way back to float is a Cast and a Mul of
constants, which onnxruntime works out once, as it loads the file: a run costs what it cost before.
"""

import copy

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

LEAST = 256  # numbers, below which a tensor isn't worth two more nodes
# The axis of the output channels, which differ in size: each has a scale of its own.
CHANNELS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": 1}


def int8_weights(model: ModelProto) -> ModelProto:
    """Each weight as an integer of −127 … 127 times its channel's scale: off by a 254th of the channel's largest."""
    def small(values: np.ndarray, node: NodeProto) -> tuple[np.ndarray, np.ndarray]:
        axis = range(values.ndim)[channels(node)]
        others = tuple(place for place in range(values.ndim) if place != axis)
        scale = np.abs(values).max(others, keepdims=True) / 127
        scale[scale == 0] = 1
        return np.rint(values / scale).astype(np.int8), scale.astype(np.float32)

    return _stored(model, small)


def fp16_weights(model: ModelProto) -> ModelProto:
    """Each weight as a half float: eleven bits of precision. Those too large for one stay as they are."""
    def small(values: np.ndarray, node: NodeProto) -> tuple[np.ndarray, None]:
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        return halves if np.isfinite(halves).all() else values, None

    return _stored(model, small)


def _stored(model: ModelProto, small) -> ModelProto:
    """small: (values float32, the node whose weights they are) → what to store, and a scale to multiply by or None."""
    model = copy.deepcopy(model)
    graph = model.graph
    owners = {node.input[1]: node for node in reversed(graph.node) if node.op_type in CHANNELS}
    before = []
    for tensor in graph.initializer:
        if tensor.name not in owners or tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST:
            continue
        name = tensor.name
        kept, scale = small(numpy_helper.to_array(tensor), owners[name])
        tensor.CopyFrom(numpy_helper.from_array(kept, f"{name}.stored"))
        cast = name if scale is None else f"{name}.cast"
        before.append(helper.make_node("Cast", [tensor.name], [cast], name=f"{name}.to_float", to=TensorProto.FLOAT))
        if scale is not None:
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            before.append(helper.make_node("Mul", [cast, f"{name}.scale"], [name], name=f"{name}.scaled"))
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def channels(node: NodeProto) -> int:
    """The axis of the output channels of a node's weights."""
    turned = any(found.name == "transB" and found.i for found in node.attribute)  # Gemm with B stored turned over
    return 0 if turned else CHANNELS[node.op_type]
