"""The oldest form of a graph: the same answers, in a file that old runtimes read."""
# ruff: noqa: F401, F811 (fixtures are imported)

import numpy as np
import onnx
import onnxruntime
import pytest
from exported_networks import SIDE, answers, exported, float_model, net, pictures
from onnx import TensorProto, helper, numpy_helper

from stages.deployment import export, onnx_model, opset
from stages.models import factory


def graph(*nodes: onnx.NodeProto, constants: dict[str, np.ndarray] | None = None) -> onnx.GraphProto:
    """From x, float (n,4), to y."""
    tensors = [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()]
    return helper.make_graph(list(nodes), "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
                             [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors)


def model(*nodes: onnx.NodeProto, version: int, **constants: np.ndarray) -> onnx.ModelProto:
    imports = {"": version, "com.microsoft": 1, "ai.onnx.ml": 5}
    return helper.make_model(graph(*nodes, constants=constants), ir_version=10,
                             opset_imports=[helper.make_opsetid(*entry) for entry in imports.items()])


@pytest.mark.parametrize(("node", "version", "expected", "ir_version"), [
    (helper.make_node("Relu", ["x"], ["y"]), 20, 14, 7),
    (helper.make_node("HardSwish", ["x"], ["y"]), 20, 14, 7),
    (helper.make_node("ReduceMean", ["x", "axes"], ["y"]), 20, 14, 7),  # its axes were an attribute before 18
    (helper.make_node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2), 20, 18, 8),  # that attribute came with 18
    (helper.make_node("Gelu", ["x"], ["y"]), 20, 20, 9),  # new in 20
    (helper.make_node("Relu", ["x"], ["y"]), 13, 13, 7)])  # never made newer
def test_the_lowest_operator_set_by_operator(node, version, expected, ir_version):
    newer = model(node, version=version, axes=np.array([1]))
    older = opset.lowest(onnx.load_from_string(newer.SerializeToString()))
    assert [(entry.domain, entry.version) for entry in older.opset_import] == [("", expected)]
    assert older.ir_version == ir_version
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    given = [onnxruntime.InferenceSession(one.SerializeToString()).run(None, {"x": x})[0] for one in (newer, older)]
    assert np.array_equal(*given)


def test_a_domain_in_use_stays_imported():
    used = model(helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"), version=14)
    assert [entry.domain for entry in opset.lowest(used).opset_import] == ["", "com.microsoft"]


@pytest.mark.parametrize("name", ["float.onnx", "int8.onnx"])
def test_files_are_in_their_oldest_form_and_say_what_reads_them(exported, name):
    stored = onnx.load(exported / name)
    assert stored.ir_version == 7 and [(entry.domain, entry.version) for entry in stored.opset_import] == [("", 14)]
    told = {entry.key: entry.value for entry in stored.metadata_props}
    assert told["oldest_onnxruntime"] == "1.8" and told["saturates"] == "false"


def test_the_exported_graph_answers_as_before(monkeypatch):
    older = float_model()
    monkeypatch.setattr(opset, "lowest", lambda model: model)
    newer = export.to_onnx(net(), (SIDE, SIDE))
    assert opset.operator_set(newer) > opset.operator_set(older)
    assert np.array_equal(answers(newer, pictures(9)), answers(older, pictures(9)))


def test_masks_need_an_operator_set_more():
    """Resize to the size of another map: Shape has a start and an end since 15."""
    options = {"depth": 1, "width": 2, "upsampling": "bilinear"}
    wanted = factory.NetworkParams(model="unet", options=options, weights="none")
    made = export.to_onnx(factory.freeze(factory.build(wanted, 3, (SIDE, SIDE), 0)), (SIDE, SIDE))
    assert (opset.operator_set(made), made.ir_version, opset.oldest_runtime(made)) == (15, 8, "1.10")


def test_an_unknown_operator_set_needs_the_runtime_in_use():
    assert opset.oldest_runtime(model(version=99)) == onnxruntime.__version__


def test_allowzero_goes_where_no_zero_is():
    nodes = [helper.make_node("Reshape", ["x", name], [f"{name}_out"], allowzero=1) for name in ("flat", "zero", "x")]
    one = model(*nodes, version=20, flat=np.array([-1, 4]), zero=np.array([0, 4]))
    export._use_plain_reshape(one)
    assert [len(node.attribute) for node in one.graph.node] == [0, 1, 1]
