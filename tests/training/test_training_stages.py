"""The training stages, run on the digits as a user runs them, but small; stopped, killed and run again."""

import copy
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Project
from safetensors import safe_open

from stages.core.files import read_csv, read_json
from stages.data import prepared
from stages.distillation import teacher_logits
from stages.models import factory
from stages.training import batches
from stages.training.linear_probe import LinearProbe
from stages.training.trainer import Trainer

pytestmark = pytest.mark.slow
ONE_THREAD = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SMALL = {"teacher.options": {"depth": 8, "width": 8, "stride": 2},
         "student.options": {"depth": 8, "width": 4, "stride": 2},
         "teacher_training.epochs": 2, "student_training.epochs": 4, "student_training.seeds": [0, 1],
         "student_training.warmup_epochs": 1.0, "teacher_training.warmup_epochs": 1.0}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """fetch … train_baseline, run once; tests copy the folder."""
    project = Project(tmp_path_factory.mktemp("pipeline"))
    for key, value in SMALL.items():
        project.set(key, value)
    project.set("split.labelled_fraction", 0.5)
    done = project.run("fetch", "scan", "clean", "split", "train_teacher", "teacher_targets", "train_baseline")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def run(pipeline, tmp_path):
    """A copy of that folder, in which more can be run."""
    project = Project(tmp_path / "copy")
    shutil.copytree(pipeline.folder, project.folder, dirs_exist_ok=True)
    return project


