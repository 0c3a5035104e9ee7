"""int8 sums that saturate in 16 bits on x86 without VNNI: told from the weights alone, on any machine."""

import numpy as np
import onnx
import pytest
from conftest import to_int8
from exported_networks import float_model, pictures
from onnx import TensorProto, helper, numpy_helper

from stages.deployment import checks, overflow

VERIFY = {"images": 8, "tolerance": 1e-3, "least_agreement": 60.0}


def layer(*weights: int) -> onnx.ModelProto:
    """A graph of one quantised layer with these weights, and a scale beside them."""
    kernel = numpy_helper.from_array(np.array(weights, np.int8).reshape(1, -1, 1, 1), "kernel")
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    node = helper.make_node("DequantizeLinear", ["kernel", "scale"], ["values"])
    return helper.make_model(helper.make_graph([node], "one", [], [helper.make_tensor_value_info(
        "values", TensorProto.FLOAT, None)], [kernel, scale]))


@pytest.mark.parametrize(("weights", "expected"), [
    ((64, -64, 64, 3), 255 * 128),  # 32,640: fits
    ((65, 64, -127), 255 * 129),  # the two largest of one sign
    ((-127, -100, 5, 120), 255 * 227),
    ((127, -127), 255 * 127),  # of opposite signs: they never add up
    ((-3,), 255 * 3), ((0, 0), 0)])
def test_the_largest_pair_by_hand(weights, expected):
    assert overflow.largest_pair(layer(*weights)) == expected


def test_float_weights_and_biases_do_not_count():
    assert overflow.largest_pair(float_model()) == 0


def saturating_dot(activations: np.ndarray, weights: np.ndarray) -> int:
    """Pairs of products are added in 16 bits, and saturate, then in 32: the instruction vpmaddubsw."""
    pairs = (activations.astype(int) * weights.astype(int)).reshape(-1, 2).sum(1)
    return int(pairs.clip(-2**15, 2**15 - 1).sum())


@pytest.mark.parametrize("reduce_range", [True, False])
def test_what_the_bound_allows_never_saturates_and_the_full_range_does(reduce_range):
    """On white pixels, with every kernel's weights in the order that pairs the largest."""
    model = to_int8(float_model(), pictures(40), centred=True, per_channel=True, reduce_range=reduce_range)
    kernels = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer
               if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1]
    differing = 0
    for weights in (row for kernel in kernels for row in kernel.reshape(len(kernel), -1)):
        ordered = np.sort(weights)[:len(weights) // 2 * 2]
        white = np.full(len(ordered), 255, np.uint8)
        differing += saturating_dot(white, ordered) != int(white.astype(int) @ ordered.astype(int))
    assert (overflow.largest_pair(model) <= 2**15 - 1) == reduce_range
    assert (differing == 0) == reduce_range


@pytest.mark.parametrize(("reduce_range", "allow_overflow", "passed"), [
    (True, False, True), (False, False, False), (False, True, True)])
def test_the_check_refuses_a_full_range_unless_it_is_allowed(tmp_path, reduce_range, allow_overflow, passed):
    path = tmp_path / "int8.onnx"
    onnx.save(to_int8(float_model(), pictures(40), centred=True, per_channel=True, reduce_range=reduce_range), path)
    subject = checks.ModelUnderTest.__new__(checks.ModelUnderTest)
    subject.path, subject.settings = path, checks.VerifyParams(**VERIFY, allow_overflow=allow_overflow)
    result = checks.no_overflow(subject)
    assert result.passed == passed and result.figures["largest_pair"] == overflow.largest_pair(onnx.load(path))
    assert ("without VNNI" in result.message) != reduce_range
