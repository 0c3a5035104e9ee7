"""Masks through the same stages as classes: a small set from its archive to the report, and new modules by name."""

import re
import shutil
from pathlib import Path

import finished
import numpy as np
import pytest
from conftest import ROOT
from finished import MASKS
from sources import done, pack

from stages.core import files
from stages.data.prepared import IGNORED
from stages.deployment import onnx_model

pytestmark = pytest.mark.slow

@pytest.fixture(scope="module")
def town() -> Path:
    """Every stage has run here; to be read only."""
    return finished.run("masks").folder


def test_pictures_are_cut_and_masks_with_them(town):
    folder = town / "data/prepared/train"
    images, targets, places = (np.load(folder / f"{name}.npy") for name in ("images", "targets", "windows"))
    # 40×56 in squares of 32 that share 8: 2 rows, 2 columns.
    assert images.shape == (48, 32, 32, 3) and targets.shape == (48, 32, 32) and places.shape == (48, 5)
    assert targets.dtype == np.int16 and set(np.unique(targets)) == {IGNORED, 0, 1, 2}
    house = images[targets == 1].mean(0)
    assert house[0] > 170 and house[2] < 90
    rows = files.read_csv(town / "data/prepared/index.csv")
    last, first = ((row["split"], row["row"], row["windows"]) for row in rows[11:13])
    assert (last, first) == (("train", "44", "4"), ("val", "0", "4"))


def test_every_number_is_there_and_plausible(town):
    quality = finished.read("masks", "metrics/quality.json")
    assert {key: quality["test"][key] for key in ("images", "seeds", "primary")} == {
        "images": 4, "seeds": 2, "primary": "miou"}
    for name in ("teacher", "baseline", "student", "int8"):
        assert {"miou", "pixel_accuracy", "precision", "recall", "f1", "ece", "log_loss", "iou", "mcc", "brier",
                "miou_low", "miou_high"} <= set(quality[name])
        assert "accuracy" not in quality[name]
        assert {"ground", "house", "house_std"} <= set(quality[name]["iou"])
    assert quality["teacher"]["miou"] > 40  # colours tell the classes apart; six short epochs see that
    assert abs(quality["distillation"]["int8_drop"]) < 5
    timing = finished.read("masks", "metrics/timing/distill.json")
    assert timing["peak_memory_mb"] > 100


def test_pictures_and_page_are_there(town):
    plots = town / "plots/test"
    assert {"pictures.png", "classes.png", "confusion.png"} <= {path.name for path in plots.iterdir()}
    page, iou = (town / "report/report.md").read_text(encoding="utf-8"), finished.read(
        "masks", "metrics/quality.json")["int8"]["iou"]
    assert "mean IoU" in page and "](../plots/test/pictures.png)" in page
    assert ("### IoU of each class, %\n| class | teacher | baseline | student | small student | small teacher |\n"
            "|---|---:|---:|---:|---:|---:|\n| ground |") in page
    # Another class is called as the deviation of `house` would be: that has none.
    assert re.search(rf"\n\| house \|.*\| {iou['house']:.2f} \| [\d.]+ \|\n"
                     rf"\| house\\_std \|.*\| {iou['house_std']:.2f} ± {iou['house_std_std']:.2f} \| [\d.]+ \|\n", page)


def test_the_cache_says_its_size_before_it_is_written_and_keeps_every_stride(tmp_path):
    project = finished.copied("masks", tmp_path)
    kept = np.load(tmp_path / "models/targets.npy", mmap_mode="r")
    assert kept.shape == (2, 48, 3, 16, 16) and kept.dtype == np.float16  # digit_scenes: stride 2
    said = project.run("teacher_targets").stderr
    assert "2 passes over 48 images, 0.1 MB of logits" in said


