"""Static int8 quantisation. In: an onnx.ModelProto in float and some training images. Out: the same model in int8.

uint8 activations and int8 weights (U8S8: what x86 with VNNI multiplies fastest), as QuantizeLinear/DequantizeLinear
pairs around the operators, ranges by the smallest and largest values seen. Logits stay float: class scores in 256 steps
tie, of a U-Net's pixels three in a hundred.
"""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from stages.deployment import onnx_model, weight_only

BATCH = 16  # images calibrated at a time: every activation of a batch is in memory
NORMALISATION = ("Cast", "Sub", "Div")  # what export makes of (image − mean) / std, after the Transpose
HELD = ("Conv", "ConvTranspose", "Gemm")  # what onnxruntime would quantise by itself
WEIGHTY = (*HELD, "MatMul")


class _Images(quantization.CalibrationDataReader):
    def __init__(self, images: np.ndarray):
        self.batches = iter(np.split(images, range(BATCH, len(images), BATCH)))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {onnx_model.IMAGE: batch}


class Calibrated:
    """A model whose activations have been seen once, to be quantised as often and in as many ways as one likes."""

    def __init__(self, model: onnx.ModelProto, images: np.ndarray, centred: bool, folder: Path):
        self.centred, self.folder = centred, folder
        self.ready, self.ranges = folder / "ready.onnx", folder / "ranges.json"
        plain = folder / "plain.onnx"
        onnx.save(model, plain)
        # Symbolic shapes fail on Resize, and the quantiser needs none of them.
        quant_pre_process(plain, self.ready, skip_symbolic_shape=True)
        self.images: np.ndarray | None = images  # until the ranges are known

    def layers(self) -> list[str]:
        """The names of the nodes that have weights, from the image to the logits."""
        return [node.name for node in onnx.load(self.ready).graph.node if node.op_type in WEIGHTY]

    def quantised(self, per_channel: bool, in_float: Collection[str] = ()) -> onnx.ModelProto:
        """The int8 model. in_float: of `layers`, those that stay as they are.

        per_channel: a scale for each output channel of the weights, else one a tensor.
        """
        options = {"OpTypesToExcludeOutputQuantization": ["Gemm"]}
        if self.centred:
            exact = {"scale": np.array(1 / 64, np.float32), "zero_point": np.array(128, np.uint8)}
            options["TensorQuantOverrides"] = {
                _normalisation(onnx.load(self.ready).graph)[-1].output[0]: [exact]}
        small = self.folder / "int8.onnx"
        quantization.quantize_static(
            self.ready, small, None if self.images is None else _Images(self.images),
            quant_format=quantization.QuantFormat.QDQ, per_channel=per_channel,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=list(in_float), calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options=options, calibration_cache_path=self.ranges)
        self.images = None
        result = onnx.load(small)
        _float_logits(result.graph)
        _hold(result.graph, in_float)
        if self.centred:
            _bypass(result.graph)
        return result


@contextmanager
def calibrated(model: onnx.ModelProto, images: np.ndarray, centred: bool) -> Iterator[Calibrated]:
    """images: uint8 (N,H,W,3), to see how large the activations get.

    centred: the normalisation is (image − 128) / 64. Its quantised form at scale 1/64, zero point 128 is the image
    itself, exactly, so the images go straight into the first convolution and the float steps are cut out.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield Calibrated(model, images, centred, Path(folder))


def _normalisation(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes Transpose, Cast, Sub, Div that follow the input."""
    chain, value = [], onnx_model.IMAGE
    for kind in ("Transpose", *NORMALISATION):
        node = next((node for node in graph.node if value in node.input), None)
        if node is None or node.op_type != kind:
            raise ValueError(f"the exported graph starts otherwise than {NORMALISATION}: see stages/deployment/export.py")
        chain, value = [*chain, node], node.output[0]
    return chain


def _float_logits(graph: onnx.GraphProto) -> None:
    """Last convolution → (QuantizeLinear → DequantizeLinear →) logits, resized or added up on the way or not: what
    stands in brackets goes. A Gemm's output was never quantised.
    """
    made = {name: node for node in graph.node for name in node.output}
    names = [onnx_model.LOGITS]
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
                onnx_model.drop_unused(graph)


def _hold(graph: onnx.GraphProto, in_float: Collection[str]) -> None:
    """Keep onnxruntime from quantising these nodes itself, by one scale a tensor.

    It does so to each Conv, ConvTranspose and Gemm with constant weights and bias that stands between quantisers (the
    transformer WeightBiasQuantization, seen in 1.31), and leaves out those whose bias is no plain constant. So the bias
    becomes an int32 with a scale: as fine as a float.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.name in in_float and node.op_type in HELD]:
        if len(node.input) > 2:
            bias = numpy_helper.to_array(constants[node.input[2]])
        else:
            groups = next((found.i for found in node.attribute if found.name == "group"), 1)
            outputs = constants[node.input[1]].dims[weight_only.channels(node)]
            bias = np.zeros(outputs * (groups if node.op_type == "ConvTranspose" else 1), np.float32)
            node.input.append("")
        scale = np.float32(max(np.abs(bias).max(), 1e-30) / 2**30)
        names = [f"{node.name}.bias{part}" for part in (".stored", ".scale", "")]
        graph.initializer.extend([numpy_helper.from_array(np.rint(bias / scale).astype(np.int32), names[0]),
                                  numpy_helper.from_array(scale, names[1])])
        graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", names[:2], names[2:], name=names[2]))
        node.input[2] = names[2]
    onnx_model.drop_unused(graph)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _bypass(graph: onnx.GraphProto) -> None:
    """image → Transpose → (Cast → Sub → Div → QuantizeLinear →) DequantizeLinear: what stands in brackets goes.

    Where the first convolution stays in float, so do they.
    """
    transpose, *steps = _normalisation(graph)
    readers = [node for node in graph.node if steps[-1].output[0] in node.input]
    if [node.op_type for node in readers] != ["QuantizeLinear"]:
        return
    quantizer = readers[0]
    for node in graph.node:
        node.input[:] = [transpose.output[0] if name == quantizer.output[0] else name for name in node.input]
    for node in (*steps, quantizer):
        graph.node.remove(node)
    onnx_model.drop_unused(graph)
