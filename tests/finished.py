"""What the stages really write, for tests of what reads it: two small sets whose classes have names, run to the end.

    finished.copied("classes", tmp_path)     every stage has run there; a test edits a value and looks at what follows
    finished.run("masks")                    the same for masks, to be read only
"""

import fcntl
import functools
import io
import os
import shutil
from pathlib import Path

import numpy as np
from conftest import Project
from PIL import Image
from sources import pack

from stages.core import files

STAGES = ("source", "fetch", "scan", "clean", "split", "train_teacher", "teacher_targets", "train_baseline",
          "distill", "quantize", "verify", "evaluate", "benchmark", "report")

# As people have them, and as HTML, Markdown, a table, or a score's deviation would misread them.
CLASSES = ("<cat> & co", "=a|b", "dög", "gull", "gull_std")
NETWORK = {"model": "small_resnet", "options": {"depth": 8, "width": 8, "stride": 2}, "weights": "none"}
MASKS = {"classes": {"ground": [0, 0, 0], "house": [200, 30, 30], "house_std": [30, 30, 200]},
         "ignored": [[255, 255, 255]], "unknown": "stop", "other_size": "stop", "same_iou": 0.9}
UNET = {"model": "unet", "options": {"depth": 1, "width": 4, "upsampling": "nearest"}, "weights": "none"}
QUICK = {"teacher_training.epochs": 6, "student_training.epochs": 3, "student_training.seeds": [0, 1],
         "teacher_training.batch_size": 8, "student_training.batch_size": 8, "quantize.calibration_images": 16,
         "quantize.ship": "student", "teacher_training.warmup_epochs": 1.0, "student_training.warmup_epochs": 1.0,
         "benchmark.rounds": 1, "benchmark.seconds": 0.01, "benchmark.warmup": 0, "benchmark.sustained_seconds": 0.2}


@functools.cache
def run(kind: str) -> Project:
    """kind: classes | masks. Whichever worker asks first makes it; the others wait for it."""
    folder = Path(os.environ["FINISHED_RUNS"], kind)
    errors = folder.with_suffix(".errors")
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not errors.exists():
            project = {"classes": small_classes, "masks": small_masks}[kind](folder)
            result = project.run(*STAGES)
            errors.write_text(result.stderr if result.returncode else "", encoding="utf-8")
    assert not (text := errors.read_text(encoding="utf-8")), text
    return Project(folder, preset=None)


def copied(kind: str, folder: Path) -> Project:
    """One of a test's own, in a folder that may be there already."""
    shutil.copytree(run(kind).folder, folder, dirs_exist_ok=True)
    return Project(folder, preset=None)


def read(kind: str, path: str) -> dict:
    """A JSON file of the run."""
    return files.read_json(run(kind).folder / path)


def small_classes(folder: Path) -> Project:
    """Noise around a colour a class; a copy, a broken file, two gulls called gull_std, and no `dög` to test on."""
    project, chance = Project(folder), np.random.default_rng(0)
    members = {f"train/{CLASSES[0]}/broken.png": b"no picture"}
    for label, name in enumerate(CLASSES):
        for split, count in {"train": 12, "val": 4, "test": 6}.items():
            for number in range(0 if (name, split) == ("dög", "test") else count):
                shade = 30 * (label - (name == "gull_std" and number < 2))
                pixels = chance.normal(np.array([60 + shade, 128, 180 - shade]), 60, (24, 24, 3))
                members[f"{split}/{name}/{label}{number:02}.png"] = png(pixels.clip(0, 255).astype(np.uint8))
    members["train/gull/copy.png"] = members["train/gull/300.png"]
    pack(project.source / "birds.zip", members)
    for key, value in (QUICK | {
        "data.source": "birds.zip", "data.name": "birds, and | more", "split.image_size": 16,
        "split.labelled_fraction": 0.5, "scan.folds": 2, "student": NETWORK,
        "teacher": NETWORK | {"mode": "scratch", "options": {"depth": 8, "width": 16, "stride": 2}},
        "quantize.max_drop": 100.0, "verify.least_agreement": 0.0,
        "evaluate.resamples": 200, "benchmark.budget": dict.fromkeys(project.params()["benchmark"]["budget"]),
    }).items():
        project.set(key, value)
    return project


def small_masks(folder: Path) -> Project:
    project = Project(folder, "digit_scenes")
    members = {}
    for first, (split, count) in zip((0, 100, 200), {"train": 12, "val": 3, "test": 4}.items(), strict=True):
        for number in range(count):
            members[f"{split}/images/{number}.png"], members[f"{split}/masks/{number}.png"] = scene(first + number)
    pack(project.source / "town.zip", members)
    for key, value in (QUICK | {
        "data.source": "town.zip", "data.masks": MASKS, "split.image_size": 32, "split.resize": "tiles",
        "split.overlap": 8, "teacher": UNET | {"mode": "scratch"}, "student": UNET,
        "student_training.dice_weight": 0.5, "student_training.imbalance": "class_weight",
        "student_training.augment.turns": True, "student_training.augment.crop": "resized", "targets.views": 2,
    }).items():
        project.set(key, value)
    return project


def scene(seed: int, height: int = 40, width: int = 56) -> tuple[bytes, bytes]:
    """Red houses and blue ones on grey ground, and their mask, with a white rim that nobody labelled."""
    chance = np.random.default_rng(seed)
    picture = chance.integers(90, 150, (height, width, 3), np.uint8)
    mask = np.zeros_like(picture)
    for name, colour in (("house", (190, 70, 60)), ("house_std", (60, 80, 180))):
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