def test_the_file_says_how_pictures_are_cut(town):
    model = onnx_model.open_model(town / "models/student.int8.onnx", 1)
    assert (model.card.resize, model.card.scale, model.card.overlap, model.card.image_size) == ("tiles", 1.0, 8, 32)
    assert model.card.classes == ("ground", "house", "house_std")
    assert model(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 3, 32, 32)


def test_views_cycled_over_all_epochs_are_online(tmp_path):
    project = finished.copied("masks", tmp_path)

    def students() -> list[bytes]:
        done(project.run("teacher_targets", "distill"))
        return [path.read_bytes() for path in sorted((tmp_path / "models/student").glob("*.safetensors"))]

    project.set("targets.views", 3)
    cached = students()
    project.set("targets.mode", "online")
    assert students() == cached


@pytest.mark.parametrize(("key", "value", "said"), [
    ("targets.mode", "clean", "pixels move with the student's crops; use views or online"),
    ("targets.stride", 17, "targets.stride is 17, so that of logits for 32×32 pixels hardly any would be kept"),
    ("data.masks.classes", {"ground": [0, 0, 0], "house": [200, 30, 30]}, "holds the colour (30, 30, 200)"),
    ("data.masks.classes", MASKS["classes"] | {"road": [9, 9, 9]}, "no training image shows 'road'"),
    ("split.overlap", 32, "it must be smaller than image_size"),
    ("student", {"model": "small_resnet", "options": {"depth": 8, "width": 4, "stride": 2}, "weights": "none"},
     "outputs one per image, but the labels are one per pixel"),
], ids=["clean", "stride", "colour", "class", "overlap", "model"])
def test_what_cannot_be_is_said_in_one_line(tmp_path, key, value, said):
    project = finished.copied("masks", tmp_path).set(key, value)
    result = project.run(*{"targets.mode": ["teacher_targets"], "targets.stride": ["teacher_targets"],
                           "data.masks.classes": ["clean", "split"], "split.overlap": ["split"],
                           "student": ["train_baseline"]}[key])
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert said in result.stderr.splitlines()[-1]


LAYOUT = '''"""x.png and its mask x.mask.png side by side: every third tests, every fourth validates."""

from stages.data.sample import Sample


def samples(names, read):
    pictures = [name for name in names if not name.endswith(".mask.png")]
    for number, name in enumerate(pictures):
        split = "test" if number % 3 == 0 else "val" if number % 4 == 1 else "train"
        yield Sample(name, split, "", name.replace(".png", ".mask.png"))
'''
MODEL = '''"""Two convolutions."""

from torch import nn

from stages.core.params import Section


class Options(Section):
    width: int


def build(options, classes, pretrained):
    return nn.Sequential(nn.Conv2d(3, options.width, 3, padding=1), nn.ReLU(), nn.Conv2d(options.width, classes, 1))
'''


def test_a_new_layout_and_a_new_model_are_one_file_each(tmp_path):
    """As the README tells: nothing else is edited but params.yaml."""
    code = tmp_path / "code"
    shutil.copytree(ROOT / "stages", code / "stages", ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    (code / "stages/data/layouts/side_by_side.py").write_text(LAYOUT)
    (code / "stages/models/zoo/two_convolutions.py").write_text(MODEL)
    project = finished.small_masks(tmp_path / "project")
    members = {}
    for number in range(12):
        members[f"{number:02}.png"], members[f"{number:02}.mask.png"] = finished.scene(number)
    pack(project.source / "town.zip", members)
    project.set("data.layout", "side_by_side").set("student_training.seeds", [0]).set("student_training.epochs", 1)
    project.set("student", {"model": "two_convolutions", "options": {"width": 4}, "weights": "none"})
    done(project.run("fetch", "scan", "clean", "split", "train_baseline", env={"PYTHONPATH": str(code)}))
    assert (project.folder / "models/baseline/seed-0.safetensors").stat().st_size < 2000
    assert len(files.read_csv(project.folder / "plots/baseline.csv")) == 1
