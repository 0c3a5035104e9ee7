"""Weights stored as int8 or half floats: the float model's answers, at its cost, in a smaller file."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported_networks import SIDE, answers, float_model

from stages.deployment import export, onnx_model, weight_only
from stages.models import factory


def folded(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The kinds of nodes that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "folded.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "folded.onnx").graph.node]


def assert_answers_are_kept(model: onnx.ModelProto, side: int, folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    expected, before = answers(model, images), folded(model, folder)
    weights = sum(values.size for values in map(onnx.numpy_helper.to_array, model.graph.initializer)
                  if values.dtype == np.float32)
    for way, bits, error in ((weight_only.int8_weights, 8, 0.05), (weight_only.fp16_weights, 16, 0.003)):
        small = way(model)
        onnx.checker.check_model(small, full_check=True)
        assert np.abs(answers(small, images) - expected).max() < error * np.abs(expected - expected.mean()).max()
        saved = len(model.SerializeToString()) - len(small.SerializeToString())
        assert saved > 0.6 * weights * (32 - bits) / 8
        assert sorted(folded(small, folder)) == sorted(before)  # nothing is turned into floats in a run


def test_stored_weights_give_the_float_models_answers_at_its_cost(tmp_path):
    assert_answers_are_kept(float_model(), SIDE, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name, options, side", [
    ("unet", {"width": 8, "depth": 2, "upsampling": "bilinear"}, 16),
    ("torchvision", {"architecture": "mobilenet_v3_small", "stem": "standard"}, 32),
])
def test_stored_weights_of_other_networks(name, options, side, tmp_path):
    torch.manual_seed(0)
    built = factory.build(factory.NetworkParams(model=name, options=options, weights="none"), 4, (side, side), 0)
    assert_answers_are_kept(export.to_onnx(factory.freeze(built), (side, side)), side, tmp_path)


def gemm(weight: np.ndarray, name: str = "w", **attributes: int) -> onnx.ModelProto:
    """x (n,K) times a constant."""
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", name], ["y"], **attributes)], "g",
        [helper.make_tensor_value_info("x", 1, ["n", None])], [helper.make_tensor_value_info("y", 1, ["n", None])],
        [onnx.numpy_helper.from_array(weight, name)])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def stored(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("transposed", [0, 1])
def test_each_output_channel_has_a_scale_of_its_own(transposed):
    """With integers of −127 … 127 times a power of two nothing is lost, however much the channels differ in size."""
    integers = np.random.default_rng(0).integers(-126, 127, (16, 32))
    integers[0] = -127
    weight = (integers * 2.0 ** np.arange(-16, 16)).astype(np.float32)  # (inputs, outputs)
    weight[:, 3] = 0
    with np.errstate(all="raise"):
        small = weight_only.int8_weights(gemm(weight.T.copy() if transposed else weight, transB=transposed))
    constants = stored(small)
    assert constants["w.stored"].dtype == np.int8 and constants["w.stored"].min() == -127
    assert constants["w.scale"].shape == ((32, 1) if transposed else (1, 32))
    run = onnx_model.session(small.SerializeToString(), 1).run(None, {"x": np.eye(16, dtype=np.float32)})[0]
    assert np.array_equal(run, weight)


def test_the_axis_of_the_output_channels():
    def axis(kind: str, **attributes: int) -> int:
        return weight_only.channel_axis(onnx.helper.make_node(kind, ["x", "w"], ["y"], **attributes))

    assert [axis(kind) for kind in ("Conv", "ConvTranspose", "MatMul", "Gemm")] == [0, 1, -1, 1]
    assert axis("Gemm", transB=1) == 0 and axis("Gemm", transB=0, transA=1) == 1


@pytest.mark.parametrize("way", [weight_only.int8_weights, weight_only.fp16_weights])
def test_small_tensors_stay_as_they_are(way):
    assert list(stored(way(gemm(np.ones((15, 17), np.float32))))) == ["w"]  # 255 numbers
    assert "w.stored" in stored(way(gemm(np.ones((16, 16), np.float32))))


@pytest.mark.parametrize("way", [weight_only.int8_weights, weight_only.fp16_weights])
def test_weights_that_are_no_float32_stay_as_they_are(way):
    assert list(stored(way(gemm(np.ones((16, 16), np.float16))))) == ["w"]


def test_halves_that_would_overflow_stay_floats():
    weight = np.full((64, 8), 1.0, np.float32)
    weight[0, 0] = 1e6
    small = weight_only.fp16_weights(gemm(weight, transB=1))
    x = np.ones((1, 8), np.float32)
    run = onnx_model.session(small.SerializeToString(), 1).run(None, {"x": x})[0]
    assert run[0, 0] == pytest.approx(1e6 + 7) and run[0, 1] == pytest.approx(8)
