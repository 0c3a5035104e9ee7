"""The files themselves: torch's answers, the same bytes everywhere, a card that survives, one line for a bad file."""
# ruff: noqa: F401, F811 (fixtures are imported)

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT
from exported_networks import CARD, SIDE, exported, net, pictures

from stages.core.errors import UserError
from stages.deployment import export, latency, onnx_model
from stages.models import factory


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_float_agrees_with_torch_at_every_batch_size(exported, batch):
    images = pictures(batch, seed=1)
    expected = net()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    assert np.abs(onnx_model.open_model(exported / "float.onnx", 1)(images) - expected).max() < 1e-4
    quantised = onnx_model.open_model(exported / "int8.onnx", 1)(images)
    assert quantised.shape == expected.shape and quantised.dtype == np.float32
    assert np.abs(quantised - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.slow
def test_bytes_are_the_same_in_another_process_and_folder(exported, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    code = "import exported_networks, pathlib; exported_networks.write_both(pathlib.Path())"
    other = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path / "elsewhere", env=other)
    for name in ("float.onnx", "int8.onnx"):
        content = (exported / name).read_bytes()
        assert content == (tmp_path / "elsewhere" / name).read_bytes()
        assert not re.search(rb"(/\w+){2,}\.py|stack_trace|/tmp|/home", content)
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


def test_what_is_traced_once_gives_each_network_the_bytes_of_its_own_export():
    to_onnx = export.Exporter((SIDE, SIDE))
    first, second = (to_onnx(net(seed), "one kind").SerializeToString(deterministic=True) for seed in (0, 1))
    assert first != second == export.to_onnx(net(1), (SIDE, SIDE)).SerializeToString(deterministic=True)


def test_the_card_survives(exported):
    assert onnx_model.open_model(exported / "int8.onnx", 1).card == CARD
    keys = [entry.key for entry in onnx.load(exported / "int8.onnx").metadata_props]
    assert keys == sorted(keys)


@pytest.mark.parametrize("damage, message", [
    (lambda path: path.unlink(), "is missing; run dvc repro"),
    (lambda path: path.write_bytes(b""), "no readable ONNX model"),
    (lambda path: path.write_bytes(path.read_bytes()[:2000]), "no readable ONNX model"),
    (lambda path: onnx.save(foreign(path), path), "doesn't describe itself"),
])
def test_a_bad_file_is_one_line(exported, tmp_path, damage, message):
    path = Path(shutil.copy(exported / "float.onnx", tmp_path / "bad.onnx"))
    damage(path)
    with pytest.raises(UserError, match=message):
        onnx_model.open_model(path, 1)
    with pytest.raises(UserError, match=message), latency.Runner(path, 1) as process:
        process.measure(1, 0, 0)


def foreign(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    del model.metadata_props[:]
    return model


class Branching(torch.nn.Module):
    """What it computes depends on the images' values."""

    def forward(self, images):
        return images.mean((2, 3)) if images.sum() > 3 else images.amax((2, 3))


def test_a_network_that_cannot_be_exported_is_one_line(capfd):
    with pytest.raises(UserError, match=r"^Branching can't be exported .*; choose another model in params\.yaml$"):
        export.to_onnx(factory.Normalised(Branching(), *factory.CENTRED), (SIDE, SIDE))
    assert capfd.readouterr() == ("", "")


def test_the_mean_over_height_and_width_becomes_a_pooling():
    """And no other mean: onnxruntime has an int8 kernel for GlobalAveragePool alone."""
    axes = {"hw": [2, 3], "wh": [-1, -2], "h": [2], "ch": [1, 2]}
    nodes = [onnx.helper.make_node("ReduceMean", ["x", name], [name + "_mean"], keepdims=1) for name in axes]
    nodes.append(onnx.helper.make_node("ReduceMean", ["x", "hw"], ["flat"], keepdims=0))
    nodes.append(onnx.helper.make_node("ReduceMean", ["x"], ["all"]))
    graph = onnx.helper.make_graph(nodes, "g", [], [], [onnx.numpy_helper.from_array(np.array(values), name)
                                                        for name, values in axes.items()])
    model = onnx.helper.make_model(graph)
    export._use_global_average_pool(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["GlobalAveragePool", "GlobalAveragePool", "ReduceMean", "ReduceMean", "ReduceMean", "ReduceMean"]
    assert list(model.graph.node[0].input) == ["x"] and not model.graph.node[0].attribute
    assert {tensor.name for tensor in model.graph.initializer} == {"hw", "h", "ch"}  # "wh" is read by nothing any more
