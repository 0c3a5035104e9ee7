"""The stages from quantize on: sizes, scores and the page of a run, against its networks as training left them."""

import re

import finished
import numpy as np
import pytest
import torch

from stages.deployment import onnx_model
from stages.models import factory

pytestmark = pytest.mark.slow
ROLES = ("baseline", "student")


@pytest.fixture(scope="module")
def folder():
    """Of a finished run, to be read only."""
    return finished.run("classes").folder


@pytest.fixture(scope="module")
def networks(folder) -> dict[str, list]:
    """Those of each role, by seed, and the seed that is best on val."""
    params = factory.NetworkParams(**finished.NETWORK)
    return {role: [factory.load(params, folder / f"models/{role}/seed-{seed}.safetensors", len(finished.CLASSES))
                   for seed in (0, 1)] for role in ROLES}


def best(role: str) -> int:
    return finished.read("classes", f"models/{role}/seeds.json")["best"]


def test_sizes_are_those_of_the_files(folder, networks):
    size = finished.read("classes", "metrics/size.json")
    assert size["int8"] == {"parameters_m": round(factory.count(networks["student"][0]) / 1e6, 4),
                            "size_mb": round((folder / "models/student.int8.onnx").stat().st_size / 1e6, 4)}
    teacher, small = ((folder / f"models/{name}.onnx").stat().st_size for name in ("teacher", "student.int8"))
    assert size["ratio"]["size"] == pytest.approx(teacher / small, abs=0.006)
    assert 3 < size["ratio"]["parameters"] < 4  # a teacher of twice the width


def test_the_seed_best_on_val_is_deployed(folder):
    models = folder / "models"
    assert sorted(path.name for path in (models / "seeds").iterdir()) == [
        f"{name}-{seed}.onnx" for name in ("baseline", "int8", "student") for seed in (0, 1)]
    for kind, role, name in (("baseline", "baseline", "baseline.onnx"), ("student", "student", "student.onnx"),
                             ("int8", "student", "student.int8.onnx")):
        assert (models / name).read_bytes() == (models / f"seeds/{kind}-{best(role)}.onnx").read_bytes()


def test_quality_of_the_whole_chain(folder, networks):
    quality = finished.read("classes", "metrics/quality.json")
    images, targets = (np.load(folder / f"data/prepared/test/{name}.npy") for name in ("images", "targets"))
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    for role in ROLES:
        right = [100 * np.mean(network(batch).argmax(1).numpy() == targets) for network in networks[role]]
        assert quality[role]["accuracy"] == pytest.approx(np.mean(right), abs=1e-3)
        assert quality[role]["accuracy_std"] == pytest.approx(abs(right[0] - right[1]) / 2**0.5, abs=1e-3)
        assert quality[role]["deployed"] == pytest.approx(right[best(role)], abs=1e-3)
    assert "accuracy_std" not in quality["teacher"] and quality["test"]["images"] == len(images) == 24
    logits = onnx_model.open_model(folder / "models/teacher.int8.onnx", 1)(images)
    assert quality["teacher_int8"]["accuracy"] == quality["teacher_int8"]["deployed"] == pytest.approx(
        100 * np.mean(logits.argmax(1) == targets), abs=1e-4)


def test_the_shipped_scores_are_those_of_the_small_file_alone(folder):
    quality = finished.read("classes", "metrics/quality.json")
    images, targets = (np.load(folder / f"data/prepared/test/{name}.npy") for name in ("images", "targets"))
    logits = torch.from_numpy(onnx_model.open_model(folder / "models/student.int8.onnx", 1)(images))
    loss, shipped = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets).long()), quality["shipped"]
    assert shipped["log_loss"] == pytest.approx(float(loss), abs=1e-4) and (
        shipped["log_loss"] != quality["int8"]["log_loss"] and shipped["accuracy"] == quality["int8"]["deployed"])
    parts = ("_std", "_low", "_high", "deployed")
    assert list(shipped) == [name for name in quality["int8"] if not name.endswith(parts)]


def test_evaluation_is_the_same_twice(tmp_path):
    project = finished.copied("classes", tmp_path)
    made = [tmp_path / "metrics/quality.json", *(tmp_path / "plots").rglob("*.*"),
            *(tmp_path / "data/confused").iterdir()]
    before = [path.read_bytes() for path in made]
    assert not project.run("evaluate").returncode
    assert [path.read_bytes() for path in made] == before


def test_report_and_table(folder):
    page = (folder / "report/report.md").read_text(encoding="utf-8")
    quality, time = (finished.read("classes", f"metrics/{name}.json") for name in ("quality", "timing/distill"))
    assert f"| {quality['student']['accuracy']:.2f} ± {quality['student']['accuracy_std']:.2f} |" in page
    assert "106 images were found and 2 of them left out" in page and f"| distill | {time['seconds']:.1f} |" in page
    links = re.findall(r"\]\((.+?)\)", page)
    assert len(links) == 11 and all((folder / "report" / link).exists() for link in links)
    assert (folder / "report/index.html").is_file()
    shown = finished.run("classes").run("report", arguments=("--table",)).stdout
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
def test_wrong_params_and_missing_files_are_one_line(project, stage, key, value, said):
    done = project.set(key, value).run(stage)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
