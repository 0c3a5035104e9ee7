"""Whether int8 arithmetic can saturate: told from a model's weights, without the processor on which it would.

x86 with AVX2 and without VNNI adds two products of a uint8 and an int8 in 16 bits, and saturates.
"""

import numpy as np

MOST = 2**15 - 1  # that 16 bits hold


def largest_pair(model) -> int:
    """A bound on the sum of two products of a uint8 activation and an int8 weight; 0 without int8 arithmetic.

    model: an onnx.ModelProto. Which weights are paired depends on the runtime and the processor, so the bound is of the
    two largest weights of one sign in a layer. Weights within ±64 give 2 · 255 · 64 = 32,640 < 2¹⁵.
    """
    from onnx import TensorProto, numpy_helper

    quantised = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    weights = [numpy_helper.to_array(tensor).astype(int) for tensor in model.graph.initializer
               if tensor.name in quantised and tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1]
    return max((255 * int(np.sort(sign * layer, axis=None)[-2:].clip(0).sum())
                for layer in weights for sign in (1, -1)), default=0)
