"""Making a model small: which layers stay float, which way is recommended, what the stage writes."""

import functools
import hashlib
from contextlib import nullcontext
from types import SimpleNamespace

import finished
import numpy as np
import onnx
import pytest
import torch
from exported_networks import SIDE, answers, float_model, net
from onnx import TensorProto

from stages.core import files
from stages.data import prepared
from stages.deployment import explore, export, int8, onnx_model, overflow, quantize, weight_only

SETTINGS = quantize.QuantizeParams(mode="static", per_channel=True, weight_type="int8", reduce_range=True,
                                   calibration_images=64, ship="best", max_drop=0.5, remedy="layers")


def plain(count: int) -> np.ndarray:
    """Pictures of one colour each: logits differ more than by noise."""
    colours = np.random.default_rng(3).integers(0, 256, (count, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (count, SIDE, SIDE, 3)).copy()


@functools.cache
def spoilt_model() -> bytes:
    """A network with one layer that int8 can't express: weights a thousand times the others', on a channel that is
    always 0.
    """
    built = net()
    first, second = built.net[1].first, built.net[1].second
    with torch.no_grad():
        first[1].weight[0], first[1].bias[0] = 0.0, -0.01
        second[0].weight[:, 0] = 1000.0
        built.net[-1].bias -= built(torch.from_numpy(plain(64)).permute(0, 3, 1, 2)).mean(0)  # each class occurs
    return export.to_onnx(built, (SIDE, SIDE)).SerializeToString()


@pytest.fixture
def spoilt(tmp_path, monkeypatch) -> onnx.ModelProto:
    """The labels of val are what the float network says; train is the same images."""
    model, images = onnx.load_from_string(spoilt_model()), plain(64)
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        folder = prepared.FOLDER / split
        folder.mkdir(parents=True)
        np.save(folder / "images.npy", images)
        np.save(folder / "targets.npy", answers(model, images).argmax(1))
    return model


def without_remedy(ready: quantize.Quantiser) -> quantize.Quantiser:
    return ready._replace(settings=ready.settings.model_copy(update={"remedy": "none"}))


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_layer_that_int8_spoils_stays_float(spoilt, per_channel):
    scorer, settings = quantize.ValScorer("classification"), SETTINGS.model_copy(
        update={"per_channel": per_channel, "reduce_range": False})
    assert scorer(spoilt) == 100
    with quantize.quantiser(spoilt, settings, True) as ready:
        (usual,) = quantize.candidates(without_remedy(ready), scorer, 99.5)
        assert usual.excluded_nodes == [] and usual.val < 80
        chosen = quantize.best(quantize.candidates(ready, scorer, 90))
        assert len(chosen.excluded_nodes) == 1 and chosen.val >= 90
        layers, small = ready.calibrated.layers(), chosen.model
    assert layers.index(chosen.excluded_nodes[0]) == 2  # the second convolution of the first block
    kept = next(node for node in small.graph.node if node.name == chosen.excluded_nodes[0])
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    assert weights[kept.input[1]].dtype == np.float32 and weights[kept.input[1]].max() > 100


def test_where_no_layers_help_the_best_candidate_is_kept(spoilt):
    scorer = quantize.ValScorer("classification")
    with quantize.quantiser(spoilt, SETTINGS, True) as ready:
        tried = quantize.candidates(ready, scorer, 101)
    assert [len(one.excluded_nodes) for one in tried] == [0, 1, 2, 4]  # of ten layers
    best = quantize.best(tried)
    assert best.val == max(one.val for one in tried) and tried.index(best) == [one.val for one in tried].index(best.val)


def candidate(val: float, *excluded_nodes: str) -> quantize.Candidate:
    return quantize.Candidate(SETTINGS, list(excluded_nodes), None, val)


def test_of_equally_good_candidates_the_one_with_fewest_float_layers():
    tried = [candidate(80), candidate(90, "a", "b"), candidate(90, "a"), candidate(89.9)]
    assert quantize.best(tried) is tried[2]


class Ready:
    """Stands for a Quantiser whose models are the lists of their float layers."""

    def __init__(self, layers: int, mode: str = "static", remedy: str = "layers"):
        self.layers = [f"layer {number}" for number in range(layers)]
        self.settings = SETTINGS.model_copy(update={"mode": mode, "remedy": remedy})
        self.calibrated = self if mode == "static" else None

    def _replace(self, settings: quantize.QuantizeParams) -> "Ready":
        self.settings = settings
        return self

    def quantised(self, excluded_nodes: list[str]) -> list[str]:
        return excluded_nodes


@pytest.mark.parametrize("ready, least, numbers", [
    (Ready(8), 71, [0, 1, 2, 4]),  # half of them at most
    (Ready(7), 71, [0, 1, 2]),
    (Ready(1), 71, [0]),
    (Ready(8), 50, [0]),  # good enough as it is
    (Ready(8), 51, [0, 1]), (Ready(8), 52, [0, 1, 2]),
    (Ready(8, remedy="none"), 71, [0]), (Ready(8, mode="weights"), 71, [0]),
])
def test_more_layers_stay_float_until_the_score_is_reached(ready, least, numbers, monkeypatch):
    monkeypatch.setattr(quantize, "_worst_first", lambda ready, images: ready.layers)
    scorer = lambda small: 50.0 + len(small)  # noqa: E731
    scorer.images = None
    tried = quantize.candidates(ready, scorer, least)
    assert [one.excluded_nodes for one in tried] == [ready.layers[:number] for number in numbers]
    assert [one.val for one in tried] == [50 + number for number in numbers]
    assert all(one.settings is ready.settings for one in tried)


def test_two_images_of_val_are_no_loss_whatever_their_share():
    for images in range(20, 200):
        scorer = SimpleNamespace(targets=np.zeros(images))
        for right in range(images // 2, images + 1):
            least = quantize.ValScorer.least(scorer, 100 * right / images, max_drop=0.0)
            assert 100 * (right - 3) / images < least <= 100 * (right - 2) / images
    masks = SimpleNamespace(targets=np.zeros((20, 8, 8)))
    assert quantize.ValScorer.least(masks, 60.0, max_drop=0.5) == 59.5


@pytest.mark.parametrize("least, count", [(51, 2), (61, 4), (62, 5), (99, 5)])
def test_all_remedies_end_in_ways_that_never_saturate(least, count, monkeypatch):
    """Layers, then 8 bits as uint8, then float arithmetic; the score is 61 and 62 in the last two."""
    monkeypatch.setattr(quantize, "_worst_first", lambda ready, images: ready.layers)
    ready, scores = Ready(4, remedy="all"), {("static", "int8"): 50, ("static", "uint8"): 61, ("weights", "int8"): 62}
    scorer = lambda small: scores[ready.settings.mode, ready.settings.weight_type] + len(small)  # noqa: E731
    scorer.images = None
    tried = quantize.candidates(ready, scorer, least)
    assert [(one.settings.mode, one.settings.weight_type, len(one.excluded_nodes)) for one in tried] == [
        ("static", "int8", 0), ("static", "int8", 1), ("static", "int8", 2), ("static", "uint8", 0),
        ("weights", "int8", 0)][:count]
    assert not any(one.settings.full_range for one in tried)


def test_uint8_weights_are_the_full_range_in_other_words():
    """The same answers, to the bit, where nothing saturates; and nothing can."""
    model, images = float_model(), np.random.default_rng(0).integers(0, 256, (32, SIDE, SIDE, 3), dtype=np.uint8)
    with int8.calibrated(model, images, True) as ready:
        full, unsigned = (quantize.Quantiser(model, SETTINGS.model_copy(update=change), ready).quantised()
                          for change in ({"reduce_range": False}, {"weight_type": "uint8"}))
    onnx.checker.check_model(unsigned, full_check=True)
    assert overflow.largest_pair(full) > overflow.MOST and overflow.largest_pair(unsigned) == 0
    weights = [{tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in one.graph.initializer
                if tensor.data_type in (TensorProto.INT8, TensorProto.UINT8) and len(tensor.dims) > 1}
               for one in (full, unsigned)]
    assert len(weights[0]) == 10 and weights[0].keys() == weights[1].keys()
    assert all(np.array_equal(weights[0][name] + np.int16(128), weights[1][name]) for name in weights[0])
    assert np.abs(answers(unsigned, images) - answers(full, images)).max() < 1e-4


def test_the_val_score_counts_every_image_once(spoilt, monkeypatch):
    """Also where batches don't divide them."""
    targets = np.load(prepared.FOLDER / "val/targets.npy")
    targets[:16] = (targets[:16] + 1) % 4
    np.save(prepared.FOLDER / "val/targets.npy", targets)
    for batch in (5, 64, 100):
        monkeypatch.setattr(quantize, "BATCH", batch)
        assert quantize.ValScorer("classification")(spoilt) == 75


@pytest.mark.parametrize("mode, way", [("weights", weight_only.int8_weights), ("fp16", weight_only.fp16_weights)])
def test_the_other_modes_store_weights_small(mode, way):
    model = float_model()
    with quantize.quantiser(model, SETTINGS.model_copy(update={"mode": mode}), True) as ready:
        assert ready.quantised() == way(model) and ready.calibrated is None


def test_the_layer_whose_float_form_helps_most_is_the_worst(monkeypatch):
    """By the squared error of the logits of 64 images; of equals the first by name."""
    errors = {"a": 0.25, "b": -0.125, "c": 0.125, "d": -0.5, "all": 8.0, "float": 0.0}
    ready, seen = Ready(0), []
    ready.model, ready.layers, ready.quantised = "float", lambda: list("dcba"), lambda names: "".join(names) or "all"
    monkeypatch.setattr(quantize, "_session", lambda model: model)

    def run(model: str, images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return images + errors[model]

    monkeypatch.setattr(quantize.onnx_model, "run", run)
    assert quantize._worst_first(ready, np.arange(127.0)) == ["b", "c", "a", "d"]
    assert all(np.array_equal(images, np.arange(0, 127, 2)) for images in seen) and len(seen) == 5


@pytest.mark.parametrize("total, count, indices", [
    (10, 4, [0, 3, 6, 9]), (10, 1, [0]), (10, 2, [0, 9]), (3, 3, [0, 1, 2]), (3, 9, [0, 1, 2]), (8, 3, [0, 4, 7]),
])
def test_evenly_spaced(total, count, indices):
    assert prepared.evenly_spaced(total, count).tolist() == indices


def test_calibration_sees_evenly_spaced_training_images(spoilt, monkeypatch):
    images = []
    np.save(prepared.FOLDER / "val/images.npy", plain(64)[::-1])
    monkeypatch.setattr(quantize.int8, "calibrated", lambda model, batch, centred: nullcontext(images.append(batch)))
    with quantize.quantiser(spoilt, SETTINGS.model_copy(update={"calibration_images": 3}), True):
        assert np.array_equal(images[0], plain(64)[[0, 32, 63]])


def row(mode: str | None, val: float, size: int, latency: float) -> quantize.Candidate:
    settings = SETTINGS.model_copy(update={"mode": mode}) if mode else None
    return quantize.Candidate(settings, [], None, val, size, latency)


@pytest.mark.parametrize("small, best", [
    ([row("static", 90, 30, 0.4), row("weights", 90, 25, 1.0)], "static"),  # the faster
    ([row("static", 90, 30, 0.98), row("weights", 90, 25, 1.0)], "weights"),  # as fast: the smaller
    ([row("static", 89.8, 25, 1.0), row("weights", 90, 25.5, 1.0)], "weights"),  # as small: the better
    ([row("static", 89.4, 30, 0.4), row("weights", 90, 25, 1.0)], "weights"),  # loses too much
    ([row("static", 90, 30, 1.3), row("fp16", 90, 50, 1.0)], "fp16"),  # slower than what it replaces
    ([row("static", 80, 30, 0.4), row("weights", 90, 25, 1.2)], None),
    ([row("static", 89.5, 30, 1.05), row("weights", 89.4, 25, 1.0)], "static"),  # at both limits
])
def test_what_is_recommended(small, best):
    rows = [row(None, 90, 100, 1.0), *small]
    choice = explore.choose(rows, SETTINGS)
    assert (choice and choice.settings.mode) == best
    table = explore.table(rows, SETTINGS)
    assert len(table.splitlines()) == 3 + len(rows)
    assert (f"quantize.mode to {best}" if best else "the float file is the one to deploy") in table


def test_the_table_of_what_was_tried():
    float_row = row(None, 90, 100_000, 2e-3)
    small = row("static", 88.5, 40_000, 5e-4)._replace(excluded_nodes=["a", "b"])
    rows, settings = [float_row, small, row("weights", 90, 30_000, 2e-3)], SETTINGS.model_copy(update={"max_drop": 2.0})
    assert explore.table(rows, settings).splitlines() == [
        "way                                        val, %    drop  size, MB  latency, ms  speed-up",
        "float                                       90.00    0.00     0.100        2.000     1.00×",
        "int8, a scale a channel, 2 layers float     88.50    1.50     0.040        0.500     4.00×",
        "int8 weights                                90.00    0.00     0.030        2.000     1.00×",
        "",
        "Best here: int8, a scale a channel, 2 layers float. In params.yaml, set quantize.mode to static, "
        "quantize.per_channel to true, quantize.remedy to layers."]
    tensor = small._replace(settings=small.settings.model_copy(update={"per_channel": False}), excluded_nodes=[])
    assert explore.table([float_row, tensor], settings).endswith(
        "Best here: int8, a scale a tensor. In params.yaml, set quantize.mode to static, quantize.per_channel to false."
    )
    assert explore.table([float_row, rows[2]], SETTINGS).endswith(
        "Best here: int8 weights. In params.yaml, set quantize.mode to weights.")


def test_full_range_is_shown_and_never_recommended():
    float_row, seven = row(None, 90, 100_000, 2e-3), row("static", 90, 40_000, 6e-4)
    weights = row("weights", 90, 30_000, 2e-3)
    full, unsigned = (seven._replace(settings=SETTINGS.model_copy(update=change), latency=5e-4)
                      for change in ({"reduce_range": False}, {"weight_type": "uint8"}))
    assert explore.choose([float_row, seven, full], SETTINGS) is seven
    assert explore.choose([float_row, full, weights], SETTINGS) is weights
    lines = explore.table([float_row, full, weights], SETTINGS).splitlines()
    assert lines[2].startswith("int8, a scale a channel, full range     ")
    assert lines[-1] == "Full range is wrong on x86 with AVX2 and without VNNI, so it is never the best."
    assert explore.table([float_row, unsigned], SETTINGS).endswith(
        "Best here: int8, a scale a channel, uint8 weights. In params.yaml, set quantize.mode to static, "
        "quantize.per_channel to true, quantize.weight_type to uint8.")


@pytest.mark.slow
def test_explore_measures_every_way_and_writes_nothing(tmp_path):
    def state() -> dict[str, str]:
        return {path.relative_to(tmp_path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in tmp_path.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    project = finished.copied("classes", tmp_path)
    before = state()
    done = project.run("quantize", arguments=["--explore"])
    assert not done.returncode, done.stderr
    assert state() == before
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[1:8] if "layers float" not in line][:4] == [
        "float", "int8, a scale a channel", "int8, a scale a tensor", "int8, a scale a channel, uint8 weights"]
    rows = [line for line in lines[1:] if line.endswith("×")]
    names = {line[:40].strip() for line in rows}
    assert {"int8, a scale a channel, full range", "int8 weights", "fp16 weights"} <= names
    assert all(float(line.split()[-2]) > 0 for line in rows)


@pytest.mark.slow
def test_another_way_goes_through_the_stage(tmp_path):
    project, models = finished.copied("classes", tmp_path), tmp_path / "models"
    done = project.set("quantize.mode", "weights").run("quantize")
    assert not done.returncode, done.stderr
    assert not done.stdout and all(line.startswith("quantize: models/") for line in done.stderr.splitlines())
    card = onnx_model.open_model(models / "student.int8.onnx", 1).card
    assert card.form == "int8 weights" and card.role == "student"
    assert (models / "student.int8.onnx").stat().st_size < 0.5 * (models / "student.onnx").stat().st_size
    assert files.read_json(project.folder / "metrics/quantisation.json")["form"] == "int8 weights"


@pytest.mark.slow
def test_cards_name_what_the_file_was_made_from():
    models = finished.run("classes").folder / "models"
    cards = {name: onnx_model.open_model(models / f"{name}.onnx", 1).card
             for name in ("teacher", "baseline", "student", "student.int8")}
    assert [card.role for card in cards.values()] == ["teacher", "baseline", "student", "student"]
    best = finished.read("classes", "models/student/seeds.json")["best"]
    weights = hashlib.sha256((models / f"student/seed-{best}.safetensors").read_bytes()).hexdigest()
    assert cards["student"].weights_sha256 == cards["student.int8"].weights_sha256 == weights
    assert cards["student"].settings_sha256 != cards["student.int8"].settings_sha256
    assert cards["student"].colours == ()
