"""Static int8: integers inside, uint8 straight into the first convolution, layers that stay float."""
# ruff: noqa: F401, F811 (fixtures are imported)

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import to_int8
from exported_networks import (
    CARD,
    SIDE,
    answers,
    exported,
    float_model,
    net,
    pictures,
)
from onnx import helper, numpy_helper

from stages.deployment import export, int8, onnx_model
from stages.models import factory


def test_uint8_goes_straight_into_the_first_convolution_and_changes_nothing(exported, monkeypatch, tmp_path):
    kinds = [node.op_type for node in onnx.load(exported / "int8.onnx").graph.node]
    assert not {"Cast", "Sub", "Div"} & set(kinds)
    monkeypatch.setattr(int8, "_bypass_normalisation", lambda graph: None)
    long_way = to_int8(float_model(), pictures(40), centred=True, per_channel=True)
    assert {"Cast", "Sub", "Div"} <= {node.op_type for node in long_way.graph.node}
    onnx_model.write(long_way, CARD, tmp_path / "long.onnx")
    ramp = np.arange(16 * 16 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 16, 16, 3)  # every value there is
    for images in (pictures(32, seed=2), ramp):
        assert np.array_equal(onnx_model.open_model(exported / "int8.onnx", 1)(images),
                              onnx_model.open_model(tmp_path / "long.onnx", 1)(images))


