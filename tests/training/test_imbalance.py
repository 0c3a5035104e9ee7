"""Rare classes: what each way of minding them does, by hand, in the stages, and what a teacher makes of it."""

import contextlib
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Project
from sklearn.datasets import load_digits
from torch import nn
from training_data import labelled

from stages import distill, teacher_targets, train_baseline, train_teacher
from stages.core.errors import UserError
from stages.core.files import read_csv
from stages.data import prepared
from stages.data.rng import weighted_sample
from stages.distillation.kd_losses import DistillParams
from stages.distillation.objective import DistillationLoss
from stages.tasks.classification.metric import Score
from stages.training import batches
from stages.training.batches import Batch, Batches
from stages.training.losses import LabelLoss, cross_entropy_loss, dice_loss, log_shares
from stages.training.optim import Recipe
from stages.training.trainer import Trainer

WAYS = ("none", "class_weight", "weighted_sampler", "balanced_softmax")


@pytest.fixture
def recipe(project):
    return lambda imbalance="none", **changes: Recipe(
        **project.params()["student_training"] | {"imbalance": imbalance} | changes)


def test_balanced_softmax_by_hand(recipe):
    # Logits 0, ln 2 become probabilities 3·1 and 1·2 of 5.
    loss = LabelLoss(recipe("balanced_softmax"), np.array([30, 10]))
    parts = loss(torch.tensor([[0.0, math.log(2)]]), labelled(torch.tensor([1])))
    assert parts["loss"] == pytest.approx(math.log(5 / 2))
    # Where the classes occur alike it is the plain cross-entropy.
    logits, targets = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    even = LabelLoss(recipe("balanced_softmax"), np.array([7, 7, 7]))(logits, labelled(targets))["loss"]
    assert even == pytest.approx(float(cross_entropy_loss(logits, targets, 0.0)))


def test_log_shares_by_hand():
    """A class that never occurs counts as one image."""
    assert log_shares(np.array([30, 10])).tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 4)])
    assert log_shares(np.array([3, 0])).tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 4)])


def test_balanced_softmax_counts_pixel_by_pixel_and_leaves_dice_alone(recipe):
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(2, 3, 4, 5, generator=generator), torch.randint(-1, 3, (2, 4, 5), generator=generator)
    loss = LabelLoss(recipe("balanced_softmax", dice_weight=1.0), np.array([900, 90, 0]))  # a class that never occurs
    parts = loss(logits, labelled(targets))
    pixels = loss(logits.movedim(1, -1).reshape(-1, 3), labelled(targets.reshape(-1)))
    assert parts["cross_entropy"].isfinite() and parts["cross_entropy"] == pytest.approx(float(pixels["cross_entropy"]))
    assert parts["dice"] == dice_loss(logits, targets)


def test_one_way_at_a_time(recipe):
    """What each changes: weights of the loss, its logits, or the order, and never two of them."""
    counts, labels = np.array([75, 25]), np.repeat([0, 1], [75, 25])
    losses = {way: LabelLoss(recipe(way), counts) for way in WAYS}
    assert [way for way in WAYS if losses[way].weights is not None] == ["class_weight"]
    assert [way for way in WAYS if losses[way].log_shares is not None] == ["balanced_softmax"]
    weights = {way: sampled(recipe(way), labels, counts) for way in WAYS}
    assert [way for way in WAYS if weights[way] is not None] == ["weighted_sampler"]


def sampled(recipe: Recipe, labels: np.ndarray, counts: np.ndarray, unlabelled: int = 0) -> np.ndarray | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "targets", lambda split: labels)
        return batches.sample_weights("student_training", recipe, counts, unlabelled)


def test_the_sampler_evens_the_classes_out(recipe):
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    counts = np.bincount(labels)
    weights = sampled(recipe("weighted_sampler", class_weight_power=1.0), labels, counts)
    rows = weighted_sample(weights, seed=3, epoch=5, count=999)
    assert rows.shape == (999,) and abs(np.bincount(labels[rows]) - 333).max() <= 10
    # Each image as often as its chance has it, rounded up or down: 0.37 times, 3.7 times, 33.3 times.
    often = np.bincount(rows, minlength=1000)
    for label, least in enumerate((0, 3, 33)):
        assert set(often[labels == label]) == {least, least + 1}
    # With half the power: shares by the square root of the counts.
    halved = sampled(recipe("weighted_sampler", class_weight_power=0.5), labels, counts)
    roots = np.sqrt(counts) / np.sqrt(counts).sum()
    assert np.bincount(labels[weighted_sample(halved, 0, 0, 1000)]) / 1000 == pytest.approx(roots, abs=0.02)


