"""Static int8 quantisation. In: an onnx.ModelProto in float and some training images. Out: the same model in int8.

uint8 activations and int8 weights (U8S8: what x86 with VNNI multiplies fastest), as QuantizeLinear/DequantizeLinear
pairs around the operators; ranges are the smallest and largest values seen in calibration. Logits stay float: class
scores in 256 steps tie, for 3 % of a U-Net's pixels.
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

from stages.deployment import onnx_model, opset, weight_only

BATCH = 16  # images calibrated at a time: every activation of a batch is in memory
NORMALISATION = ["Transpose", "Cast", "Sub", "Div"]  # what export makes of the layout's change and (image − mean) / std
RUNTIME_QUANTISED = ("Conv", "ConvTranspose", "Gemm")  # what onnxruntime quantises by itself; see _keep_float
WEIGHTED = (*RUNTIME_QUANTISED, "MatMul")


class _CalibrationReader(quantization.CalibrationDataReader):
    def __init__(self, images: np.ndarray):
        self.batches = iter(np.split(images, range(BATCH, len(images), BATCH)))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {onnx_model.IMAGE: batch}


class Calibrated:
    """A model that is calibrated once, and can then be quantised in several ways."""

    def __init__(self, model: onnx.ModelProto, images: np.ndarray, centred: bool, folder: Path):
        self.images, self.centred, self.folder = images, centred, folder
        self.prepared, plain = folder / "prepared.onnx", folder / "plain.onnx"
        onnx.save(model, plain)
        quant_pre_process(plain, self.prepared, skip_symbolic_shape=True)  # the quantiser doesn't need them

    def layers(self) -> list[str]:
        """The names of the nodes that have weights, from the image to the logits."""
        return [node.name for node in onnx.load(self.prepared).graph.node if node.op_type in WEIGHTED]

    def quantised(self, per_channel: bool, reduce_range: bool,
                  excluded_nodes: Collection[str] = ()) -> onnx.ModelProto:
        """The int8 model.

        per_channel: a scale for each output channel of the weights, else one a tensor.
        reduce_range: weights in 7 bits, within ±64, else in 8, within ±127.
        excluded_nodes: those of `layers` that stay float.
        """
        options = {"OpTypesToExcludeOutputQuantization": ["Gemm"]}
        if self.centred:
            exact = {"scale": np.array(1 / 64, np.float32), "zero_point": np.array(128, np.uint8)}
            options["TensorQuantOverrides"] = {
                _normalisation(onnx.load(self.prepared).graph)[-1].output[0]: [exact]}
        quantised = self.folder / "int8.onnx"
        quantization.quantize_static(
            self.prepared, quantised, _CalibrationReader(self.images),
            quant_format=quantization.QuantFormat.QDQ, per_channel=per_channel, reduce_range=reduce_range,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=list(excluded_nodes), calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options=options, calibration_cache_path=self.folder / "ranges.json")  # read by later calls
        result = onnx.load(quantised)
        _float_logits(result.graph)
        _keep_float(result.graph, excluded_nodes)
        if self.centred:
            _bypass_normalisation(result.graph)
        return opset.lowest(result)  # the quantiser imports domains that nothing here is of


@contextmanager
def calibrated(model: onnx.ModelProto, images: np.ndarray, centred: bool) -> Iterator[Calibrated]:
    """images: uint8 (N,H,W,3), to calibrate on.

    centred: the normalisation is (image − 128) / 64. Its quantised form at scale 1/64 and zero point 128 is exactly the
    uint8 image, so images go straight into the first convolution and the float steps are cut out.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield Calibrated(model, images, centred, Path(folder))


def unsigned_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of `Calibrated` with its int8 weights as uint8, 128 higher, at zero point 128: the same numbers.

    x86 without VNNI multiplies uint8 by uint8 in 16 bits, then adds in 32, so that nothing saturates.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        weights = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weights is not None and weights.data_type == onnx.TensorProto.INT8:
            values = numpy_helper.to_array(weights).astype(np.int16) + 128
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.uint8), weights.name))
            zero = numpy_helper.to_array(constants[node.input[2]])
            constants[node.input[2]].CopyFrom(
                numpy_helper.from_array(np.full_like(zero, 128, np.uint8), node.input[2]))
    return model


def _normalisation(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that follow the input, as NORMALISATION lists them."""
    chain, value = [], onnx_model.IMAGE
    for kind in NORMALISATION:
        node = next((node for node in graph.node if value in node.input), None)
        if node is None or node.op_type != kind:
            raise ValueError(f"the exported graph doesn't start with {NORMALISATION}: see stages/deployment/export.py")
        chain.append(node)
        value = node.output[0]
    return chain


def _float_logits(graph: onnx.GraphProto) -> None:
    """Remove the quantiser pairs between the last convolution and the logits, also before a Resize or Add on that path.

    The output of a Gemm is never quantised.
    """
    producers = {name: node for node in graph.node for name in node.output}
    names = [onnx_model.LOGITS]
    while names:
        name = names.pop()
        node = producers.get(name)  # None: a constant
        if node and node.op_type in ("Resize", "Add"):
            names += node.input
        elif node and node.op_type == "DequantizeLinear" and node.input[0] in producers:
            quantizer = producers[node.input[0]]
            source = producers[quantizer.input[0]]
            if source.op_type in ("Conv", "Resize", "Add"):
                graph.node.remove(node)
                graph.node.remove(quantizer)
                _rename(graph, source.output[0], name)
                producers[name] = source
                names.append(name)
    onnx_model.drop_unused(graph)


def _keep_float(graph: onnx.GraphProto, excluded_nodes: Collection[str]) -> None:
    """Keep onnxruntime from quantising these nodes itself, by one scale a tensor.

    Its transformer WeightBiasQuantization (as of 1.31) does so to each Conv, ConvTranspose and Gemm with constant
    weights and bias that stands between quantisers, but leaves out those whose bias is no plain constant. So the bias
    becomes an int32 with a scale, which is as precise as a float.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.name in excluded_nodes and node.op_type in RUNTIME_QUANTISED]:
        if len(node.input) > 2:
            bias = numpy_helper.to_array(constants[node.input[2]])
        else:
            groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
            outputs = constants[node.input[1]].dims[weight_only.channel_axis(node)]
            bias = np.zeros(outputs * (groups if node.op_type == "ConvTranspose" else 1), np.float32)
            node.input.append("")
        scale = np.float32(max(np.abs(bias).max(), 1e-30) / 2**30)
        names = [f"{node.name}.bias{part}" for part in (".stored", ".scale", "")]
        graph.initializer.extend([numpy_helper.from_array(np.rint(bias / scale).astype(np.int32), names[0]),
                                  numpy_helper.from_array(scale, names[1])])
        graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", names[:2], names[2:], name=names[2]))
        node.input[2] = names[2]
    onnx_model.drop_unused(graph)


def _bypass_normalisation(graph: onnx.GraphProto) -> None:
    """Remove Cast, Sub, Div and the QuantizeLinear after them, so that the Transpose feeds the DequantizeLinear.

    Not where anything else reads the normalised image: a first convolution that stays float does.
    """
    transpose, *steps = _normalisation(graph)
    readers = [node for node in graph.node if steps[-1].output[0] in node.input]
    if [node.op_type for node in readers] != ["QuantizeLinear"]:
        return
    for node in (*steps, *readers):
        graph.node.remove(node)
    _rename(graph, readers[0].output[0], transpose.output[0])
    onnx_model.drop_unused(graph)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
