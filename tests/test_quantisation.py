"""Making a model small: what is stored, what stays float, what is recommended."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import Project
from test_onnx import CARD, deployed, net, pictures  # noqa: F401 (deployed is a fixture)

from stages.core import files
from stages.deployment import explore, export, int8, onnx_model, quantize, weight_only
from stages.deployment.explore import Tried
from stages.models import factory

SETTINGS = quantize.QuantizeParams(mode="static", per_channel=True, calibration_images=40, max_drop=0.5,
                                       remedy="layers")
SIDE = 16


def answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    return onnx_model.session(model.SerializeToString(), 1).run(None, {onnx_model.IMAGE: images})[0]


def folded(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The kinds of nodes that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "folded.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "folded.onnx").graph.node]


@pytest.mark.parametrize("name, options, side", [
    ("small_resnet", {"depth": 8, "width": 8, "stride": 2}, 16),
    ("unet", {"width": 8, "depth": 2, "upsampling": "bilinear"}, 16),
    ("torchvision", {"architecture": "mobilenet_v3_small", "stem": "standard"}, 32),
])
def test_stored_weights_give_the_float_models_answers_at_its_cost(name, options, side, tmp_path):
    torch.manual_seed(0)
    built = factory.build(factory.NetworkParams(model=name, options=options, weights="none"), 4, (side, side), 0)
    model = export.to_onnx(factory.freeze(built), side)
    images = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    expected, before = answers(model, images), folded(model, tmp_path)
    weights = sum(values.size for values in map(onnx.numpy_helper.to_array, model.graph.initializer)
                  if values.dtype == np.float32)
    for way, bits, error in ((weight_only.int8_weights, 8, 0.05), (weight_only.fp16_weights, 16, 0.003)):
        small = way(model)
        onnx.checker.check_model(small, full_check=True)
        assert np.abs(answers(small, images) - expected).max() < error * np.abs(expected - expected.mean()).max()
        saved = len(model.SerializeToString()) - len(small.SerializeToString())
        assert saved > 0.6 * weights * (32 - bits) / 8
        assert sorted(folded(small, tmp_path)) == sorted(before)  # nothing is turned into floats in a run


def test_halves_that_would_overflow_stay_floats():
    weight = np.full((64, 8), 1.0, np.float32)
    weight[0, 0] = 1e6
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], "g",
        [helper.make_tensor_value_info("x", 1, ["n", 8])], [helper.make_tensor_value_info("y", 1, ["n", 64])],
        [onnx.numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    small = weight_only.fp16_weights(model)
    x = np.ones((1, 8), np.float32)
    run = onnx_model.session(small.SerializeToString(), 1).run(None, {"x": x})[0]
    assert run[0, 0] == pytest.approx(1e6 + 7) and run[0, 1] == pytest.approx(8)


def plain(count: int) -> np.ndarray:
    """Pictures of one colour each: logits differ more than by noise."""
    colours = np.random.default_rng(3).integers(0, 256, (count, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (count, SIDE, SIDE, 3)).copy()


@pytest.fixture
def spoilt(tmp_path, monkeypatch) -> onnx.ModelProto:
    """A network with one layer that int8 can't express: weights a thousand times the others', on a channel that is
    always 0. The labels of val are what the float network says."""
    built = net()
    first, second = built.net[1].first, built.net[1].second
    images = plain(64)
    with torch.no_grad():
        first[1].weight[0], first[1].bias[0] = 0.0, -0.01
        second[0].weight[:, 0] = 1000.0
        built.net[-1].bias -= built(torch.from_numpy(images).permute(0, 3, 1, 2)).mean(0)  # each class occurs
    model = export.to_onnx(built, SIDE)
    monkeypatch.chdir(tmp_path)
    folder = Path("data/prepared/val")
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "targets.npy", answers(model, images).argmax(1))
    return model


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_layer_that_int8_spoils_stays_float(spoilt, per_channel):
    judge, settings = quantize.ValScorer("classification"), SETTINGS.model_copy(update={"per_channel": per_channel})
    assert judge(spoilt) == 100
    with quantize.quantiser(spoilt, settings, plain(64), True) as ready:
        (usual,) = quantize.candidates(ready, settings.model_copy(update={"remedy": "none"}), judge, 99.5)
        assert usual.in_float == [] and usual.val < 80
        found = quantize.best(quantize.candidates(ready, settings, judge, 90))
        assert len(found.in_float) == 1 and found.val >= 90
        small = ready.small(settings, found.in_float)
    kept = next(node for node in small.graph.node if node.name == found.in_float[0])
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    assert weights[kept.input[1]].dtype == np.float32 and weights[kept.input[1]].max() > 100


def test_where_no_layers_help_the_best_try_is_kept(spoilt):
    judge = quantize.ValScorer("classification")
    with quantize.quantiser(spoilt, SETTINGS, plain(64), True) as ready:
        tried = quantize.candidates(ready, SETTINGS, judge, 101)
    assert [len(one.in_float) for one in tried] == [0, 1, 2, 4]  # of ten layers
    best = quantize.best(tried)
    assert best.val == max(one.val for one in tried) and tried.index(best) == [one.val for one in tried].index(best.val)


def test_a_first_layer_in_float_keeps_its_normalisation():
    model = export.to_onnx(net(), SIDE)
    with int8.calibrated(model, pictures(40), True) as ready:
        small = ready.quantised(True, ready.layers()[:1])
    assert {"Cast", "Sub", "Div"} <= {node.op_type for node in small.graph.node}
    expected = answers(model, pictures(8, seed=1))
    assert np.abs(answers(small, pictures(8, seed=1)) - expected).max() < 0.1 * np.abs(expected).max()


def row(mode: str | None, val: float, size: int, latency: float) -> Tried:
    return Tried(SETTINGS.model_copy(update={"mode": mode}) if mode else None, [], val, size, latency)


@pytest.mark.parametrize("small, best", [
    ([row("static", 90, 30, 0.4), row("weights", 90, 25, 1.0)], "static"),  # the faster
    ([row("static", 90, 30, 0.98), row("weights", 90, 25, 1.0)], "weights"),  # as fast: the smaller
    ([row("static", 89.8, 25, 1.0), row("weights", 90, 25.5, 1.0)], "weights"),  # as small: the better
    ([row("static", 89.4, 30, 0.4), row("weights", 90, 25, 1.0)], "weights"),  # loses too much
    ([row("static", 90, 30, 1.3), row("fp16", 90, 50, 1.0)], "fp16"),  # slower than what it replaces
    ([row("static", 80, 30, 0.4), row("weights", 90, 25, 1.2)], None),
])
def test_what_is_recommended(small, best):
    rows = [row(None, 90, 100, 1.0), *small]
    choice = explore.chosen(rows, SETTINGS)
    assert (choice and choice.settings.mode) == best
    said = explore.table(rows, SETTINGS)
    assert len(said.splitlines()) == 3 + len(rows)
    assert (f"quantize.mode to {best}" if best else "the float student is the one to deploy") in said


def test_explore_measures_every_way_and_writes_nothing(deployed):  # noqa: F811
    def state() -> dict[str, str]:
        return {path.relative_to(deployed.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in deployed.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    before = state()
    done = deployed.run("quantize", arguments=["--explore"])
    assert not done.returncode, done.stderr
    assert state() == before
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[1:6]] == [
        "float", "int8, a scale a channel", "int8, a scale a tensor", "int8 weights", "fp16 weights"]
    assert all(float(line.split()[-2]) > 0 for line in lines[1:6])


def test_another_way_goes_through_the_stage(deployed, tmp_path):  # noqa: F811
    project = Project(tmp_path / "other")
    shutil.copytree(deployed.folder, project.folder, dirs_exist_ok=True)
    models = project.folder / "models"
    for name in ("baseline", "student"):
        files.write_json(models / name / "seeds.json", {"best": 1, "val": {"1": {}}})
    done = project.set("quantize.mode", "weights").run("quantize")
    assert not done.returncode, done.stderr
    card = onnx_model.open_model(models / "student.int8.onnx", 1).card
    assert card.form == "int8 weights" and card.role == "student"
    assert (models / "student.int8.onnx").stat().st_size < 0.5 * (models / "student.onnx").stat().st_size
    assert files.read_json(project.folder / "metrics/quantisation.json")["form"] == "int8 weights"


def test_cards_name_what_the_file_was_made_from(deployed):  # noqa: F811
    models = deployed.folder / "models"
    cards = {name: onnx_model.open_model(models / f"{name}.onnx", 1).card
             for name in ("teacher", "baseline", "student", "student.int8")}
    assert [card.role for card in cards.values()] == ["teacher", "baseline", "student", "student"]
    weights = hashlib.sha256((models / "student/seed-1.safetensors").read_bytes()).hexdigest()
    assert cards["student"].weights_sha256 == cards["student.int8"].weights_sha256 == weights
    assert cards["student"].settings_sha256 != cards["student.int8"].settings_sha256
    assert cards["student"].colours == ()
