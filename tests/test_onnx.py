"""The files that are deployed: same answers as torch, same bytes everywhere, integers inside; and the stages that make
them, score them, time them and report on them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import ROOT, Project, to_int8
from measurements import NO_FINDINGS
from onnx import numpy_helper

from stages.core import files
from stages.core.device import peak_memory_mb
from stages.core.errors import UserError
from stages.data import prepared
from stages.deployment import export, int8, latency, onnx_model
from stages.models import factory

STUDENT = {"model": "small_resnet", "options": {"depth": 8, "width": 8, "stride": 2}, "weights": "none"}
CLASSES = ("ape", "bee", "cat", "dög")
CARD = onnx_model.Card(CLASSES, 16, "squash", 1.0, 0, "classification", (128.0,) * 3, (64.0,) * 3, "small_resnet",
                       "student", "int8", (), "0" * 64, "1" * 64)


def net(seed: int = 0) -> factory.Normalised:
    """As after some training: BatchNorm's statistics are not the identity, or nothing would be tested."""
    built = factory.build(factory.NetworkParams(**STUDENT), len(CLASSES), (32, 32), seed)
    torch.manual_seed(seed)
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5), torch.nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2), module.running_var.uniform_(0.5, 1.5)
    return factory.freeze(built)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def make(folder: Path) -> None:
    """Both files of one network; also run in another process."""
    model = export.to_onnx(net(), 16)
    quantised = to_int8(model, pictures(40), centred=True, per_channel=True)
    onnx_model.write(model, CARD, folder / "float.onnx")
    onnx_model.write(quantised, CARD, folder / "int8.onnx")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make(folder)
    return folder


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_float_agrees_with_torch_at_every_batch_size(exported, batch):
    images = pictures(batch, seed=1)
    expected = net()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    assert np.abs(onnx_model.open_model(exported / "float.onnx", 1)(images) - expected).max() < 1e-4
    quantised = onnx_model.open_model(exported / "int8.onnx", 1)(images)
    assert quantised.shape == expected.shape and quantised.dtype == np.float32
    assert np.abs(quantised - expected).max() < 0.1 * np.abs(expected).max()


def test_bytes_are_the_same_in_another_process_and_folder(exported, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    code = "import sys, test_onnx, pathlib; test_onnx.make(pathlib.Path())"
    other = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path / "elsewhere", env=other)
    for name in ("float.onnx", "int8.onnx"):
        content = (exported / name).read_bytes()
        assert content == (tmp_path / "elsewhere" / name).read_bytes()
        assert not re.search(rb"(/\w+){2,}\.py|stack_trace|/tmp|/home", content)
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


def test_the_card_survives(exported):
    assert onnx_model.open_model(exported / "int8.onnx", 1).card == CARD
    keys = [found.key for found in onnx.load(exported / "int8.onnx").metadata_props]
    assert keys == sorted(keys)


def test_uint8_goes_straight_into_the_first_convolution_and_changes_nothing(exported, monkeypatch, tmp_path):
    kinds = [node.op_type for node in onnx.load(exported / "int8.onnx").graph.node]
    assert not {"Cast", "Sub", "Div"} & set(kinds)
    monkeypatch.setattr(int8, "_bypass", lambda graph: None)
    long_way = to_int8(onnx.load(exported / "float.onnx"), pictures(40), centred=True, per_channel=True)
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


def test_other_normalisations_keep_their_steps(exported, tmp_path):
    trained = net()
    trained.mean, trained.std = (torch.tensor(values) for values in factory.IMAGENET)
    model = export.to_onnx(trained, 16)
    onnx_model.write(to_int8(model, pictures(40), centred=False, per_channel=False), CARD, tmp_path / "int8.onnx")
    expected = trained(torch.from_numpy(pictures(8)).permute(0, 3, 1, 2)).numpy()
    error = np.abs(onnx_model.open_model(tmp_path / "int8.onnx", 1)(pictures(8)) - expected)
    assert error.max() < 0.15 * np.abs(expected).max()


@pytest.mark.parametrize("damage, said", [
    (lambda path: path.unlink(), "is missing; run dvc repro"),
    (lambda path: path.write_bytes(b""), "no readable ONNX model"),
    (lambda path: path.write_bytes(path.read_bytes()[:2000]), "no readable ONNX model"),
    (lambda path: onnx.save(foreign(path), path), "doesn't describe itself"),
])
def test_a_bad_file_is_one_line(exported, tmp_path, damage, said):
    path = Path(shutil.copy(exported / "float.onnx", tmp_path / "bad.onnx"))
    damage(path)
    with pytest.raises(UserError, match=said):
        onnx_model.open_model(path, 1)
    with pytest.raises(UserError, match=said), latency.Runner(path, 1) as process:
        process.ask(1, 0, 0)


