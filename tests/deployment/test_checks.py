"""A deployed file that is not what it claims to be stops the pipeline, whatever is wrong with it, in one line."""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from conftest import Project
from onnx import helper, numpy_helper
from PIL import Image
from sources import pack

from stages import clean, fetch, quantize, scan, split, verify
from stages.core import files, workdir
from stages.core.errors import UserError
from stages.data import parallel, prepared
from stages.deployment import checks, int8, onnx_model, predict_check
from stages.models import factory

RESNET = {"model": "small_resnet", "options": {"depth": 8, "width": 8, "stride": 2}, "weights": "none"}
UNET = {"model": "unet", "options": {"depth": 1, "width": 4, "upsampling": "bilinear"}, "weights": "none"}
MASKS = {"classes": {"ground": 0, "house": 1, "lake": 2}, "ignored": [], "unknown": "stop",
         "other_size": "stop", "same_iou": 0.9}
VERIFY = {"images": 8, "tolerance": 1e-3, "least_agreement": 60.0, "allow_overflow": False}
MODELS, VERIFIED = Path("models"), Path("metrics/verify.json")


def photograph(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Colours that run into one another, with noise: no resizing leaves it as it is."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, height))
    return np.clip(np.asarray(coarse) + chance.normal(0, 20, (height, width, 3)), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def trained(section: dict, classes: int, seed: int, path: Path) -> None:
    """As after some training: BatchNorm's statistics are not the identity, and no class is named everywhere."""
    net = factory.build(factory.NetworkParams(**section), classes, (32, 32), seed)
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5), torch.nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2), module.running_var.uniform_(0.5, 1.5)
    factory.freeze(net)
    pictures = torch.from_numpy(np.stack([photograph(number, 32, 32) for number in range(8)])).permute(0, 3, 1, 2)
    *_, bias = net.parameters()
    bias -= net(pictures).transpose(0, 1).flatten(1).mean(1)
    factory.save(net, path)


def made(project: Project, section: dict, classes: int, seeds: int) -> Project:
    """Through `quantize`, with networks that weren't trained. The student has so many seeds; its last is the best."""
    project.set("teacher", section | {"mode": "scratch"}).set("student", section).set("verify", VERIFY)
    project.set("quantize.calibration_images", 16).set("quantize.max_drop", 100.0)
    run_inside(project, fetch, scan, clean, split)
    models = project.folder / MODELS
    trained(section, classes, 0, models / "teacher.safetensors")
    for name, count in (("baseline", 1), ("student", seeds)):
        for seed in range(count):
            trained(section, classes, 10 * count + seed, models / name / f"seed-{seed}.safetensors")
        files.write_json(models / name / "seeds.json", {
            "best": seed, "val": {str(at): dict.fromkeys(("accuracy", "miou"), 50.0 + at) for at in range(count)}})
    (models / "seeds").mkdir()
    (models / "seeds/student-7.onnx").write_text("of a seed that has left params.yaml")
    run_inside(project, quantize)
    return project


def run_inside(project: Project, *stages: ModuleType) -> None:
    """In this process, which saves the start of others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        patch.setattr(sys, "argv", ["stage"])
        patch.setattr(parallel, "WORKERS", 1)
        for stage in stages:
            stage.main()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Project:
    """Classification: photographs of several formats and sizes, of two folders that share names, in three classes;
    the networks take oblong images.
    """
    project = Project(tmp_path_factory.mktemp("zoo"))
    members = {f"{split}/{name}/{number} ü.{format}": encoded(photograph(100 * place + number, 40 + number), format)
             for split, count in (("train", 8), ("test", 4)) for place, name in enumerate(("ape", "bee", "dög"))
             for number in range(count) for format in ["jpeg" if number % 2 else "png"]}
    pack(project.source / "zoo.zip", members)
    project.set("data.source", "zoo.zip").set("split.image_size", [24, 40]).set("split.resize", "crop")
    return made(project, RESNET, 3, seeds=2)


@pytest.fixture(scope="module")
def town(tmp_path_factory) -> Project:
    """Segmentation: four tiles a picture, which overlap, at half their size."""
    project = Project(tmp_path_factory.mktemp("town"), "digit_scenes")
    members = {}
    for part, count in (("train", 6), ("val", 2), ("test", 4)):
        for number in range(count):
            members[f"{part}/images/{number}.png"] = encoded(photograph(number + 10 * count, 81, 112), "png")
            mask = np.random.default_rng(number).integers(0, 3, (9, 14), np.uint8).repeat(9, 0).repeat(8, 1)
            members[f"{part}/masks/{number}.png"] = encoded(mask, "png")
    pack(project.source / "town.zip", members)
    for key, value in {"data.source": "town.zip", "data.masks": MASKS, "split.image_size": 32, "split.resize": "tiles",
                       "split.scale": 0.5, "split.overlap": 8}.items():
        project.set(key, value)
    return made(project, UNET, 3, seeds=1)


@contextmanager
def inside(project: Project, folder: Path) -> Iterator[Path]:
    """A copy of the project, to be spoilt; its data are the project's own."""
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("data", ".work"))
    (folder / "data").symlink_to(project.folder / "data")
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