def test_onnxruntime_computes_in_integers(exported, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    onnxruntime.InferenceSession(exported / "int8.onnx", options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 9 and kinds.count("QGemm") == 1 and "QLinearGlobalAveragePool" in kinds
    assert not {"Conv", "FusedConv", "Gemm", "QuantizeLinear", "DequantizeLinear", "ReduceMean"} & set(kinds)


def test_weights_are_int8_and_the_file_is_smaller(exported):
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(exported / "int8.onnx").graph.initializer]
    matrices = [weight for weight in weights if weight.ndim > 1]
    assert len(matrices) == 10 and all(weight.dtype == np.int8 for weight in matrices)
    assert (exported / "int8.onnx").stat().st_size < 0.6 * (exported / "float.onnx").stat().st_size


@pytest.mark.slow
def test_other_normalisations_keep_their_steps(exported, tmp_path):
    trained = net()
    trained.mean, trained.std = (torch.tensor(values) for values in factory.IMAGENET)
    model = export.to_onnx(trained, (SIDE, SIDE))
    onnx_model.write(to_int8(model, pictures(40), centred=False, per_channel=False), CARD, tmp_path / "int8.onnx")
    expected = trained(torch.from_numpy(pictures(8)).permute(0, 3, 1, 2)).numpy()
    error = np.abs(onnx_model.open_model(tmp_path / "int8.onnx", 1)(pictures(8)) - expected)
    assert error.max() < 0.15 * np.abs(expected).max()


def test_a_first_layer_in_float_keeps_its_normalisation():
    model = float_model()
    with int8.calibrated(model, pictures(40), True) as ready:
        small = ready.quantised(True, True, ready.layers()[:1])
    assert {"Cast", "Sub", "Div"} <= {node.op_type for node in small.graph.node}
    expected = answers(model, pictures(8, seed=1))
    assert np.abs(answers(small, pictures(8, seed=1)) - expected).max() < 0.1 * np.abs(expected).max()


def test_every_image_is_calibrated_on_once():
    images = pictures(2 * int8.BATCH + 1)
    reader = int8._CalibrationReader(images)
    batches = [batch[onnx_model.IMAGE] for batch in iter(reader.get_next, None)]
    assert [len(batch) for batch in batches] == [int8.BATCH, int8.BATCH, 1] and int8.BATCH == 16
    assert np.array_equal(np.concatenate(batches), images)


def constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_layers_are_the_nodes_with_weights(tmp_path):
    kinds = ("Conv", "Relu", "ConvTranspose", "MatMul", "Add", "Gemm")
    graph = helper.make_graph([helper.make_node(kind, ["x", "w"], [kind], name=kind) for kind in kinds], "g", [], [])
    ready = int8.Calibrated.__new__(int8.Calibrated)
    ready.prepared = tmp_path / "prepared.onnx"
    onnx.save(helper.make_model(graph), ready.prepared)
    assert ready.layers() == ["Conv", "ConvTranspose", "MatMul", "Gemm"]


def test_scales_are_one_a_channel_or_one_a_tensor():
    with int8.calibrated(float_model(), pictures(20), True) as ready:
        layers = ready.layers()
        for per_channel in (True, False):
            graph = ready.quantised(per_channel, True).graph
            conv = next(node for node in graph.node if node.name == layers[0])
            dequantizer = next(node for node in graph.node if conv.input[1] in node.output)
            assert constants(graph)[dequantizer.input[1]].shape == ((8,) if per_channel else ())
    assert len(layers) == 10 and layers[-1] == "node_linear"


def test_a_layer_that_stays_float_keeps_its_weights_and_its_bias():
    """The bias to the precision of a float."""
    with int8.calibrated(float_model(), pictures(20), True) as ready:
        name = ready.layers()[3]
        before = onnx.load(ready.prepared).graph
        after = ready.quantised(True, True, [name]).graph
    (old,), (new,) = ([node for node in graph.node if node.name == name] for graph in (before, after))
    weights = constants(after)
    assert np.array_equal(weights[new.input[1]], constants(before)[old.input[1]])
    stored, scale = weights[f"{name}.bias.stored"], weights[f"{name}.bias.scale"]
    assert new.input[2] == f"{name}.bias" and stored.dtype == np.int32
    assert 2**29 < np.abs(stored).max() <= 2**30
    assert np.abs(stored * np.float64(scale) - constants(before)[old.input[2]]).max() <= 2**-24 * np.abs(
        constants(before)[old.input[2]]).max()


@pytest.mark.parametrize("kind, shape, attributes, outputs", [
    ("Conv", (6, 2, 3, 3), {"group": 2}, 6), ("ConvTranspose", (4, 3, 3, 3), {"group": 2}, 6),
    ("ConvTranspose", (4, 3, 3, 3), {}, 3), ("Gemm", (4, 5), {}, 5), ("Gemm", (5, 4), {"transB": 1}, 5),
])
def test_a_layer_without_a_bias_gets_one_of_zeros(kind, shape, attributes, outputs):
    names = ["held", "quantised"]
    nodes = [helper.make_node(kind, ["x", "w"], [name], name=name, **attributes) for name in names]
    graph = helper.make_graph(nodes, "g", [], [], [numpy_helper.from_array(np.ones(shape, np.float32), "w")])
    int8._keep_float(graph, ["held"])
    assert np.array_equal(constants(graph)["held.bias.stored"], np.zeros(outputs, np.int32))
    assert constants(graph)["held.bias.scale"] > 0
    assert [list(node.input) for node in graph.node] == [
        ["held.bias.stored", "held.bias.scale"], ["x", "w", "held.bias"], ["x", "w"]]


def chain(*steps: tuple[str, list[str], str]) -> onnx.GraphProto:
    """Nodes of (kind, inputs, output), with the constants s and z that quantisers read."""
    nodes = [helper.make_node(kind, names, [output]) for kind, names, output in steps]
    values = [numpy_helper.from_array(np.float32(1), "s"), numpy_helper.from_array(np.uint8(0), "z"),
              numpy_helper.from_array(np.float32(1), "w")]
    return helper.make_graph(nodes, "g", [], [], values)


def pair(name: str, output: str) -> tuple:
    return ("QuantizeLinear", [name, "s", "z"], f"{name}_q"), ("DequantizeLinear", [f"{name}_q", "s", "z"], output)


def test_nothing_between_the_last_convolutions_and_the_logits_is_quantised():
    """A small map is resized and added to a large one, as in FCN; what the convolutions read stays quantised."""
    graph = chain(*pair("x", "x_dq"), ("Conv", ["x_dq", "w"], "small"), *pair("small", "small_dq"),
                  ("Resize", ["small_dq", "", "s"], "large"), *pair("large", "large_dq"),
                  ("Conv", ["x_dq", "w"], "other"), *pair("other", "other_dq"),
                  ("Add", ["large_dq", "other_dq"], "sum"), *pair("sum", "logits"))
    int8._float_logits(graph)
    assert [node.op_type for node in graph.node] == [
        "QuantizeLinear", "DequantizeLinear", "Conv", "Resize", "Conv", "Add"]
    small, resize, other, total = graph.node[2:]
    assert total.output[0] == "logits" and list(total.input) == [resize.output[0], other.output[0]]
    assert resize.input[0] == small.output[0] and set(constants(graph)) == {"s", "z", "w"}


def segmenter() -> onnx.ModelProto:
    """Images to logits at half their size, resized to theirs."""
    random = np.random.default_rng(0)
    values = {"mean": np.full((1, 3, 1, 1), 128, np.float32), "std": np.full((1, 3, 1, 1), 64, np.float32),
              "w1": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32), "b1": np.zeros(8, np.float32),
              "w2": random.normal(0, 0.3, (4, 8, 1, 1)).astype(np.float32), "b2": np.zeros(4, np.float32),
              "scales": np.array([1, 1, 2, 2], np.float32)}
    nodes = [helper.make_node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]),
             helper.make_node("Cast", ["t"], ["c"], to=1), helper.make_node("Sub", ["c", "mean"], ["u"]),
             helper.make_node("Div", ["u", "std"], ["v"]),
             helper.make_node("Conv", ["v", "w1", "b1"], ["h"], name="first", pads=[1] * 4, strides=[2, 2]),
             helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Conv", ["r", "w2", "b2"], ["small"], name="last"),
             helper.make_node("Resize", ["small", "", "scales"], ["logits"], mode="linear")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("image", 2, ["n", SIDE, SIDE, 3])],
                              [helper.make_tensor_value_info("logits", 1, ["n", 4, SIDE, SIDE])],
                              [numpy_helper.from_array(value, name) for name, value in values.items()])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def test_a_segmenters_logits_stay_float():
    model, images = segmenter(), pictures(20)
    small = to_int8(model, images, centred=True, per_channel=True)
    assert [node.op_type for node in small.graph.node][-2:] == ["Conv", "Resize"]
    expected = answers(model, images)
    assert np.abs(answers(small, images) - expected).max() < 0.05 * np.abs(expected).max()
    assert len(np.unique(answers(small, images))) > 5000