def foreign(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    del model.metadata_props[:]
    return model


def test_a_runner_does_not_inherit_the_memory_of_its_parent(exported):
    with latency.Runner(exported / "int8.onnx", 1) as process:
        peak = process.ask(1, 2, 0)["peak_memory_mb"]
    assert 20 < peak < peak_memory_mb() / 2  # here torch is loaded


@pytest.fixture(scope="module")
def deployed(tmp_path_factory) -> Project:
    """A project whose networks are untrained but whose stages from quantize on have run."""
    project = Project(tmp_path_factory.mktemp("deployed"))
    for section in ("teacher", "student"):
        for key, value in STUDENT.items():
            project.set(f"{section}.{key}", value)
    project.set("quantize.calibration_images", 10**6).set("benchmark.rounds", 2).set("split.image_size", 16)
    project.set("quantize.remedy", "none")
    stored = project.folder / prepared.FOLDER
    for split, count in (("train", 40), ("val", 20), ("test", 30)):
        (stored / split).mkdir(parents=True)
        np.save(stored / split / "images.npy", pictures(count))
        np.save(stored / split / "targets.npy", np.arange(count) % 3)  # of the fourth class there is no image
        np.save(stored / split / "windows.npy", np.array([(row, 0, 0, 16, 16) for row in range(count)], np.int32))
    (stored / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    files.write_csv(stored / "index.csv", ("split", "row", "windows"),
                     [{"split": split, "row": 0, "windows": 1} for split in ("train", "test")])
    factory.save(net(), project.folder / "models/teacher.safetensors")
    curve = {"seed": 0, "epoch": 0, "learning_rate": 0.1, "loss": 1.0, "cross_entropy": 1.0, "train_score": 50.0,
             "val_loss": 1.0, "val_score": 50.0}
    for name in ("teacher", "baseline", "student"):
        files.write_csv(project.folder / f"plots/{name}.csv", list(curve), [curve, curve | {"epoch": 1}])
    for number, name in enumerate(("baseline", "student")):
        (project.folder / "models" / name).mkdir(parents=True)
        for seed in (0, 1):
            factory.save(net(10 * number + seed), project.folder / f"models/{name}/seed-{seed}.safetensors")
        files.write_json(project.folder / f"models/{name}/seeds.json", {"best": 1, "val": {"0": {}, "1": {}}})
    for stage in ("train_teacher", "teacher_targets", "train_baseline", "distill"):
        files.write_json(project.folder / f"metrics/timing/{stage}.json",
                          {"seconds": 2.0, "images_per_s": 10.0, "device": "cpu", "threads": 2})
    files.write_json(project.folder / "metrics/data.json",
                      {"images": {"found": 71, "kept": 70, "dropped": 1}, "findings": NO_FINDINGS | {"unreadable": 1},
                       "acted_on": {"unreadable": 1}, "before": {"undivided": {"a": 36, "b": 35}},
                       "after": {"undivided": {"a": 35, "b": 35}}})
    (project.folder / "data/raw.zip").write_bytes(b"")
    (project.folder / "models/seeds").mkdir()
    (project.folder / "models/seeds/student-7.onnx").write_text("of a seed that is no longer asked for")
    done = project.run("quantize", "evaluate", "benchmark", "report")
    assert not done.returncode, done.stderr
    return project


def test_sizes_are_those_of_the_files(deployed):
    size, models = files.read_json(deployed.folder / "metrics/size.json"), deployed.folder / "models"
    assert size["int8"] == {"parameters_m": round(factory.count(net()) / 1e6, 4),
                            "size_mb": round((models / "student.int8.onnx").stat().st_size / 1e6, 4)}
    assert size["ratio"]["parameters"] == 1.0 and size["ratio"]["size"] > 1.5


def test_the_seed_best_on_val_is_deployed(deployed):
    models = deployed.folder / "models"
    assert sorted(path.name for path in (models / "seeds").iterdir()) == [
        f"{name}-{seed}.onnx" for name in ("baseline", "int8", "student") for seed in (0, 1)]
    for kind, name in (("baseline", "baseline.onnx"), ("student", "student.onnx"), ("int8", "student.int8.onnx")):
        assert (models / name).read_bytes() == (models / f"seeds/{kind}-1.onnx").read_bytes()


def test_quality_of_the_whole_chain(deployed):
    quality = files.read_json(deployed.folder / "metrics/quality.json")
    images = torch.from_numpy(pictures(30)).permute(0, 3, 1, 2)
    right = [100 * float((net(10 + seed)(images).argmax(1) == torch.arange(30) % 3).float().mean()) for seed in (0, 1)]
    assert quality["student"]["accuracy"] == pytest.approx(np.mean(right), abs=1e-3)
    assert quality["student"]["accuracy_std"] == pytest.approx(abs(right[0] - right[1]) / 2**0.5, abs=1e-3)
    assert quality["student"]["deployed"] == pytest.approx(right[1], abs=1e-3)
    assert "accuracy_std" not in quality["teacher"] and quality["test"]["images"] == 30


def test_models_are_compared_with_the_right_ones(deployed):
    quality, images = files.read_json(deployed.folder / "metrics/quality.json"), pictures(30)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    teacher, baseline, student = (net(seed)(batch).argmax(1) for seed in (0, 1, 11))  # seeds 1 are deployed
    found, right = quality["distillation"], torch.arange(30) % 3
    gain = 100 * float((student == right).float().mean() - (baseline == right).float().mean())
    assert abs(gain) > 10 and found["paired_gain"] == pytest.approx(gain, abs=1e-3)
    agreements = [100 * float((one == teacher).float().mean()) for one in (baseline, student)]
    assert agreements[0] != agreements[1] == pytest.approx(found["teacher_agreement"], abs=1e-3)
    for name, first in (("baseline", 0), ("student", 10)):
        hits = [(net(first + seed)(batch).argmax(1) == right)[teacher != right].float().mean() for seed in (0, 1)]
        assert quality[name]["where_teacher_errs"] == pytest.approx(100 * float(sum(hits)) / 2, abs=1e-3)


def test_the_shipped_scores_are_those_of_the_small_file_alone(deployed):
    """Its seeds differ, so that their means wouldn't do."""
    quality = files.read_json(deployed.folder / "metrics/quality.json")
    logits = torch.from_numpy(onnx_model.open_model(deployed.folder / "models/student.int8.onnx", 1)(pictures(30)))
    targets, shipped = torch.arange(30) % 3, quality["shipped"]
    assert shipped["accuracy"] == pytest.approx(100 * float((logits.argmax(1) == targets).float().mean()), abs=1e-4)
    assert shipped["log_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)), abs=1e-4)
    assert shipped["log_loss"] != quality["int8"]["log_loss"] and shipped["accuracy"] == quality["int8"]["deployed"]
    parts = ("_std", "_low", "_high", "deployed")
    assert list(shipped) == [name for name in quality["int8"] if not name.endswith(parts)]


def test_evaluation_is_the_same_twice(deployed):
    made = [deployed.folder / "metrics/quality.json", *(deployed.folder / "plots").rglob("*.*"),
            *(deployed.folder / "data/confused").iterdir()]
    before = [path.read_bytes() for path in made]
    deployed.run("evaluate")
    assert [path.read_bytes() for path in made] == before


def test_report_and_table(deployed):
    page = (deployed.folder / "report/report.md").read_text(encoding="utf-8")
    quality = files.read_json(deployed.folder / "metrics/quality.json")
    assert f"| {quality['student']['accuracy']:.2f} ± {quality['student']['accuracy_std']:.2f} |" in page
    assert "71 images were found and 1 of them left out" in page and "2.00 times with the teacher's answers" in page
    for link in re.findall(r"\]\((.+?)\)", page):
        assert (deployed.folder / "report" / link).exists()
    assert (deployed.folder / "report/index.html").is_file()
    shown = subprocess.run([sys.executable, "-m", "stages.report", "--table"], cwd=deployed.folder, capture_output=True,
                           text=True, env={"PYTHONPATH": str(ROOT)}, check=True).stdout
    assert all(name in shown for name in ("teacher", "baseline", "student", "int8", "report/report.md", "dvc metrics"))


@pytest.mark.parametrize("stage, key, value, said", [
    ("quantize", "quantize.calibration_image", 3, "params.yaml: quantize.calibration_image is unknown"),
    ("quantize", "quantize.calibration_images", 0, "params.yaml: quantize.calibration_images is 0"),
    ("evaluate", "evaluate.ece_bins", "many", "params.yaml: evaluate.ece_bins is 'many'"),
    ("evaluate", "evaluate.resamples", 10, "params.yaml: evaluate.resamples is 10"),
    ("benchmark", "benchmark.threads", 0, "params.yaml: benchmark.threads is 0"),
    ("report", "quantize", {}, "metrics/quality.json is missing or broken; run dvc repro"),
    ("evaluate", "quantize", {}, "models/teacher.onnx is missing; run dvc repro"),
])
def test_faults_are_one_line(project, stage, key, value, said):
    done = project.set(key, value).run(stage)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