@pytest.fixture
def spoilt(zoo, tmp_path) -> Iterator[Path]:
    with inside(zoo, tmp_path / "zoo") as folder:
        yield folder


def fault() -> str:
    """What the stage ends with. It leaves no verify.json, not even an older one, and nothing of its work."""
    files.write_json(VERIFIED, {"passed": "once"})
    with pytest.raises(UserError) as caught:
        verify.main()
    assert not VERIFIED.exists() and not (workdir.ROOT / "verify").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def outcome(name: str, check: str, **settings: float) -> checks.CheckResult:
    """Of one check alone, as the stage makes it."""
    subject = checks.ModelUnderTest(name, checks.Sample(8), checks.VerifyParams(**VERIFY | settings))
    return verify.run_check(verify.checks_of(subject, Path("scratch"))[check], subject)


def failure(name: str, check: str) -> str:
    result = outcome(name, check)
    assert not result.passed and not result.figures
    return result.message


def change(name: str, edit: Callable[[onnx.ModelProto], object]) -> None:
    model = onnx.load(onnx_model.DEPLOYED[name])
    edit(model)
    onnx.save(model, onnx_model.DEPLOYED[name])


def shifted(model: onnx.ModelProto, by: float) -> None:
    """Adds `by` times the largest weight of the first kernel to its first."""
    tensor = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += by * np.abs(values).max()
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def noted(model: onnx.ModelProto, /, **entries: str) -> None:
    """Entries of the card, others than they are."""
    for entry in model.metadata_props:
        entry.value = entries.pop(entry.key, entry.value)
    assert not entries


# ── As a user runs it ──

@pytest.mark.slow
@pytest.mark.parametrize("name", ["zoo", "town"])
def test_what_quantize_makes_is_verified(name, request):
    project = request.getfixturevalue(name)
    done, own = project.run("verify"), {"int8": ["overflow", "agreement", "predict"], "teacher_int8": ["overflow"]}
    assert not done.returncode, done.stderr
    assert [line.split()[:3] for line in done.stderr.splitlines()] == [
        [file, check, "passed"] for file in onnx_model.DEPLOYED
        for check in ("onnx", "strings", "card", "batches", *own.get(file, ["torch"]))]
    content = (project.folder / VERIFIED).read_bytes()
    found = json.loads(content)
    assert found.pop("passed") is True
    assert all(check["passed"] is True for file in found.values() for check in file.values())
    assert list(found) == list(onnx_model.DEPLOYED)
    assert all(0 < found[file]["torch"]["error_below"] <= 1e-4 for file in ("teacher", "baseline", "student"))
    pictures = {"zoo": 8, "town": 2}[name]  # the town's of four tiles each
    assert found["int8"]["predict"]["images"] == pictures and found["student"]["torch"]["images"] == 8
    assert 60 <= found["int8"]["agreement"]["percent"] <= 100
    if name == "zoo":
        project.run("verify")
        assert (project.folder / VERIFIED).read_bytes() == content


@pytest.mark.slow
def test_a_failure_ends_with_a_line_and_status_1(zoo, tmp_path):
    with inside(zoo, tmp_path / "zoo") as folder:
        (MODELS / "baseline.onnx").write_bytes(b"no model")
        change("int8", lambda model: noted(model, role="teacher"))
        copy = Project.__new__(Project)
        copy.folder = folder
        done = copy.run("verify")
    *lines, last = done.stderr.splitlines()
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert last.startswith("verify: models/baseline.onnx: onnx: ")
    assert last.endswith("(1 more failed, see above); make it again with dvc repro -sf quantize")
    assert [line.split()[:2] for line in lines if "FAILED" in line] == [["baseline", "onnx"], ["int8", "card"]]
    assert sum(line.startswith("student") and "passed" in line for line in lines) == 5  # the others are tried


@pytest.mark.parametrize("key, value, said", [
    ("verify.images", 0, "verify.images is 0"), ("verify.tolerance", 0.0, "verify.tolerance is 0.0"),
    ("verify.least_agreement", 101.0, "verify.least_agreement is 101.0"), ("verify.pictures", 3, "is unknown"),
])
def test_params_are_checked(project, key, value, said):
    done = project.set("verify", VERIFY).set(key, value).run("verify")
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1


# ── What quantize leaves ──

