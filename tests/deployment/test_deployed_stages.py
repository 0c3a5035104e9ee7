"""The stages from quantize on: sizes, scores, times and the page of a whole project with untrained networks."""
# ruff: noqa: F401, F811 (fixtures are imported)

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from exported_networks import deployed, net, pictures

from stages.core import files
from stages.deployment import onnx_model
from stages.models import factory

pytestmark = pytest.mark.slow


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
    logits = onnx_model.open_model(deployed.folder / "models/teacher.int8.onnx", 1)(pictures(30))
    assert quality["teacher_int8"]["accuracy"] == quality["teacher_int8"]["deployed"] == pytest.approx(
        100 * float(np.mean(logits.argmax(1) == np.arange(30) % 3)), abs=1e-4)


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
def test_wrong_params_and_missing_files_are_one_line(project, stage, key, value, said):
    done = project.set(key, value).run(stage)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
