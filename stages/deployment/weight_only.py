"""Weights stored small, arithmetic in float: for networks that int8 arithmetic makes slower, such as those with
hard-swish, which stays float between pairs of quantisers.

In: an onnx.ModelProto in float. Out: the same, a quarter or half as large. A Cast and a Mul turn stored weights into
floats again; their inputs are constants, so onnxruntime computes them once, at loading, and a run is as fast as before.
"""

import copy
from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

MIN_SIZE = 256  # numbers below which a tensor isn't worth two more nodes
# The axis of the output channels, which differ in size: each has a scale of its own.
CHANNEL_AXES = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": 1}


def int8_weights(model: ModelProto) -> ModelProto:
    """Each weight as an integer of −127 … 127 times its channel's scale; the error is at most half that scale."""
    def compress(values: np.ndarray, node: NodeProto) -> tuple[np.ndarray, np.ndarray]:
        axes = list(range(values.ndim))
        del axes[channel_axis(node)]
        scale = np.abs(values).max(tuple(axes), keepdims=True) / 127
        scale[scale == 0] = 1
        return np.rint(values / scale).astype(np.int8), scale

    return _compressed(model, compress)


def fp16_weights(model: ModelProto) -> ModelProto:
    """Each weight as a half float, of eleven bits' precision. A tensor with larger values stays as it is."""
    def compress(values: np.ndarray, node: NodeProto) -> tuple[np.ndarray, None]:
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        return halves if np.isfinite(halves).all() else values, None

    return _compressed(model, compress)


def channel_axis(node: NodeProto) -> int:
    """The axis of the output channels in a node's weights."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)  # of a Gemm
    return 0 if transposed else CHANNEL_AXES[node.op_type]


def _compressed(model: ModelProto, compress: Callable[[np.ndarray, NodeProto], tuple[np.ndarray, np.ndarray | None]]
                ) -> ModelProto:
    """compress: (float32 weights, their node) → the array to store, and the scale to multiply it by or None."""
    model = copy.deepcopy(model)
    graph = model.graph
    owners = {node.input[1]: node for node in graph.node if node.op_type in CHANNEL_AXES}
    nodes = []
    for tensor in graph.initializer:
        name = tensor.name
        if name not in owners or tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MIN_SIZE:
            continue
        stored, scale = compress(numpy_helper.to_array(tensor), owners[name])
        tensor.CopyFrom(numpy_helper.from_array(stored, f"{name}.stored"))
        cast = name if scale is None else f"{name}.cast"
        nodes.append(helper.make_node("Cast", [tensor.name], [cast], name=f"{name}.to_float", to=TensorProto.FLOAT))
        if scale is not None:
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            nodes.append(helper.make_node("Mul", [cast, f"{name}.scale"], [name], name=f"{name}.scaled"))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    return model
