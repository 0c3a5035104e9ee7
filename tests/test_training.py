"""The training engine and the stages on top of it: the traps of distillation, and runs that are stopped and go on."""

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from stages.core.errors import UserError
from stages.core.files import read_csv, read_json
from stages.data import augmentation, prepared
from stages.distillation import teacher_logits
from stages.distillation.teacher import Advice
from stages.models import factory
from stages.tasks.classification.metric import Score
from stages.training import batches
from stages.training.optim import Recipe, learning_rate
from stages.training.trainer import Lesson, fit, validate

ROOT = Path(__file__).resolve().parents[1]
NET = factory.NetworkParams(model="small_resnet", options={"depth": 8, "width": 4, "stride": 2}, weights="none")
RECIPE = {"seeds": [0], "epochs": 3, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.0005,
          "warmup_epochs": 1.0, "label_smoothing": 0.0, "imbalance": "none", "class_weight_power": 0.5,
          "dice_weight": 0.0, "ema_decay": 0.0, "patience": 0, "keep": "last",
          "precision": "fp32",
          "augment": {"crop": "pad", "padding": 2, "min_area": 1.0, "flip": True, "turns": False, "colour": 0.0}}
ONE_THREAD = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SMALL = {"teacher.options": {"depth": 8, "width": 8, "stride": 2},
         "student.options": {"depth": 8, "width": 4, "stride": 2},
         "teacher_training.epochs": 2, "student_training.epochs": 4, "student_training.seeds": [0, 1],
         "student_training.warmup_epochs": 1.0, "teacher_training.warmup_epochs": 1.0}


def recipe(**changes) -> Recipe:
    return Recipe(**(RECIPE | changes))


