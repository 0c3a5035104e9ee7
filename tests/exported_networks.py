"""Small networks as ONNX files, and a project with such networks in which the stages from quantize on have run."""

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import Project, to_int8
from measurements import NO_FINDINGS, ranking

from stages.core import files
from stages.data import prepared
from stages.deployment import export, onnx_model
from stages.models import factory

STUDENT = {"model": "small_resnet", "options": {"depth": 8, "width": 8, "stride": 2}, "weights": "none"}
CLASSES = ("ape", "bee", "cat", "dög")
SIDE = 16
CARD = onnx_model.Card(CLASSES, SIDE, "squash", 1.0, 0, "classification", (128.0,) * 3, (64.0,) * 3, "small_resnet",
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
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


@functools.cache
def _float_model() -> bytes:
    return export.to_onnx(net(), (SIDE, SIDE)).SerializeToString()


def float_model() -> onnx.ModelProto:
    """net(), exported; a copy of its own for each call."""
    return onnx.load_from_string(_float_model())


def answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    return onnx_model.session(model.SerializeToString(), 1).run(None, {onnx_model.IMAGE: images})[0]


def write_both(folder: Path) -> None:
    """float.onnx and int8.onnx of one network; also run in another process."""
    model = float_model()
    onnx_model.write(to_int8(model, pictures(40), centred=True, per_channel=True), CARD, folder / "int8.onnx")
    onnx_model.write(model, CARD, folder / "float.onnx")


@functools.cache  # a fixture that several modules import is made anew for each of them
def _exported(folder: Path) -> Path:
    folder.mkdir()
    write_both(folder)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """A folder with float.onnx and int8.onnx, to be read only."""
    return _exported(tmp_path_factory.getbasetemp() / "exported")


@pytest.fixture(scope="session")
def deployed(tmp_path_factory) -> Project:
    """A project whose networks are untrained but whose stages from quantize on have run."""
    return _deployed(tmp_path_factory.getbasetemp() / "deployed")


@functools.cache
def _deployed(folder: Path) -> Project:
    project = Project(folder)
    for section in ("teacher", "student"):
        for key, value in STUDENT.items():
            project.set(f"{section}.{key}", value)
    project.set("quantize.calibration_images", 10**6).set("benchmark.rounds", 2).set("split.image_size", SIDE)
    project.set("quantize.remedy", "none").set("benchmark.sustained_seconds", 0.2)
    stored = project.folder / prepared.FOLDER
    for split, count in (("train", 40), ("val", 20), ("test", 30)):
        (stored / split).mkdir(parents=True)
        np.save(stored / split / "images.npy", pictures(count))
        np.save(stored / split / "targets.npy", np.arange(count) % 3)  # of the fourth class there is no image
        np.save(stored / split / "windows.npy", np.array([(row, 0, 0, SIDE, SIDE) for row in range(count)], np.int32))
    (stored / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    files.write_csv(stored / "index.csv", ("split", "row", "windows"),
                    [{"split": split, "row": 0, "windows": 1} for split in ("train", "test")])
    factory.save(net(), project.folder / "models/teacher.safetensors")
    files.write_json(project.folder / "models/teacher.json", ranking(95.0))
    curve = {"seed": 0, "epoch": 0, "learning_rate": 0.1, "loss": 1.0, "cross_entropy": 1.0, "train_score": 50.0,
             "val_loss": 1.0, "val_score": 50.0}
    for name in ("teacher", "baseline", "student"):
        files.write_csv(project.folder / f"plots/{name}.csv", list(curve), [curve, curve | {"epoch": 1}])
    for number, name in enumerate(("baseline", "student")):
        (project.folder / "models" / name).mkdir(parents=True)
        for seed in (0, 1):
            factory.save(net(10 * number + seed), project.folder / f"models/{name}/seed-{seed}.safetensors")
        files.write_json(project.folder / f"models/{name}/seeds.json", ranking(90.0 + number))
    for stage in ("train_teacher", "teacher_targets", "train_baseline", "distill"):
        files.write_json(project.folder / f"metrics/timing/{stage}.json",
                        {"seconds": 2.0, "cpu_seconds": 2.0, "images_per_s": 10.0, "device": "cpu", "threads": 2})
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