def test_unlabelled_images_keep_their_part_of_an_epoch(recipe):
    labels = np.repeat([0, 1], [90, 10])
    weights = sampled(recipe("weighted_sampler", class_weight_power=1.0), labels, np.array([90, 10]), unlabelled=300)
    rows = np.concatenate([weighted_sample(weights, 0, epoch, 100) for epoch in range(40)])
    assert (rows >= 100).mean() == pytest.approx(3 / 4, abs=0.01)
    assert (labels[rows[rows < 100]] == 1).mean() == pytest.approx(1 / 2, abs=0.05)


@pytest.fixture(scope="module")
def tail(tmp_path_factory) -> Project:
    """Digits of which most are zeros, with a teacher and its answers."""
    project = Project(tmp_path_factory.mktemp("tail"))
    for key, value in {
        "teacher.options": {"depth": 8, "width": 8, "stride": 2},
        "student.options": {"depth": 8, "width": 4, "stride": 2}, "teacher_training.epochs": 1,
        "teacher_training.warmup_epochs": 0.5, "student_training.epochs": 2, "student_training.warmup_epochs": 1.0,
    }.items():
        project.set(key, value)
    rng, folder = np.random.default_rng(0), project.folder / prepared.FOLDER
    pixels, labels = load_digits(return_X_y=True)
    rows = rng.permutation(len(labels))
    parts = {"train": rows[:900][(labels[rows[:900]] < 2) | (rng.random(900) < 0.2)], "val": rows[900:1000],
             "unlabelled": rows[1000:1100]}
    for split, part in parts.items():
        (folder / split).mkdir(parents=True)
        images = np.kron(pixels[part].reshape(-1, 8, 8), np.ones((1, 2, 2))) * 15
        np.save(folder / split / "images.npy", np.repeat(images.astype(np.uint8)[..., None], 3, 3))
        if split != "unlabelled":
            np.save(folder / split / "targets.npy", labels[part])
    (folder / "classes.txt").write_text("".join(f"{label}\n" for label in range(10)))
    with contextlib.chdir(project.folder):
        train_teacher.main()
        teacher_targets.main()
    return project


@pytest.fixture
def copy(tail, tmp_path, monkeypatch) -> Project:
    """Of that, as the current folder."""
    project = Project(tmp_path / "copy")
    shutil.copytree(tail.folder, project.folder, dirs_exist_ok=True)
    monkeypatch.chdir(project.folder)
    return project


@pytest.mark.slow
def test_the_stages_mind_rare_classes_each_in_its_own_way(copy):
    curves = set()
    copy.set("student_training.seeds", [0])
    for way in WAYS:
        copy.set("student_training.imbalance", way)
        for stage, name in ((train_baseline, "baseline"), (distill, "student")):
            stage.main()
            rows = read_csv(Path(f"plots/{name}.csv"))
            curves.add((name, *(row["cross_entropy"] for row in rows)))
            assert len(rows) == 2
    assert len(curves) == 2 * len(WAYS)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["scratch", "frozen"])
def test_classes_are_counted_once_a_seed_and_only_where_it_matters(copy, monkeypatch, mode):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # all seeds in this process
    calls, count = [], prepared.class_counts
    monkeypatch.setattr(prepared, "class_counts", lambda *some: calls.append(some) or count(*some))
    if mode == "frozen":
        Path("data/weights").mkdir()
        shutil.copy("models/teacher.safetensors", "data/weights/start.safetensors")
        copy.set("teacher.weights", "start.safetensors").set("teacher.mode", mode)
        copy.set("teacher_training.augment.crop", "none")
    for stage, section in ((train_teacher, "teacher_training"), (train_baseline, "student_training")):
        copy.set(f"{section}.seeds", [0, 1]).set(f"{section}.epochs", 1).set(f"{section}.warmup_epochs", 0.5)
        call_counts = []
        for way in ("none", "weighted_sampler"):
            copy.set(f"{section}.imbalance", way)
            calls.clear()
            stage.main()
            call_counts.append(len(calls))
        assert call_counts == [0, 2]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "section"), [
    (train_teacher, "teacher_training"), (train_baseline, "student_training"), (distill, "student_training")],
    ids=lambda given: getattr(given, "__name__", None))