def patterns(count: int, seed: int, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that a tiny net tells apart: stripes across, stripes down, noise."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    stripes = np.indices((size, size))[:, None] // 2 % 2 * 160  # (2,1,H,W)
    noise = chance.integers(0, 96, (count, size, size))
    pictures = np.where((labels < 2)[:, None, None], stripes[labels % 2, 0] + noise, 2.5 * noise)
    return np.repeat(pictures.astype(np.uint8)[..., None], 3, 3), labels.astype(np.int64)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """data/prepared of three classes, with unlabelled images, in a folder of its own that is the current one."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    for seed, (split, count) in enumerate({"train": 48, "val": 24, "test": 12, "unlabelled": 20}.items()):
        pixels, labels = patterns(count, seed)
        folder = tmp_path / prepared.FOLDER / split
        folder.mkdir(parents=True)
        np.save(folder / "images.npy", pixels)
        if split != "unlabelled":
            np.save(folder / "targets.npy", labels)
    (tmp_path / prepared.FOLDER / "classes.txt").write_text("across\ndown\nnoise\n")
    return tmp_path


def lesson(seed: int = 0, **changes) -> Lesson:
    wanted = recipe(**changes)
    return batches.supervised(Score, wanted.augment, seed, torch.device("cpu"),
                              chances=batches.chances("student_training", wanted, prepared.class_counts(3)))


def labels_alone(**changes):
    return batches.labels_alone(recipe(**changes), prepared.class_counts(3))


def learn(work: Path, loss=None, **changes) -> tuple[nn.Module, list[dict]]:
    net = factory.build(NET, 3, (16, 16), seed=0)
    work.mkdir(exist_ok=True)
    history = fit(net, lesson(**changes), loss or labels_alone(), recipe(**changes), 0, work, "test")
    return net, history


def fingerprint(net: nn.Module) -> str:
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in net.state_dict().values())).hexdigest()


def test_it_learns(data):
    net, history = learn(data / "w", epochs=8)
    assert history[-1]["val_accuracy"] > 90 > history[0]["val_accuracy"]
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert validate(net, lesson(), "fp32")["val_accuracy"] == history[-1]["val_accuracy"]


def test_the_same_seed_gives_the_same_bytes(data):
    assert fingerprint(learn(data / "a")[0]) == fingerprint(learn(data / "b")[0])


@pytest.mark.parametrize("changes", [
    {}, {"optimizer": "adamw", "learning_rate": 0.003}, {"ema_decay": 0.9}, {"keep": "best"}, {"precision": "bf16"},
    {"imbalance": "weighted_sampler"}],
    ids=lambda changes: next(iter(changes.values()), "plain"))
def test_a_run_that_was_stopped_ends_in_the_same_bytes(data, changes):
    """Stopped in the middle of the third epoch, by the loss itself."""
    whole, history = learn(data / "whole", epochs=5, **changes)
    steps = 0

    def stop(*batch):
        nonlocal steps
        steps += 1
        if steps == 15:
            raise KeyboardInterrupt
        return labels_alone()(*batch)

    with pytest.raises(KeyboardInterrupt):
        learn(data / "stopped", stop, epochs=5, **changes)
    resumed, again = learn(data / "stopped", epochs=5, **changes)
    assert steps == 15  # six steps an epoch: two epochs were done, and are not done again
    assert fingerprint(resumed) == fingerprint(whole)
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in history]


def test_best_keeps_the_epoch_that_val_likes_most(data):
    """A loss that teaches for four epochs, and then the contrary."""
    def loss(logits, labels, samples, epoch):
        return {"loss": labels_alone()(logits, labels, samples, epoch)["loss"] * (1 if epoch < 4 else -1)}

    net, history = learn(data / "w", loss, epochs=8, keep="best")
    best = max(row["val_accuracy"] for row in history)
    assert validate(net, lesson(), "fp32")["val_accuracy"] == best > history[-1]["val_accuracy"]


def test_patience_stops(data):
    _, history = learn(data / "w", epochs=30, keep="best", patience=2)
    best = max(range(len(history)), key=lambda epoch: (history[epoch]["val_accuracy"], -epoch))
    assert len(history) == best + 3 < 30


def test_the_learning_rate_by_hand():
    rates = [learning_rate(recipe(epochs=3, warmup_epochs=1.0, learning_rate=1.0), step, 2) for step in range(6)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


def test_trap_5_the_student_trains_in_train_mode_after_validation(data):
    modes = []
    net = factory.build(NET, 3, (16, 16), seed=0)
    net.register_forward_hook(lambda module, *_: modes.append(module.training))
    (data / "w").mkdir()
    fit(net, lesson(), labels_alone(), recipe(epochs=2), 0, data / "w", "test")
    assert modes == ([True] * 6 + [False]) * 2
    assert not net.training


def test_trap_12_a_loss_part_that_is_not_finite_stops_with_the_step(data):
    calls = 0

    def broken(logits, labels, samples, epoch):
        nonlocal calls
        calls += 1
        return {"loss": logits.mean(), "taught": torch.tensor(float("nan") if calls == 8 else 0.0)}

    with pytest.raises(UserError, match=r"taught is nan at epoch 2, step 2 \(learning rate .*lower learning_rate"):
        learn(data / "w", broken)


# The stages, run on the digits as a user runs them, but small.


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """fetch … teacher_targets, run once; tests copy the folder."""
    from tests.conftest import Project

    project = Project(tmp_path_factory.mktemp("pipeline"))
    for key, value in SMALL.items():
        project.set(key, value)
    project.set("split.labelled_fraction", 0.5)
    done = project.run("fetch", "scan", "clean", "split", "train_teacher", "teacher_targets")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def run(pipeline, tmp_path):
    """A copy of that folder, in which more can be run."""
    import shutil

    from tests.conftest import Project

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
    assert all(values["seconds"] > 0 and values["threads"] >= 1 for values in timing)
    assert not list((run.folder / ".work").glob("*/*"))


def test_trap_10_no_training_stage_needs_the_test_split(run):
    import shutil

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


def test_trap_8_the_targets_are_raw_logits(run, monkeypatch):
    """They don't sum to one, know no temperature, and the teacher says them again."""
    monkeypatch.chdir(run.folder)
    cached = np.load(teacher_logits.LOGITS).astype(np.float32)
    assert np.abs(cached.sum(2) - 1).mean() > 0.1 and cached.min() < 0 < cached.max()
    run.set("distill.temperature", 9.0).set("distill.loss", "dkd")
    before = bytes_below(run.folder / "models")
    assert run.run("teacher_targets").returncode == 0
    assert bytes_below(run.folder / "models") == before


def test_trap_13_the_teacher_is_as_good_in_the_cache_as_alone(run, monkeypatch):
    monkeypatch.chdir(run.folder)
    teacher = factory.load(factory.TeacherParams(**run.params()["teacher"]), Path("models/teacher.safetensors"), 10)
    alone = []
    with torch.inference_mode():
        for images, labels in batches.in_order("train", torch.device("cpu")):
            alone.append((teacher(images).argmax(1) == labels).numpy())
    count = len(prepared.targets("train"))
    cached = np.load(teacher_logits.LOGITS)[0, :count].argmax(1) == prepared.targets("train")
    assert cached.mean() == np.concatenate(alone).mean()


@pytest.fixture
def advised(data) -> Callable[[str], Advice]:
    """Makes the targets of a mode in data/, as `teacher_targets` does, and the Advice that reads them."""
    folder = data / "models"
    folder.mkdir()
    factory.save(factory.build(NET, 3, (16, 16), seed=1), folder / "teacher.safetensors")
    teacher = factory.load(NET, folder / "teacher.safetensors", 3)
    augment = recipe().augment.model_copy(update={"crop": "none"})
    stored = augmentation.ImageArrays(prepared.images("train"), prepared.images("unlabelled"))

    def make(mode: str) -> Advice:
        wanted = teacher_logits.TargetParams(mode=mode, views=4, seed=7, stride=1, batch_size=16, precision="fp32")
        cropped = augment if mode == "clean" else augment.model_copy(update={"crop": "pad"})
        count = teacher_logits.pass_count(wanted, cropped)
        whole = np.arange(len(stored))
        asked = [list(teacher_logits.logits(teacher, stored, whole, wanted, cropped, number)) for number in range(count)]
        cached = [np.concatenate(chunks) for chunks in asked] or np.zeros((0, 68, 3))
        np.save(teacher_logits.LOGITS, np.array(cached, np.float16))
        return Advice(teacher, stored, wanted, cropped, data)

    return make


@pytest.mark.parametrize("mode", ["clean", "views", "online"])
def test_trap_9_the_student_sees_what_the_teacher_spoke_of(advised, mode):
    """In every mode and epoch, mirrored or not, labelled or not: the logits are those of the pixels. (Clean targets
    belong to the image and its mirror image, so the crop, which they leave out on purpose, is left out here too.)"""
    advice, rows, seed = advised(mode), np.array([3, 60, 11, 47, 48, 67, 0, 20]), 3
    answers = set()
    for epoch in range(6):
        advice.begin_epoch(epoch)
        shown = augmentation.view(advice.stored, rows, advice.augment, *advice.view(seed, epoch))
        seen = torch.from_numpy(shown).permute(0, 3, 1, 2)
        said = advice.logits(rows, seed, epoch).astype(np.float32)
        assert np.allclose(advice.teacher(seen).numpy(), said, atol=2e-3), epoch
        answers.add(said.tobytes())
    assert len(answers) == {"clean": 6, "views": 4, "online": 6}[mode]  # a draw of mirrors, a view, an epoch


def test_a_fault_while_writing_the_results_loses_no_epoch(run, monkeypatch):
    from stages import train_baseline
    from stages.training import multi_seed

    monkeypatch.chdir(run.folder)
    run.set("student_training.seeds", [0])
    with monkeypatch.context() as broken:
        broken.setattr(multi_seed, "write_curves", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            train_baseline.main()
    steps = []
    monkeypatch.setattr("stages.training.trainer._epoch", lambda *_: steps.append(1))
    train_baseline.main()
    assert not steps and len(read_csv(run.folder / "plots/baseline.csv")) == 4


@pytest.mark.parametrize("damage", ["shuffled", "another teacher", "other settings"])
def test_trap_9_targets_of_other_images_are_refused(run, damage):
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


def test_trap_4_the_teacher_stays_as_it_is(data):
    """Frozen where it is loaded: no gradients, its BatchNorm and dropout at rest, whatever is done with it."""
    net = factory.build(NET, 3, (16, 16), seed=1)
    net.net.add_module("dropout", nn.Dropout(0.5))
    factory.freeze(net)
    state, images = copy.deepcopy(net.state_dict()), torch.from_numpy(patterns(8, 9)[0]).permute(0, 3, 1, 2)
    first = net(images)
    stored = augmentation.ImageArrays(prepared.images("train"))
    wanted = teacher_logits.TargetParams(mode="clean", views=1, seed=0, stride=1, batch_size=16, precision="fp32")
    for number in (0, 1):
        list(teacher_logits.logits(net, stored, np.arange(48), wanted, recipe().augment, number))
    assert torch.equal(net(images), first) and not first.requires_grad
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_trap_4_distill_leaves_the_teacher_alone(run, monkeypatch, capfd):
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


def test_trap_6_distill_hands_the_student_in_first(run, monkeypatch):
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


def test_trap_6_teacher_and_student_are_not_swapped(run):
    """Both of one architecture: the teacher's file stays, and the student is another network, with its own start."""
    run.set("student.options", SMALL["teacher.options"]).set("student_training.seeds", [0])
    before = bytes_below(run.folder / "models")["teacher.safetensors"]
    assert run.run("distill").returncode == 0
    after = bytes_below(run.folder / "models")
    assert after["teacher.safetensors"] == before != after["student/seed-0.safetensors"]
    # KL(teacher ‖ student) is not symmetric: of a sure teacher and an even student, and the other way round.
    from stages.distillation.kd_losses import distillation_loss
    from tests.test_losses import settings

    sure, even = torch.tensor([[3.0, 0.0, 0.0]]), torch.zeros(1, 3)
    p = np.exp([3, 0, 0]) / np.exp([3, 0, 0]).sum()
    divergence = (p * np.log(3 * p)).sum()
    assert distillation_loss(even, sure, torch.tensor([0]), settings()) == pytest.approx(divergence, abs=1e-5)


def test_trap_11_a_head_heavy_teachers_bias_can_be_taken_out(run):
    """A teacher that knows what balanced data would tell it, plus the log share of each class: with debias 1 the
    student is taught the first alone, with debias 0 the sum."""
    from stages.distillation import objective
    from stages.distillation.kd_losses import DistillParams, distillation_loss

    settings = run.params()["distill"]
    for places in ((), (2, 3)):  # of an image, of its pixels
        student, balanced = torch.randn(2, 5, 3, *places, generator=torch.Generator().manual_seed(0))
        shares = torch.log(torch.tensor([0.9, 0.09, 0.01])).view(1, 3, *(1,) * len(places))
        labels, biased = torch.zeros(5, *places, dtype=torch.long), (balanced + shares).half()
        advice = SimpleNamespace(logits=lambda *_, answer=biased: answer.numpy(), wanted=SimpleNamespace(stride=1))
        for debias, expected in ((1.0, balanced), (0.0, biased.float())):
            params = DistillParams(**settings | {"debias": debias})
            loss = objective.loss(advice, 0, recipe(), params, np.array([90, 9, 1]), torch.device("cpu"))
            found = loss(student, labels, np.arange(5), 0)[params.loss]
            assert found == pytest.approx(float(distillation_loss(student, expected, labels, params)), rel=1e-2)
    # And the stage does it: on digits with a rare class the curves differ.
    labels = run.folder / "data/prepared/train/targets.npy"
    np.save(labels, np.where(np.arange(len(np.load(labels))) % 8 > 0, 0, np.load(labels)))
    parts = []
    run.set("student_training.seeds", [0]).set("student_training.epochs", 1)
    for debias in (0.0, 1.0):
        assert run.set("distill.debias", debias).run("distill").returncode == 0
        parts.append(read_csv(run.folder / "plots/student.csv")[0]["kd"])
    assert parts[0] != parts[1]


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
    seen, features = [], train_teacher._features
    monkeypatch.setattr(train_teacher, "_features", lambda *a, **more: seen.append(a[1]) or features(*a, **more))
    train_teacher.main()
    assert seen == ["train", "val"]
    before, after = load_file(start), load_file("models/teacher.safetensors")
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"6.weight", "6.bias"}  # stem, three blocks, pooling, flatten, head
    # Weights that we have trained bring the normalisation they were trained with.
    with safe_open(start, "pt") as one, safe_open("models/teacher.safetensors", "pt") as other:
        assert one.metadata() == other.metadata() == {factory.NORMALISATION: json.dumps([[128.0] * 3, [64.0] * 3])}
    assert read_json(Path("metrics/timing/train_teacher.json"))["seconds"] > 0


@pytest.mark.parametrize(("changes", "said"), [
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
def test_bad_teachers_end_in_one_line(run, changes, said):
    (run.folder / factory.WEIGHTS).mkdir()
    for key, value in changes.items():
        run.set(key, value)
    done = run.run("train_teacher")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines()
             if not line.startswith("train_teacher: on ") and " epoch " not in line[:25]]
    assert len(lines) == 1 and said in lines[0], done.stderr