def test_the_seed_best_on_val_is_deployed_and_all_are_kept(zoo, monkeypatch):
    monkeypatch.chdir(zoo.folder)
    assert sorted(path.name for path in onnx_model.SEEDS.iterdir()) == [
        "baseline-0.onnx", "int8-0.onnx", "int8-1.onnx", "student-0.onnx", "student-1.onnx"]
    for name, seed in (("baseline", 0), ("student", 1), ("int8", 1)):
        assert onnx_model.DEPLOYED[name].read_bytes() == (onnx_model.SEEDS / f"{name}-{seed}.onnx").read_bytes()
    assert (MODELS / "classes.txt").read_text(encoding="utf-8") == "ape\nbee\ndög\n"


def test_sizes_and_cost_on_val(zoo, monkeypatch):
    monkeypatch.chdir(zoo.folder)
    size, cost = files.read_json(quantize.SIZE), files.read_json(quantize.COST)
    bytes_of = {name: path.stat().st_size for name, path in onnx_model.DEPLOYED.items()}
    count = factory.count(factory.build(factory.NetworkParams(**RESNET), 3, (32, 32), 0))
    assert {name: size[name] for name in onnx_model.DEPLOYED} == {
        name: {"parameters_m": round(count / 1e6, 4), "size_mb": round(number / 1e6, 4)}
        for name, number in bytes_of.items()}
    assert size["ratio"] == {"parameters": 1.0, "size": round(bytes_of["teacher"] / bytes_of["int8"], 2)}
    scorer = quantize.quantize.ValScorer("classification")
    val = {name: scorer(onnx.load(onnx_model.DEPLOYED[name])) for name in onnx_model.DEPLOYED}
    assert cost == {"form": "int8", "weight_type": "int8", "oldest_onnxruntime": "1.8", "saturates": False,
                    "float_layers": [], "shipped": "student", "ship": "best",
                    "mean_on_val": {"student": 50.5, "baseline": 50.0}, "val": {
        name: round(val[name], 4) for name in ("student", "int8")} | {
            "drop": round(val["student"] - val["int8"], 4), "max_drop": 100.0},
        "teacher": {"form": "int8", "weight_type": "int8", "int8": round(val["teacher_int8"], 4),
                    "drop": round(val["teacher"] - val["teacher_int8"], 4)}, "val_images": 3}