def test_no_sampler_for_masks(copy, stage, section):
    """Said before any work is begun."""
    path = prepared.FOLDER / "train/targets.npy"
    labels = np.load(path)
    np.save(path, np.broadcast_to(labels[:, None, None], (len(labels), 16, 16)))
    shutil.rmtree(".work")
    copy.set("data.task", "segmentation").set(f"{section}.imbalance", "weighted_sampler")
    message = rf"{section}\.imbalance is weighted_sampler.*use class_weight or balanced_softmax"
    with pytest.raises(UserError, match=message):
        stage.main()
    assert not Path(".work").exists()


# What a biased teacher hands on, on digits with a long tail: 140 of the most frequent class, 4 of the rarest.


def long_tail(seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """All digits, float32 (N,64) and int64 (N,), and the rows to learn from; the rest is to be tested on."""
    pixels, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order, rows = rng.permutation(10), rng.permutation(len(labels))
    counts = np.round(140 * 35 ** (-np.arange(10) / 9)).astype(int)
    train = np.concatenate([rows[labels[rows] == label][:count] for label, count in zip(order, counts, strict=True)])
    return torch.from_numpy(pixels / 16 - 0.3).float(), torch.from_numpy(labels), train


class Pixels(Batches):
    """The training rows of `long_tail`, with what a teacher says of them."""

    def __init__(self, digits, recipe: Recipe, seed: int, teacher_logits: np.ndarray | None):
        self.pixels, self.labels, self.train = digits
        self.teacher_logits = None if teacher_logits is None else torch.from_numpy(teacher_logits)
        super().__init__(len(self.train), len(self.train), recipe, seed)

    def batch(self, samples: np.ndarray, epoch: int) -> Batch:
        rows = self.train[samples]
        teacher = None if self.teacher_logits is None else self.teacher_logits[samples]
        return Batch(self.pixels[rows], self.labels[rows], teacher)

    def validation(self):
        yield Batch(self.pixels[:16], self.labels[:16])


def learnt(width: int, seed: int, digits, recipe: Recipe, loss, folder: Path, teacher_logits=None) -> nn.Module:
    """A network of one hidden layer."""
    torch.manual_seed(seed + width)
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    folder.mkdir()
    Trainer("test", net, Pixels(digits, recipe, seed, teacher_logits), loss, Score, recipe, seed, folder).fit()
    return net


@torch.inference_mode()
def balanced_accuracy(net: nn.Module, digits) -> float:
    pixels, labels, train = digits
    tested = np.setdiff1d(np.arange(len(labels)), train)
    right = net(pixels[tested]).argmax(1) == labels[tested]
    return 100 * float(np.mean([right[labels[tested] == label].float().mean() for label in range(10)]))


@pytest.mark.slow
def test_a_biased_teacher_hurts_and_a_balanced_one_or_debias_repairs(recipe, tmp_path):
    """Students with a balanced softmax: alone, beside a biased teacher, the same debiased, beside a balanced teacher.

    Over ten seeds 90.1, 86.9, 89.0 and 89.3 %, the biased one's lowest with each. Four seeds here, and room for the
    rounding of other machines.
    """
    torch.set_num_threads(1)
    fast = {"optimizer": "adamw", "batch_size": 128, "learning_rate": 0.03, "weight_decay": 0.01, "warmup_epochs": 1.0}
    rows = []
    for seed in range(4):
        digits = long_tail(seed)
        pixels, labels, train = digits
        counts, teacher_logits = np.bincount(labels[train]), {}
        for way in ("none", "balanced_softmax"):
            teaching = recipe(way, epochs=40, **fast)
            teacher = learnt(128, seed, digits, teaching, LabelLoss(teaching, counts),
                             tmp_path / f"{way} {seed}")
            with torch.inference_mode():
                teacher_logits[way] = teacher(pixels[train]).half().numpy()
        learning = recipe("balanced_softmax", epochs=60, **fast)
        students = {"alone": (LabelLoss(learning, counts), None)}
        for name, way, debias in (("biased", "none", 0.0), ("debiased", "none", 1.0),
                                  ("balanced", "balanced_softmax", 0.0)):
            settings = DistillParams(loss="kd", temperature=2.0, kd_weight=0.5, ce_weight=0.5, standardise=False,
                                     dkd_beta=4.0, debias=debias, feature_weight=0.0, unlabelled=False)
            students[name] = DistillationLoss(learning, settings, 1, counts), teacher_logits[way]
        rows.append([balanced_accuracy(learnt(32, seed, digits, learning, loss, tmp_path / f"{name} {seed}", teacher),
                                       digits) for name, (loss, teacher) in students.items()])
    alone, biased, debiased, balanced = np.mean(rows, 0)
    assert alone - biased > 1.5
    assert min(debiased, balanced) - biased > (alone - biased) / 2