def bytes_below(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def test_distill_logs_every_part_and_keeps_every_seed(run):
    done = run.run("train_baseline", "distill")
    assert done.returncode == 0, done.stderr
    rows = read_csv(run.folder / "plots/student.csv")
    assert [(row["seed"], row["epoch"]) for row in rows] == [(s, str(e)) for s in "01" for e in range(1, 5)]
    assert all(float(row["cross_entropy"]) > 0 and float(row["kd"]) > 0 for row in rows)
    assert all(float(row["loss"]) == pytest.approx(0.1 * float(row["cross_entropy"]) + 0.9 * float(row["kd"]), rel=1e-4)
               for row in rows)
    assert sorted(path.name for path in (run.folder / "models/student").iterdir()) == [
        "seed-0.safetensors", "seed-1.safetensors", "seeds.json"]
    ranking = read_json(run.folder / "models/student/seeds.json")
    val = ranking["val"]
    assert str(ranking["best"]) == max(val, key=lambda seed: (val[seed]["accuracy"], -val[seed]["loss"]))
    timing = [read_json(run.folder / f"metrics/timing/{stage}.json") for stage in ("train_baseline", "distill")]
    assert all(values["seconds"] > 0 and values["cpu_seconds"] > 0 and values["threads"] >= 1 for values in timing)
    assert not list((run.folder / ".work").glob("*/*"))


def test_no_training_stage_needs_the_test_split(run):
    shutil.rmtree(run.folder / "data/prepared/test")
    done = run.run("train_teacher", "teacher_targets", "train_baseline", "distill")
    assert done.returncode == 0, done.stderr


def test_teacher_and_baseline_never_see_the_unlabelled(run):
    run.set("student_training.seeds", [0])
    assert run.run("train_teacher", "train_baseline").returncode == 0
    before = bytes_below(run.folder / "models/baseline") | bytes_below(run.folder / "plots")
    np.save(run.folder / "data/prepared/unlabelled/images.npy", np.zeros((3, 32, 32, 3), np.uint8))
    assert run.run("train_teacher", "train_baseline").returncode == 0
    assert bytes_below(run.folder / "models/baseline") | bytes_below(run.folder / "plots") == before


def test_views_as_many_as_epochs_equal_online_bit_for_bit(run):
    run.set("targets.views", 4).set("student_training.seeds", [0]).set("distill.unlabelled", False)
    results = []
    for mode in ("views", "online"):
        run.set("targets.mode", mode)
        done = run.run("teacher_targets", "distill")
        assert done.returncode == 0, done.stderr
        results.append(bytes_below(run.folder / "models/student"))
    assert results[0] == results[1]


def test_the_targets_are_raw_logits(run, monkeypatch):
    """They don't sum to one, know no temperature, and the teacher says them again."""
    monkeypatch.chdir(run.folder)
    cached = np.load(teacher_logits.LOGITS).astype(np.float32)
    assert np.abs(cached.sum(2) - 1).mean() > 0.1 and cached.min() < 0 < cached.max()
    run.set("distill.temperature", 9.0).set("distill.loss", "dkd")
    before = bytes_below(run.folder / "models")
    assert run.run("teacher_targets").returncode == 0
    assert bytes_below(run.folder / "models") == before


def test_the_teacher_is_as_good_in_the_cache_as_alone(run, monkeypatch):
    monkeypatch.chdir(run.folder)
    teacher = factory.load(factory.TeacherParams(**run.params()["teacher"]), Path("models/teacher.safetensors"), 10)
    alone = []
    with torch.inference_mode():
        for images, labels, *_ in batches.in_order("train", torch.device("cpu")):
            alone.append((teacher(images).argmax(1) == labels).numpy())
    count = len(prepared.targets("train"))
    cached = np.load(teacher_logits.LOGITS)[0, :count].argmax(1) == prepared.targets("train")
    assert cached.mean() == np.concatenate(alone).mean()


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_a_fault_while_writing_the_results_loses_no_epoch(run, monkeypatch):
    from stages import train_baseline
    from stages.training import multi_seed

    monkeypatch.chdir(run.folder)
    run.set("student_training.seeds", [0])
    with monkeypatch.context() as broken:
        broken.setattr(multi_seed, "write_curves", full_disk)
        with pytest.raises(OSError, match="No space"):
            train_baseline.main()
    steps = []
    monkeypatch.setattr(Trainer, "train_epoch", lambda *_: steps.append(1))
    train_baseline.main()
    assert not steps and len(read_csv(run.folder / "plots/baseline.csv")) == 4


@pytest.mark.parametrize("damage", ["shuffled", "another teacher", "other settings"])
def test_teacher_logits_of_other_images_are_refused(run, damage):
    path = run.folder / "models/targets.npy"
    if damage == "shuffled":
        np.save(path, np.load(path)[:, ::-1])
    elif damage == "another teacher":
        assert run.set("teacher_training.learning_rate", 0.02).run("train_teacher").returncode == 0
    else:
        run.set("student_training.augment.flip", True)
    done = run.run("distill")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "models/targets" in done.stderr.splitlines()[-1] and "dvc repro" in done.stderr.splitlines()[-1]


def test_distill_leaves_the_teacher_alone(run, monkeypatch, capfd):
    """In the mode that runs it most: in eval mode at every call, its weights the same before and after."""
    from stages import distill

    monkeypatch.chdir(run.folder)
    monkeypatch.setattr(sys, "argv", ["distill"])
    run.set("targets.mode", "online").set("student_training.seeds", [0]).set("student_training.epochs", 2)
    assert run.run("teacher_targets").returncode == 0
    held, modes, load = {}, [], factory.load

    def watched(params, path, classes):
        held["teacher"] = load(params, path, classes)
        held["before"] = copy.deepcopy(held["teacher"].state_dict())
        held["teacher"].register_forward_hook(lambda module, *_: modes.append(
            any(part.training for part in module.modules()) or any(p.requires_grad for p in module.parameters())))
        return held["teacher"]

    monkeypatch.setattr(factory, "load", watched)
    distill.main()
    assert modes and not any(modes)
    assert all(torch.equal(value, held["before"][key]) for key, value in held["teacher"].state_dict().items())


def test_distill_hands_the_student_in_first(run, monkeypatch):
    """Of the two logits that the loss is given, the first alone takes gradients."""
    from stages import distill
    from stages.distillation import kd_losses

    monkeypatch.chdir(run.folder)
    run.set("student_training.seeds", [0]).set("student_training.epochs", 1)
    given, loss = set(), kd_losses.distillation_loss

    def watched(student, teacher, *more):
        given.add((student.requires_grad, teacher.requires_grad))
        return loss(student, teacher, *more)

    monkeypatch.setattr(kd_losses, "distillation_loss", watched)
    distill.main()
    assert given == {(True, False)}


def test_teacher_and_student_are_not_swapped(run):
    """Both of one architecture: the teacher's file stays, and the student is another network, with its own start."""
    run.set("student.options", SMALL["teacher.options"]).set("student_training.seeds", [0])
    before = bytes_below(run.folder / "models")["teacher.safetensors"]
    assert run.run("distill").returncode == 0
    after = bytes_below(run.folder / "models")
    assert after["teacher.safetensors"] == before != after["student/seed-0.safetensors"]


def test_targets_go_on_where_they_were_stopped(run, monkeypatch):
    from stages import teacher_targets

    monkeypatch.chdir(run.folder)
    run.set("targets.batch_size", 64)
    assert run.run("teacher_targets").returncode == 0
    whole = (run.folder / teacher_logits.LOGITS).read_bytes()
    ask, calls = teacher_logits.logits, []

    def counted(*arguments):
        calls.append(len(arguments[2]))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return ask(*arguments)

    monkeypatch.setattr(teacher_logits, "logits", counted)
    with pytest.raises(KeyboardInterrupt):
        teacher_targets.main()
    stopped = len(calls)
    teacher_targets.main()
    assert (run.folder / teacher_logits.LOGITS).read_bytes() == whole
    images = sum(json.loads(teacher_logits.ABOUT.read_text())["images"].values())
    # One call a run looks at the shape; the rest are chunks of 64, none of them computed twice but the stopped one.
    assert len(calls) - 2 == -(-images // 64) + 1 and stopped == 6


def test_a_second_writer_is_refused_and_a_killed_one_leaves_no_lock(run):
    run.set("student_training.epochs", 200)
    first = subprocess.Popen([sys.executable, "-m", "stages.train_baseline"], cwd=run.folder, env=ONE_THREAD,
                             stderr=subprocess.PIPE, text=True)
    while "epoch 1/200" not in first.stderr.readline():
        assert first.poll() is None
    second = run.run("train_baseline")
    assert second.returncode == 1 and "another train_baseline is still running" in second.stderr.splitlines()[-1]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    run.set("student_training.epochs", 1)
    assert run.run("train_baseline").returncode == 0


def test_sigkill_then_again_gives_the_same_bytes(run):
    run.set("student_training.seeds", [0])
    assert run.run("distill").returncode == 0
    whole = bytes_below(run.folder / "models/student")
    killed = subprocess.Popen([sys.executable, "-m", "stages.distill"], cwd=run.folder,
                              stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    while "epoch 2/4" not in killed.stderr.readline():
        assert killed.poll() is None
    time.sleep(0.05)
    killed.kill()
    killed.communicate()
    again = run.run("distill")
    assert again.returncode == 0 and "epoch 1/4" not in again.stderr
    assert bytes_below(run.folder / "models/student") == whole


def test_a_frozen_teacher_runs_its_backbone_once(run, monkeypatch):
    """Whatever the number of epochs: one pass over train and one over val, and only the head differs afterwards."""
    from safetensors.torch import load_file

    from stages import train_teacher

    start = run.folder / factory.WEIGHTS / "start.safetensors"
    start.parent.mkdir()
    start.write_bytes((run.folder / "models/teacher.safetensors").read_bytes())
    run.set("teacher.weights", "start.safetensors").set("teacher.mode", "frozen").set("teacher_training.epochs", 5)
    run.set("teacher_training.augment.crop", "none")
    monkeypatch.chdir(run.folder)
    splits, passes = [], LinearProbe._passes
    monkeypatch.setattr(LinearProbe, "_passes", lambda *given: splits.append(given[1]) or passes(*given))
    train_teacher.main()
    assert splits == ["train", "val"]
    before, after = load_file(start), load_file("models/teacher.safetensors")
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"6.weight", "6.bias"}  # stem, three blocks, pooling, flatten, head
    # Weights that we have trained bring the normalisation they were trained with.
    with safe_open(start, "pt") as one, safe_open("models/teacher.safetensors", "pt") as other:
        assert one.metadata() == other.metadata() == {factory.NORMALISATION: json.dumps([[128.0] * 3, [64.0] * 3])}
    assert read_json(Path("metrics/timing/train_teacher.json"))["seconds"] > 0


@pytest.mark.parametrize(("changes", "message"), [
    ({"teacher.weights": "nowhere.safetensors", "teacher.mode": "finetune"}, "nowhere.safetensors"),
    ({"teacher.mode": "frozen"}, "data/weights/"),
    ({"teacher.weights": "imagenet"}, "teacher: mode is scratch"),
    ({"teacher.weights": "imagenet", "teacher.mode": "finetune"}, "small_resnet has none"),
    ({"teacher.weights": "../../params.yaml", "teacher.mode": "finetune"}, "params.yaml is no readable safetensors"),
    ({"teacher.weights": "../../models/teacher.safetensors", "teacher.mode": "finetune",
      "teacher.options": {"depth": 8, "width": 16, "stride": 2}}, "models/teacher.safetensors don't fit"),
    ({"teacher.weights": "../../models/teacher.safetensors", "teacher.mode": "frozen"}, "augment.crop"),
    ({"teacher.model": "vgg"}, "small_resnet"),
    ({"teacher.options": {"depth": 9, "width": 8, "stride": 2}}, "depth"),
    ({"teacher_training.epochs": "ten"}, "teacher_training.epochs"),
    ({"teacher_training.epoch": 10}, "teacher_training.epoch"),
    ({"teacher_training.learning_rate": -0.1}, "teacher_training.learning_rate"),
    ({"teacher.model": "torchvision", "teacher.options": {"architecture": "vit_b_16", "stem": "standard"}}, "32×32"),
    ({"teacher.model": "torchvision", "teacher.options": {"architecture": "resnet", "stem": "standard"}}, "resnet18"),
    ({"teacher_training.seeds": [2**70]}, "teacher_training.seeds"),
    ({"teacher.options": {"depth": 8, "width": 0, "stride": 2}}, "width"),
    ({"teacher_training.learning_rate": float("inf")}, "teacher_training.learning_rate"),
    ({"teacher_training.learning_rate": 1e30}, "learning_rate")])
def test_bad_teachers_end_in_one_line(run, changes, message):
    (run.folder / factory.WEIGHTS).mkdir()
    for key, value in changes.items():
        run.set(key, value)
    done = run.run("train_teacher")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines()
             if not line.startswith("train_teacher: on ") and " epoch " not in line[:25]]
    assert len(lines) == 1 and message in lines[0], done.stderr