def test_quantisers_before_other_operators_stay():
    graph = chain(("Relu", ["x"], "r"), *pair("r", "logits"))
    int8._float_logits(graph)
    assert [node.op_type for node in graph.node] == ["Relu", "QuantizeLinear", "DequantizeLinear"]


def test_another_start_than_the_exported_one_is_an_error():
    for kinds in (("Transpose", "Cast", "Sub"), ("Transpose", "Cast", "Sub", "Mul")):
        names = ["image", *"tuvw"]
        steps = [(kind, [names[number]], names[number + 1]) for number, kind in enumerate(kinds)]
        with pytest.raises(ValueError, match=r"doesn't start with .*export\.py"):
            int8._normalisation(chain(*steps))


def test_a_normalised_image_that_others_read_too_stays():
    steps = (("Transpose", ["image"], "t"), ("Cast", ["t"], "c"), ("Sub", ["c", "s"], "u"), ("Div", ["u", "s"], "v"))
    graph = chain(*steps, *pair("v", "v_dq"), ("Conv", ["v_dq", "w"], "a"))
    int8._bypass_normalisation(graph)
    assert [node.op_type for node in graph.node] == ["Transpose", "DequantizeLinear", "Conv"]
    assert list(graph.node[1].input) == ["t", "s", "z"]
    both = chain(*steps, *pair("v", "v_dq"), ("Conv", ["v_dq", "w"], "a"), ("Relu", ["v"], "b"))
    int8._bypass_normalisation(both)
    assert len(both.node) == 8
