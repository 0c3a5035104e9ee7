"""Static int8 quantisation. In: an onnx.ModelProto in float and some training images. Out: the same model in int8.

uint8 activations and int8 weights (U8S8: what x86 with VNNI multiplies fastest), as QuantizeLinear/DequantizeLinear
pairs around the operators, ranges by the smallest and largest values seen. Logits stay float: class scores in 256 steps
tie, of a U-Net's pixels three in a hundred.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from stages.kit import onnx_files

BATCH = 16  # images calibrated at a time: every activation of a batch is in memory
NORMALISATION = ("Cast", "Sub", "Div")  # what export makes of (image − mean) / std, after the Transpose


class _Images(quantization.CalibrationDataReader):
    def __init__(self, images: np.ndarray):
        self.batches = iter(np.split(images, range(BATCH, len(images), BATCH)))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {onnx_files.IMAGE: batch}


def quantise(model: onnx.ModelProto, images: np.ndarray, centred: bool, per_channel: bool) -> onnx.ModelProto:
    """The int8 model, calibrated on `images` uint8 (N,H,W,3).

    centred: the normalisation is (image − 128) / 64. Its quantised form at scale 1/64, zero point 128 is the image
    itself, exactly, so the images go straight into the first convolution and the float steps are cut out.
    per_channel: a scale for each output channel of the weights, else one a tensor.
    """
    options = {"OpTypesToExcludeOutputQuantization": ["Gemm"]}
    if centred:
        exact = {"scale": np.array(1 / 64, np.float32), "zero_point": np.array(128, np.uint8)}
        options["TensorQuantOverrides"] = {_normalisation(model.graph)[-1].output[0]: [exact]}
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, small = (Path(folder, name) for name in ("plain.onnx", "ready.onnx", "int8.onnx"))
        onnx.save(model, plain)
        # Symbolic shapes fail on Resize, and the quantiser needs none of them.
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready, small, _Images(images), quant_format=quantization.QuantFormat.QDQ, per_channel=per_channel,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax, extra_options=options)
        result = onnx.load(small)
    _float_logits(result.graph)
    if centred:
        _bypass(result.graph)
    return result


def _normalisation(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes Transpose, Cast, Sub, Div that follow the input."""
    chain, value = [], onnx_files.IMAGE
    for kind in ("Transpose", *NORMALISATION):
        node = next((node for node in graph.node if value in node.input), None)
        if node is None or node.op_type != kind:
            raise ValueError(f"the exported graph starts otherwise than {NORMALISATION}: see stages/kit/export.py")
        chain, value = [*chain, node], node.output[0]
    return chain


def _float_logits(graph: onnx.GraphProto) -> None:
    """Last convolution → (QuantizeLinear → DequantizeLinear →) logits, resized or added up on the way or not: what
    stands in brackets goes. A Gemm's output was never quantised.
    """
    made = {name: node for node in graph.node for name in node.output}
    names = [onnx_files.LOGITS]
    while names:
        name = names.pop()
        node = made.get(name)  # none: a constant
        if node and node.op_type in ("Resize", "Add"):
            names += node.input
        elif node and node.op_type == "DequantizeLinear" and node.input[0] in made:
            quantizer = made[node.input[0]]
            source = made[quantizer.input[0]]
            if source.op_type in ("Conv", "Resize", "Add"):
                graph.node.remove(node)
                graph.node.remove(quantizer)
                _rename(graph, source.output[0], name)
                made[name] = source
                names.append(name)
                onnx_files.drop_unused(graph)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _bypass(graph: onnx.GraphProto) -> None:
    """image → Transpose → (Cast → Sub → Div → QuantizeLinear →) DequantizeLinear: what stands in brackets goes."""
    transpose, *steps = _normalisation(graph)
    quantizer = next(node for node in graph.node
                     if node.op_type == "QuantizeLinear" and node.input[0] == steps[-1].output[0])
    for node in graph.node:
        node.input[:] = [transpose.output[0] if name == quantizer.output[0] else name for name in node.input]
    for node in (*steps, quantizer):
        graph.node.remove(node)
    onnx_files.drop_unused(graph)
