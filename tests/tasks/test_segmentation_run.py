"""Masks through the same stages as classes: a small set from its archive to the report, and new modules by name."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Project
from PIL import Image
from sources import pack

from stages.core import files
from stages.data.prepared import IGNORED
from stages.deployment import onnx_model

pytestmark = pytest.mark.slow

SIZES = {"train": 12, "val": 3, "test": 4}
MASKS = {"classes": {"ground": [0, 0, 0], "house": [200, 30, 30], "lake": [30, 30, 200]}, "ignored": [[255, 255, 255]],
         "unknown": "stop", "other_size": "stop", "same_iou": 0.9}
UNET = {"model": "unet", "options": {"depth": 1, "width": 4, "upsampling": "nearest"}, "weights": "none"}


def scene(seed: int, height: int = 40, width: int = 56) -> tuple[bytes, bytes]:
    """Red houses and blue lakes on grey ground, and their mask, with a white rim that nobody labelled."""
    chance = np.random.default_rng(seed)
    picture = chance.integers(90, 150, (height, width, 3), np.uint8)
    mask = np.zeros_like(picture)
    for name, colour in (("house", (190, 70, 60)), ("lake", (60, 80, 180))):
        for _ in range(2):
            top, left = chance.integers(0, height - 14), chance.integers(0, width - 14)
            place = slice(top, top + 14), slice(left, left + 14)
            picture[place] = np.clip(np.array(colour) + chance.integers(-25, 25, (14, 14, 3)), 0, 255)
            mask[place] = MASKS["classes"][name]
    mask[:2] = 255
    return png(picture), png(mask)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pairs() -> dict[str, bytes]:
    members = {}
    for split, count in SIZES.items():
        for number in range(count):
            seed = number + 100 * list(SIZES).index(split)
            members[f"{split}/images/{number}.png"], members[f"{split}/masks/{number}.png"] = scene(seed)
    return members


def small(folder: Path) -> Project:
    project = Project(folder, "digit_scenes")
    pack(project.source / "town.zip", pairs())
    for key, value in {
        "data.source": "town.zip", "data.masks": MASKS, "split.image_size": 32, "split.resize": "tiles",
        "split.overlap": 8, "teacher": UNET | {"mode": "scratch"}, "student": UNET,
        "teacher_training.epochs": 6, "student_training.epochs": 3, "student_training.seeds": [0, 1],
        "teacher_training.batch_size": 8, "student_training.batch_size": 8, "student_training.dice_weight": 0.5,
        "student_training.imbalance": "class_weight", "student_training.augment.turns": True,
        "student_training.augment.crop": "resized", "targets.views": 2, "quantize.calibration_images": 16,
        "benchmark.rounds": 1, "benchmark.seconds": 0.01, "benchmark.warmup": 0,
        "benchmark.sustained_seconds": 0,
    }.items():
        project.set(key, value)
    return project


def done(result) -> None:
    assert not result.returncode, result.stderr


@pytest.fixture(scope="module")
def town(tmp_path_factory) -> Project:
    """Every stage has run."""
    project = small(tmp_path_factory.mktemp("town"))
    done(project.run("fetch", "scan", "clean", "split", "train_teacher", "teacher_targets", "train_baseline", "distill",
                     "quantize", "evaluate", "benchmark", "report"))
    return project


def read(project: Project, path: str):
    return json.loads((project.folder / path).read_text(encoding="utf-8"))


def test_pictures_are_cut_and_masks_with_them(town):
    folder = town.folder / "data/prepared/train"
    images, targets, places = (np.load(folder / f"{name}.npy") for name in ("images", "targets", "windows"))
    # 40×56 in squares of 32 that share 8: 2 rows, 2 columns.
    assert images.shape == (48, 32, 32, 3) and targets.shape == (48, 32, 32) and places.shape == (48, 5)
    assert targets.dtype == np.int16 and set(np.unique(targets)) == {IGNORED, 0, 1, 2}
    house = images[targets == 1].mean(0)
    assert house[0] > 170 and house[2] < 90
    rows = files.read_csv(town.folder / "data/prepared/index.csv")
    last, first = ((row["split"], row["row"], row["windows"]) for row in rows[11:13])
    assert (last, first) == (("train", "44", "4"), ("val", "0", "4"))


def test_every_number_is_there_and_plausible(town):
    quality = read(town, "metrics/quality.json")
    assert {key: quality["test"][key] for key in ("images", "seeds", "primary")} == {
        "images": 4, "seeds": 2, "primary": "miou"}
    for name in ("teacher", "baseline", "student", "int8"):
        assert {"miou", "pixel_accuracy", "precision", "recall", "f1", "ece", "log_loss", "iou", "mcc", "brier",
                "miou_low", "miou_high"} <= set(quality[name])
        assert "accuracy" not in quality[name]
        assert {"ground", "house", "lake"} <= set(quality[name]["iou"])
    assert quality["teacher"]["miou"] > 40  # colours tell the classes apart; six short epochs see that
    assert abs(quality["distillation"]["int8_drop"]) < 5
    timing = read(town, "metrics/timing/distill.json")
    assert timing["peak_memory_mb"] > 100


def test_pictures_and_page_are_there(town):
    plots = town.folder / "plots/test"
    assert {"pictures.png", "classes.png", "confusion.png"} <= {path.name for path in plots.iterdir()}
    page = (town.folder / "report/report.md").read_text(encoding="utf-8")
    assert "mean IoU" in page and "| house |" in page and "pictures.png" in page


def test_the_cache_says_its_size_before_it_is_written_and_keeps_every_stride(town):
    kept = np.load(town.folder / "models/targets.npy", mmap_mode="r")
    assert kept.shape == (2, 48, 3, 16, 16) and kept.dtype == np.float16  # digit_scenes: stride 2
    said = town.run("teacher_targets").stderr
    assert "2 passes over 48 images, 0.1 MB of logits" in said


def test_the_file_says_how_pictures_are_cut(town):
    model = onnx_model.open_model(town.folder / "models/student.int8.onnx", 1)
    assert (model.card.resize, model.card.scale, model.card.overlap, model.card.image_size) == ("tiles", 1.0, 8, 32)
    assert model.card.classes == ("ground", "house", "lake")
    assert model(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 3, 32, 32)


def test_views_cycled_over_all_epochs_are_online(town):
    def students() -> list[bytes]:
        done(town.run("teacher_targets", "distill"))
        return [path.read_bytes() for path in sorted((town.folder / "models/student").glob("*.safetensors"))]

    town.set("targets.views", 3)
    cached = students()
    town.set("targets.mode", "online")
    assert students() == cached
    town.set("targets.mode", "views").set("targets.views", 2)


@pytest.mark.parametrize(("key", "value", "said"), [
    ("targets.mode", "clean", "pixels move with the student's crops; use views or online"),
    ("targets.stride", 17, "targets.stride is 17, so that of logits for 32×32 pixels hardly any would be kept"),
    ("data.masks.classes", {"ground": [0, 0, 0], "house": [200, 30, 30]}, "holds the colour (30, 30, 200)"),
    ("data.masks.classes", MASKS["classes"] | {"road": [9, 9, 9]}, "no training image shows 'road'"),
    ("split.overlap", 32, "it must be smaller than image_size"),
    ("student", {"model": "small_resnet", "options": {"depth": 8, "width": 4, "stride": 2}, "weights": "none"},
     "outputs one per image, but the labels are one per pixel"),
], ids=["clean", "stride", "colour", "class", "overlap", "model"])
def test_what_cannot_be_is_said_in_one_line(town, tmp_path, key, value, said):
    project = small(tmp_path).set(key, value)
    for name in ("data", "models"):
        shutil.copytree(town.folder / name, project.folder / name, dirs_exist_ok=True)
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
    project = small(tmp_path / "project")
    members = {}
    for number in range(12):
        members[f"{number:02}.png"], members[f"{number:02}.mask.png"] = scene(number)
    pack(project.source / "town.zip", members)
    project.set("data.layout", "side_by_side").set("student_training.seeds", [0]).set("student_training.epochs", 1)
    project.set("student", {"model": "two_convolutions", "options": {"width": 4}, "weights": "none"})
    done(project.run("fetch", "scan", "clean", "split", "train_baseline", env={"PYTHONPATH": str(code)}))
    assert (project.folder / "models/baseline/seed-0.safetensors").stat().st_size < 2000
    assert len(files.read_csv(project.folder / "plots/baseline.csv")) == 1