def test_ratios_are_the_teachers_numbers_over_the_small_students(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MODELS.mkdir()
    for path, size in zip(onnx_model.DEPLOYED.values(), (3_000_000, 500_000, 400_000, 120_000, 800_000), strict=True):
        path.write_bytes(bytes(size))
    table = quantize.sizes({"teacher": 700_000, "baseline": 90_000, "student": 80_000, "int8": 70_000,
                            "teacher_int8": 700_000})
    assert table["ratio"] == {"parameters": 10.0, "size": 25.0}
    assert table["teacher"] == {"parameters_m": 0.7, "size_mb": 3.0} and table["int8"]["size_mb"] == 0.12


def test_cards_tell_how_a_file_was_made(zoo, monkeypatch):
    """settings_sha256: of the card's common fields and the network's section; of the small file, of that hash, the
    section quantize and the layers in float.
    """
    monkeypatch.chdir(zoo.folder)

    def sha256(*parts: object) -> str:
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    cards = {name: onnx_model.open_model(path, 1).card for name, path in onnx_model.DEPLOYED.items()}
    common, settings = [["ape", "bee", "dög"], [24, 40], "crop", 1.0, 0, "classification"], zoo.params()
    assert cards["teacher"].settings_sha256 == sha256(common, settings["teacher"])
    assert cards["student"].settings_sha256 == cards["baseline"].settings_sha256 == sha256(common, settings["student"])
    assert cards["int8"].settings_sha256 == sha256(cards["student"].settings_sha256, settings["quantize"], [])
    assert cards["teacher_int8"].settings_sha256 == sha256(cards["teacher"].settings_sha256, settings["quantize"] | {
        "remedy": "forms"}, [])
    assert [cards[name].form for name in cards] == ["float", "float", "float", "int8", "int8"]
    assert [cards[name].model for name in cards] == ["small_resnet"] * 5
    assert all(card.mean == (128.0,) * 3 and card.std == (64.0,) * 3 and card.centred() for card in cards.values())


@pytest.mark.parametrize("val, warns", [(99.0, False), (98.9, True)])
def test_a_drop_beyond_the_limit_is_said(zoo, tmp_path, monkeypatch, capsys, val, warns):
    """Layers that the best seed leaves in float are left so in all seeds."""
    with inside(zoo, tmp_path / "zoo"):
        settings = quantize.params.load("quantize", quantize.QuantizeParams).model_copy(update={"max_drop": 1.0})
        limits, excluded = [], []

        def candidates(ready, scorer, least):
            limits.append(least)
            layer = ready.calibrated.layers()[1]
            return [quantize.quantize.Candidate(settings, [layer], ready.quantised([layer]), val)]

        def quantised(self, per_channel, reduce_range, excluded_nodes=(), original=int8.Calibrated.quantised):
            excluded.append(list(excluded_nodes))
            return original(self, per_channel, reduce_range, excluded_nodes)

        monkeypatch.setattr(quantize.quantize, "candidates", candidates)
        monkeypatch.setattr(quantize.quantize.ValScorer, "__call__", lambda self, model: 100.0)
        monkeypatch.setattr(int8.Calibrated, "quantised", quantised)
        cost = quantize.make_small(settings, "classification")
    images = len(np.load(zoo.folder / "data/prepared/val/targets.npy"))  # so few that two are more than a point
    assert limits == [pytest.approx(100 - 200 / images)] * 2
    assert len(excluded) == 3 and excluded[1] == excluded[2] == cost["float_layers"] != []
    assert cost["val"] == {"student": 100.0, "int8": val, "drop": pytest.approx(100 - val), "max_drop": 1.0}
    assert ("points behind" in capsys.readouterr().err) == warns


def test_the_teacher_ships_where_it_is_asked_for(zoo, tmp_path):
    """One file, made of the teacher that is deployed, and a card that says so."""
    with inside(zoo, tmp_path / "zoo"):
        ranking = {"best": 3, "val": {"1": {"accuracy": 40.0}, "3": {"accuracy": 60.0}}}
        files.write_json(MODELS / "teacher.json", ranking)
        settings = quantize.params.load("quantize", quantize.QuantizeParams).model_copy(update={"ship": "teacher"})
        shutil.rmtree(MODELS / "seeds")
        cost = quantize.make_small(settings, "classification")
        made = sorted(path.name for path in (MODELS / "seeds").iterdir())
        card = onnx_model.open_model(onnx_model.DEPLOYED["int8"], 1).card
        content = {name: onnx_model.DEPLOYED[name].read_bytes() for name in onnx_model.SMALL}
    assert made == ["int8-3.onnx"] and content["int8"] == content["teacher_int8"]
    assert cost["shipped"] == card.role == "teacher" and cost["val"]["int8"] == cost["teacher"]["int8"]


# ── What the files are tried on ──

@pytest.mark.parametrize("count, rows", [(1, [0]), (2, [0, 11]), (3, [0, 6, 11]), (12, range(12)), (10**6, range(12))])
def test_pictures_are_spread_evenly(zoo, monkeypatch, count, rows):
    monkeypatch.chdir(zoo.folder)
    assert checks.Sample(count).rows == list(rows)


@pytest.fixture
def tiles(tmp_path, monkeypatch) -> None:
    """Six pictures of four tiles each, and one of train before them."""
    monkeypatch.chdir(tmp_path)
    rows = [{"split": "train", "row": 0, "windows": 3, "path": "train.png"}]
    rows += [{"split": "test", "row": 4 * number, "windows": 4, "path": f"{number}.png"} for number in range(6)]
    files.write_csv(checks.INDEX, ("split", "row", "windows", "path"), rows)
    (prepared.FOLDER / "test").mkdir()
    for name, shape in (("images", (24, 8, 8, 3)), ("targets", (24, 8, 8)), ("windows", (24, 5))):
        np.save(prepared.FOLDER / "test" / f"{name}.npy", np.arange(np.prod(shape)).reshape(shape).astype(np.uint8))


@pytest.mark.parametrize("count, pictures", [(1, [0]), (7, [0, 5]), (8, [0, 5]), (12, [0, 2, 5]), (99, range(6))])
def test_about_as_many_tiles_as_asked_for(tiles, count, pictures):
    sample = checks.Sample(count)
    assert sample.pictures == [(f"{number}.png", range(4 * number, 4 * number + 4)) for number in pictures]
    assert sample.rows == [row for number in pictures for row in range(4 * number, 4 * number + 4)]


def test_images_come_in_batches(tiles):
    sample = checks.Sample(24)
    batches = list(sample.batches(sample.rows))
    assert [len(batch) for batch in batches] == [checks.BATCH, 24 - checks.BATCH] and checks.BATCH == 16
    assert np.array_equal(np.concatenate(batches), sample.images) and batches[0].flags.c_contiguous
    assert sample.shape == (8, 8)


@pytest.mark.slow
def test_a_picture_comes_with_all_its_tiles(town, monkeypatch):
    monkeypatch.chdir(town.folder)
    assert [picture.rows for picture in checks.Sample(8).pictures] == [range(4), range(12, 16)]
    assert len(checks.Sample(1).rows) == 4 and len(checks.Sample(16).pictures) == 4
    assert [len(images) for images in checks.Sample(16).batches([*range(16), 3])] == [checks.BATCH, 1] == [16, 1]


# ── Each check, with its fault planted ──

@pytest.mark.parametrize("damage, said", [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_bytes(b""), ""),
    (lambda path: path.write_bytes(b"\x08\x07"), ""),
    (lambda path: path.write_bytes(path.read_bytes()[:path.stat().st_size // 2]), ""),
    (lambda _: change("teacher", lambda model: model.graph.node[-1].input.append("nowhere")), "nowhere"),
    (lambda _: change("teacher", lambda model: setattr(model.graph.node[0], "op_type", "Turn")), "Turn"),
    (lambda _: change("teacher", lambda model: setattr(model.graph.output[0].type.tensor_type.shape.dim[1], "dim_value",
                                                       7)), "(7)"),
])
def test_a_broken_file(spoilt, damage, said):
    damage(onnx_model.DEPLOYED["teacher"])
    assert said in failure("teacher", "onnx")


def test_a_broken_student_is_the_fault_that_is_named(spoilt):
    """The int8 one can't be compared with it, and is not what is to be mended."""
    onnx_model.DEPLOYED["student"].write_bytes(b"no model")
    assert fault().startswith("models/student.onnx: onnx: ")


@pytest.mark.parametrize("edit, said", [
    (lambda model: setattr(model.graph.node[0], "doc_string", f"{Path.home()}/net/layer.py"), "a path of this machine"),
    (lambda model: setattr(model.graph.node[0], "name", f"at {Path.cwd()}"), "a path of this machine"),
    (lambda model: model.graph.node[1].metadata_props.add(key="made", value="on 2024-05-17"), "a date, 2024-05-17"),
    (lambda model: setattr(model, "producer_version", "1.0 of 2024/05/17"), "a date, 2024/05/17"),
    (lambda model: setattr(model.graph.initializer[0], "doc_string", "at 09:41:00"), "a date, 09:41:00"),
    (lambda model: noted(model, model="2024-05-17"), "a date, 2024-05-17"),
])
def test_a_path_or_a_date_in_it(spoilt, edit, said):
    change("baseline", edit)
    assert f"holds {said}" in failure("baseline", "strings")


@pytest.mark.parametrize("folder", [Path.cwd, lambda: checks.ROOT, Path.home, lambda: Path(sys.prefix),
                                    lambda: Path("/scratch")])
def test_each_of_this_machines_folders(spoilt, monkeypatch, folder):
    """At the end of a string as in a longer path; but not where a longer name only starts like it."""
    monkeypatch.setattr(checks.tempfile, "gettempdir", lambda: "/scratch")
    monkeypatch.setattr(sys, "prefix", "/elsewhere/venv")  # the real one may lie inside the project
    change("baseline", lambda model: setattr(model.graph.node[0], "name", f"{folder()}-2/a"))
    assert outcome("baseline", "strings").passed
    for text in (f"at {folder()}", f"{folder()}/a"):
        change("baseline", lambda model, text=text: setattr(model.graph.node[0], "name", text))
        assert f"a path of this machine, {folder()}, in " in failure("baseline", "strings")


def test_all_strings_are_read_but_no_numbers():
    tensor = numpy_helper.from_array(np.frombuffer(b"2024-05-17 at 09:41", np.uint8).copy(), "weights")
    node = helper.make_node("Upsample", ["x"], ["y"], mode="linear", names=["a", "b"], values=tensor)
    assert {"Upsample", "x", "y", "mode", "linear", "names", "a", "b", "values", "weights"} == set(
        checks._strings(node))


def test_names_of_classes_may_be_dates_and_paths(spoilt):
    change("teacher", lambda model: noted(model, classes=json.dumps(["2024-05-17", f"{Path.home()}/bee", "dög"])))
    assert outcome("teacher", "strings").passed


@pytest.mark.parametrize("name, entry, value", [
    ("teacher", "classes", '["ape", "bee", "dog"]'), ("baseline", "classes", '["bee", "ape", "dög"]'),
    ("student", "image_size", "64"), ("student", "resize", "squash"), ("student", "scale", "0.5"),
    ("int8", "overlap", "4"), ("teacher", "task", "segmentation"), ("baseline", "role", "student"),
    ("teacher", "weights_sha256", 64 * "0"), ("student", "form", "int8"), ("int8", "form", "float"),
    ("int8", "settings_sha256", "none"), ("int8", "settings_sha256", 65 * "0"),
    ("int8", "colours", "[[0, 0, 0], [1, 1, 1], [2, 2, 2]]"),
    ("teacher", "mean", "[128.0]"), ("teacher", "std", "[64.0, 64.0]"),
    ("int8", "saturates", "true"), ("baseline", "oldest_onnxruntime", "1.7"),
])
def test_a_card_that_lies(spoilt, name, entry, value):
    change(name, lambda model: noted(model, **{entry: value}))
    assert entry in failure(name, "card")


def test_a_card_that_lacks_a_field(spoilt):
    change("student", lambda model: model.metadata_props.pop(0))
    assert "models/student.onnx doesn't describe itself ('classes')" in failure("student", "card")


@pytest.mark.slow
def test_a_town_needs_colours(town, tmp_path):
    with inside(town, tmp_path / "town"):
        change("int8", lambda model: noted(model, colours="[]"))
        assert "0 entries in colours, and should have 3" in failure("int8", "card")


def test_another_list_of_classes_beside_it(spoilt):
    (MODELS / "classes.txt").write_text("ape\nbee\ncat\n", encoding="utf-8")
    assert "models/classes.txt names other classes" in failure("int8", "card")


def test_a_seed_that_is_not_the_best(spoilt):
    shutil.copyfile(onnx_model.SEEDS / "student-0.onnx", onnx_model.DEPLOYED["student"])
    assert fault().startswith("models/student.onnx: card: its card says weights_sha256 ")


def test_networks_that_were_trained_again(spoilt):
    """Without quantize having run since."""
    trained(RESNET, 3, 9, MODELS / "teacher.safetensors")
    assert "weights_sha256" in failure("teacher", "card")
    (MODELS / "baseline/seeds.json").unlink()
    assert "models/baseline/seeds.json is missing or broken; run dvc repro" in failure("baseline", "card")


def test_a_fixed_batch_dimension(spoilt):
    def fix(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1

    change("teacher", fix)
    assert "models/teacher.onnx: batches: " in (said := fault()) and "Got: 32 Expected: 1" in said


@pytest.mark.parametrize("nodes, said", [
    ([helper.make_node("ReduceMean", ["own"], ["average"], axes=[0]),
      helper.make_node("Sub", ["own", "average"], ["logits"])],
     "an image's logits differ by"),
    ([helper.make_node("Neg", ["own"], ["less"]), helper.make_node("Concat", ["own", "less"], ["both"], axis=1),
      helper.make_node("ReduceMin", ["both"], ["low"], axes=[1]), helper.make_node("Sqrt", ["low"], ["nan"]),
      helper.make_node("Add", ["own", "nan"], ["logits"])], "not all finite"),
    ([helper.make_node("Concat", ["own", "own"], ["logits"], axis=1)], "(32, 6), and should get float32 (32, 3)"),
])
def test_answers_of_the_wrong_kind(spoilt, nodes, said):
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "own"
        model.graph.node.extend(nodes)
        model.graph.output[0].type.tensor_type.ClearField("shape")

    change("baseline", edit)
    result = outcome("baseline", "batches")
    assert not result.passed and said in result.message


class Stub:
    """A model under test of given answers: float32 logits (N,2) by image and by the number of images in the batch."""

    rows, shape, role = [0, 1, 2], (), "student"

    def __init__(self, logits: Callable[[np.ndarray, int], np.ndarray], form: str, **settings: float):
        self.sample, self.logits, self.form = self, logits, form
        self.settings = checks.VerifyParams(**VERIFY | settings)

    def take(self, rows: list[int]) -> np.ndarray:
        return np.array(rows)

    @property
    def model(self) -> "Stub":
        return self

    card = model

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.logits(images, len(images)).astype(np.float32)


def in_batches(monkeypatch, form: str, logits: Callable[[np.ndarray, int], np.ndarray], **settings: float):
    monkeypatch.setattr(checks.prepared, "classes", lambda: ["cat", "dog"])
    return checks.batch_invariant(Stub(logits, form, **settings))


def test_batches_may_differ_by_the_tolerance(monkeypatch):
    def logits(images: np.ndarray, count: int) -> np.ndarray:
        """±1, so that their deviation is 1; a 64th more where the batch is of two."""
        return np.where(images[:, None] % 2, [1.0, -1.0], [-1.0, 1.0]) + (count == 2) / 64

    assert in_batches(monkeypatch, "float", logits, tolerance=1 / 64).passed
    result = in_batches(monkeypatch, "float", logits, tolerance=1 / 65)
    assert not result.passed and result.figures == {"largest": 32, "error_below": 0.1}
    assert result.message == ("in batches of 1, 2, 32 an image's logits differ by 1.6e-02 of all logits' deviation (at "
                              "most 0.0153846)")


def test_a_small_model_may_differ_where_the_classes_stay(monkeypatch):
    def logits(images: np.ndarray, count: int) -> np.ndarray:
        """Alone, each has logits twice as large; of two, the first has the other class."""
        values = np.where(images[:, None] % 2, [1.0, -1.0], [-1.0, 1.0]) * (2 if count == 1 else 1)
        values[:1] *= -1 if count == 2 else 1
        return values

    result = in_batches(monkeypatch, "int8", logits, least_agreement=50.0)
    assert result.passed and result.figures["same_classes"] == 50 and "but 50.00 % of the classes" in result.message
    assert not in_batches(monkeypatch, "int8", logits, least_agreement=50.1).passed
    assert not in_batches(monkeypatch, "int8 weights", logits, least_agreement=50.0).passed


def test_answers_are_finite_float32(monkeypatch):
    def logits(images: np.ndarray, count: int) -> np.ndarray:
        values = np.stack([images, -images], 1).astype(np.float64)
        values[0, 0] = np.inf if count == 2 else 0
        return values

    assert in_batches(monkeypatch, "float", logits).message == "logits of 2 images are not all finite"
    monkeypatch.setattr(Stub, "__call__", lambda self, images: self.logits(images, len(images)))
    assert in_batches(monkeypatch, "float", logits).message == (
        "32 images get float64 (32, 2), and should get float32 (32, 2)")


@pytest.mark.parametrize("shipped", ["student", "baseline"])
def test_the_weights_are_those_of_the_best_seed(tmp_path, monkeypatch, shipped):
    monkeypatch.chdir(tmp_path)
    for role in ("baseline", "student"):
        files.write_json(MODELS / role / "seeds.json", {"best": 1, "val": {"0": {}, "1": {}, "2": {}}})
    files.write_json(Path("metrics/quantisation.json"), {"shipped": shipped})
    weights = {name: checks.ModelUnderTest(name, None, None).weights for name in onnx_model.DEPLOYED}
    assert weights == {"teacher": MODELS / "teacher.safetensors", "baseline": MODELS / "baseline/seed-1.safetensors",
                       "student": MODELS / "student/seed-1.safetensors",
                       "int8": MODELS / shipped / "seed-1.safetensors",
                       "teacher_int8": MODELS / "teacher.safetensors"}


def test_an_image_is_compared_with_itself_in_the_largest_batch(monkeypatch):
    """Images differ, and the last ones of the largest batch are those of the smaller ones."""
    result = in_batches(monkeypatch, "float", lambda images, count: np.stack([images, -images], 1))
    assert result.passed and result.figures["error_below"] == 0


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("teacher", "baseline")),
                                  "student"])
def test_other_weights_than_the_networks(spoilt, name):
    """The card is right: only torch can tell."""
    change(name, lambda model: shifted(model, 0.05))
    assert fault().startswith(f"{onnx_model.DEPLOYED[name]}: torch: 8 test images; logits differ from torch's by ")


def test_the_error_is_measured_by_the_deviation_of_the_logits(spoilt):
    change("student", lambda model: shifted(model, 0.02))
    sample = checks.Sample(8)
    images = sample.take(sample.rows)
    net = factory.load(factory.NetworkParams(**RESNET), MODELS / "student/seed-1.safetensors", 3)
    right = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    wrong = onnx_model.open_model(onnx_model.DEPLOYED["student"], 1)(images)
    expected = float(np.abs(wrong - right).max() / right.std())
    assert f"logits differ from torch's by {expected:.1e} of" in outcome("student", "torch").message
    assert outcome("student", "torch", tolerance=1.1 * expected).passed
    assert not outcome("student", "torch", tolerance=0.9 * expected).passed


def test_an_error_of_the_tolerance_passes(spoilt, monkeypatch):
    monkeypatch.setattr(checks, "relative_error", lambda error, deviation: 0.25)
    assert outcome("student", "torch", tolerance=0.25).passed and not outcome("student", "torch", tolerance=0.24).passed


def test_figures_without_last_bits():
    powers = [checks.power_of_ten_above(value) for value in (1.4e-6, 9.9e-6, 0.03, 2.0, 0.0)]
    assert powers == [1e-5, 1e-5, 0.1, 10.0, 0.0]
    assert checks.relative_error(1, 4) == 0.25
    assert checks.relative_error(1, 0) == float("inf") and checks.relative_error(0, 0) == 0


def test_an_int8_that_disagrees(spoilt):
    def turn(model: onnx.ModelProto) -> None:
        """The likeliest class becomes the least likely."""
        next(node for node in model.graph.node if "logits" in node.output).output[0] = "own"
        model.graph.node.append(helper.make_node("Neg", ["own"], ["logits"]))

    change("int8", turn)
    said = fault()
    assert said.startswith("models/student.int8.onnx: agreement: 0.00 % of 8 test images ") and "least 60 %" in said
    assert "--explore" in said


def test_agreement_is_counted_image_by_image(spoilt):
    sample = checks.Sample(8)
    answers = [onnx_model.open_model(onnx_model.DEPLOYED[name], 1)(sample.take(sample.rows)).argmax(1)
               for name in ("student", "int8")]
    percent = 100 * float(np.mean(answers[0] == answers[1]))
    assert outcome("int8", "agreement").figures == {"images": 8, "percent": round(percent, 2)}
    assert outcome("int8", "agreement", least_agreement=percent).passed


def test_agreement_of_masks_is_counted_pixel_by_pixel(monkeypatch):
    def logits(images: np.ndarray, count: int) -> np.ndarray:
        """(N,2,2): the second pixel of image 2 is another class in int8."""
        values = np.zeros((count, 2, 2))
        values[:, 0] = [1, 1]
        return values

    def other(images: np.ndarray, count: int) -> np.ndarray:
        values = logits(images, count)
        values[images == 2, 1, 1] = 2
        return values

    monkeypatch.setattr(Stub, "shape", (2,))
    monkeypatch.setattr(Stub, "batches", lambda self, rows: map(np.array, (rows[:2], rows[2:])), raising=False)
    monkeypatch.setattr(checks.onnx_model, "open_model", lambda path, threads: Stub(logits, "float"))
    result = checks.same_as_float(Stub(other, "int8"))
    assert result.figures == {"images": 3, "percent": 83.33}
    assert result.message.startswith("83.33 % of the pixels of 3 test images get the float student's class (at least ")


# ── predict.py, changed ──

def rewritten(monkeypatch, old: str, new: str) -> None:
    text = predict_check.PREDICT.read_text(encoding="utf-8")
    assert old in text
    Path("other").mkdir()
    Path("other/predict.py").write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(predict_check, "PREDICT", Path("other/predict.py"))


@pytest.mark.slow
@pytest.mark.parametrize("old, new, said", [
    ("Resampling.BILINEAR", "Resampling.NEAREST", "probabilities differ by"),
    ("powers / powers.sum()", "powers", "probabilities differ by"),
    ('"class": classes[number]', '"class": classes[::-1][number]', "probabilities differ by"),
    ('"class": classes[number]', '"class": str(number)', "predict.py names other classes"),
    ("np.argsort(-logits", "np.argsort(logits", "predict.py says "),
    ("import argparse", "import argparse, stages", "ended with status 2: predict: No module named 'stages'"),
    ("import argparse", "import sys; sys.exit(3)", "ended with status 3: and said nothing"),
])
def test_a_predictor_that_says_something_else(spoilt, monkeypatch, old, new, said):
    rewritten(monkeypatch, old, new)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert said in failure("int8", "predict")


@pytest.mark.slow
def test_a_predictor_that_resizes_otherwise_stops_the_stage(spoilt, monkeypatch):
    rewritten(monkeypatch, "Resampling.BILINEAR", "Resampling.BOX")
    said = fault()
    assert said.startswith("models/student.int8.onnx: predict: predict.py says ") and "mend predict.py" in said


@pytest.mark.slow
def test_a_predictor_that_draws_other_masks(town, tmp_path, monkeypatch):
    with inside(town, tmp_path / "town"):
        rewritten(monkeypatch, "Resampling.BILINEAR", "Resampling.NEAREST")
        assert "predict.py's mask of 'test/images/0.png' has " in failure("int8", "predict")


def test_a_missing_answer(spoilt, monkeypatch):
    asked = predict_check._run_predict
    monkeypatch.setattr(predict_check, "_run_predict", lambda *given: asked(*given)[1:])
    assert "predict.py gives 7 answers to 8 files" in failure("int8", "predict")


def test_originals_that_the_arrays_were_not_made_of(zoo, spoilt):
    (spoilt / "data").unlink()
    shutil.copytree(zoo.folder / "data", spoilt / "data")
    pack(spoilt / "data/raw.zip", {picture.path: encoded(photograph(number + 999), "png")
                                   for number, picture in enumerate(checks.Sample(8).pictures)})
    assert "probabilities differ by" in failure("int8", "predict")


@pytest.mark.parametrize(("shape", "shape_seen", "resize", "expected_rows", "expected_columns"), [
    ((4, 8), (2, 2), "crop", [0, 0, 1, 1], [-1, -1, 0, 0, 1, 1, -1, -1]),
    ((4, 8), (2, 2), "squash", [0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]),
    ((5, 7), (2, 1), "crop", [0, 0, 1, 1, 1], [-1, -1, 0, 0, 0, -1, -1]),  # 2.5 columns are used: 3
    ((1, 3), (4, 1), "crop", [2], [-1, 0, -1])])  # of a quarter of one: 1
def test_where_a_mask_was_seen(shape, shape_seen, resize, expected_rows, expected_columns):
    rows, columns = predict_check._nearest(shape, shape_seen, resize)
    assert (rows.tolist(), columns.tolist()) == (expected_rows, expected_columns)
