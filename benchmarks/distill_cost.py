"""What distillation costs: seconds of the baseline, of each mode of targets, and of the naive way, as ratios.

    python -m benchmarks.distill_cost [--epochs 60] [--images 1280] [--rounds 3] [--pairs preset resnet50]

Needs no data set: scikit-learn's digits, written as 64-px JPEG files for the naive way and prepared as arrays for
ours. In each round every way trains one epoch in turn, in this one process, so that a machine that slows down slows
all alike; what a way costs at the given number of epochs follows from the median epoch and the median teacher pass.

The naive way is what tutorials show: a DataLoader over image files, transforms a sample, float32, NCHW, and the
teacher run in every step.
"""

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms import v2
from tqdm import tqdm

from stages.core.device import choose_device, thread_count
from stages.core.params import load
from stages.data import augmentation, prepared
from stages.distillation import kd_losses, teacher_logits
from stages.distillation.objective import DistillationLoss
from stages.distillation.teacher import TeacherLogits
from stages.models import factory
from stages.tasks.classification.metric import Score
from stages.training.batches import ImageBatches
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import Trainer

SIZE = 64
CLASSES = 10
MODES = ("clean", "views", "online")
PASSES = ("clean", "views")  # modes that ask the teacher ahead


def main() -> None:
    parser = argparse.ArgumentParser(description="What distillation costs beside the baseline and the naive way.")
    parser.add_argument("--epochs", type=int, help="at how many epochs the ratios are given (default: params.yaml's)")
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--views", type=int, default=8, help="V of the mode views")
    parser.add_argument("--pairs", nargs="+", choices=("preset", "resnet50"), default=["preset", "resnet50"])
    asked = parser.parse_args()
    recipe, distill = load("student_training", Recipe), load("distill", kd_losses.DistillParams)
    # Flips make `clean` ask twice: the dearer case.
    recipe = recipe.model_copy(update={"epochs": 1, "augment": recipe.augment.model_copy(update={"flip": True})})
    networks = {"preset": (load("teacher", factory.TeacherParams), load("student", factory.NetworkParams)),
                "resnet50": (_torchvision("resnet50"), _torchvision("resnet18"))}
    epochs = asked.epochs or load("student_training", Recipe).epochs
    device, here = choose_device("distill_cost"), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        files = _prepare(asked.images)
        for pair in asked.pairs:
            ways = Ways(*networks[pair], recipe, distill, files, device, asked.views)
            seconds = ways.measure(asked.rounds)
            _print(pair, networks[pair], recipe, seconds, epochs, asked.views)
        os.chdir(here)


class Ways:
    """One teacher, one student; each way trains an epoch and returns its seconds. Val is 16 images."""

    def __init__(self, teacher, student, recipe: Recipe, distill, files: list[tuple[Path, int]], device, cycled: int):
        untrained = teacher.model_copy(update={"weights": "none"})
        self.teacher = factory.freeze(factory.build(untrained, CLASSES, (SIZE, SIZE), 1)).to(device)
        self.student, self.recipe, self.distill, self.device = student, recipe, distill, device
        self.stored, self.cycled = augmentation.ImageArrays(prepared.images("train")), cycled
        vary = v2.Compose([v2.RandomCrop(SIZE, recipe.augment.padding or 4, padding_mode="reflect"),
                           v2.RandomHorizontalFlip(), v2.PILToTensor()])
        # Its workers stay from epoch to epoch: the median leaves their start out.
        self.loader = torch.utils.data.DataLoader(Files(files, vary), recipe.batch_size, shuffle=True, drop_last=True,
                                                  num_workers=thread_count(), persistent_workers=True)

    def measure(self, rounds: int) -> dict[str, list[float]]:
        ways = {"baseline": self.baseline, **{mode: partial(self.cached, mode) for mode in MODES}, "naive": self.naive,
                **{f"pass for {mode}": partial(self.ask, mode) for mode in PASSES}}
        seconds = {name: [] for name in ways}
        for number in tqdm(range(rounds * len(ways)), desc="epochs", unit="epoch", disable=None):
            name = list(ways)[number % len(ways)]
            seconds[name].append(ways[name]())
        return seconds

    def baseline(self) -> float:
        return self._fit(ImageBatches(self.recipe, 0, self.device),
                         LabelLoss(self.recipe, prepared.class_counts(CLASSES)))

    def cached(self, mode: str) -> float:
        """An epoch of distillation in this mode; for `online` the teacher's pass is part of it."""
        targets = self._targets(mode)
        passes = teacher_logits.pass_count(targets, self.recipe.augment)
        np.save(teacher_logits.LOGITS, np.zeros((passes, len(self.stored), CLASSES), np.float16))
        teacher = TeacherLogits(self.teacher, self.stored, targets, self.recipe.augment, Path("models"))
        batches = ImageBatches(self.recipe, 0, self.device, images=self.stored, teacher=teacher)
        loss = DistillationLoss(self.recipe, self.distill, targets.stride, prepared.class_counts(CLASSES))
        return self._fit(batches, loss)

    def ask(self, mode: str) -> float:
        """One pass of the teacher over the images, as `teacher_targets` makes it in this mode."""
        started = time.perf_counter()
        for _ in teacher_logits.logits(self.teacher, self.stored, np.arange(len(self.stored)), self._targets(mode),
                                self.recipe.augment, 1):
            pass
        return time.perf_counter() - started

    def naive(self) -> float:
        student = self._fresh().to(memory_format=torch.contiguous_format).train()
        teacher = self.teacher.to(memory_format=torch.contiguous_format)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
        started, temperature = time.perf_counter(), self.distill.temperature
        for images, labels in self.loader:
            images, labels = images.to(self.device), labels.to(self.device)
            with torch.no_grad():
                soft = functional.softmax(teacher(images) / temperature, 1)
            logits = student(images)
            taught = functional.kl_div(functional.log_softmax(logits / temperature, 1), soft, reduction="batchmean")
            loss = 0.9 * temperature**2 * taught + 0.1 * functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        spent = time.perf_counter() - started
        self.teacher.to(memory_format=torch.channels_last)
        return spent

    def _fit(self, batches: ImageBatches, loss) -> float:
        student = self._fresh()
        with tempfile.TemporaryDirectory() as work:
            trainer = Trainer("epoch", student, batches, loss, Score, self.recipe, 0, Path(work))
            return trainer.fit()[0]["seconds"]

    def _fresh(self):
        return factory.build(self.student, CLASSES, (SIZE, SIZE), 0).to(self.device)

    def _targets(self, mode: str) -> teacher_logits.TargetParams:
        return teacher_logits.TargetParams(mode=mode, views=self.cycled, seed=0, stride=1, batch_size=256,
                                    precision=self.recipe.precision)


class Files(torch.utils.data.Dataset):
    def __init__(self, files: list[tuple[Path, int]], vary):
        self.files, self.vary = files, vary

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int):
        path, label = self.files[row]
        with Image.open(path) as image:
            return self.vary(image.convert("RGB")), label


def _torchvision(architecture: str) -> factory.TeacherParams:
    return factory.TeacherParams(model="torchvision", options={"architecture": architecture, "stem": "standard"},
                                 weights="none", mode="scratch")


def _prepare(count: int) -> list[tuple[Path, int]]:
    """data/prepared in the current folder, and the same images as JPEG files."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.arange(count) % len(digits.images)
    grey = [Image.fromarray((image * 15.9).astype(np.uint8)).resize((SIZE, SIZE)).convert("RGB")
            for image in digits.images]
    for split, some in (("train", rows), ("val", rows[:16])):
        folder = prepared.FOLDER / split
        folder.mkdir(parents=True)
        np.save(folder / "images.npy", np.stack([np.asarray(grey[row]) for row in some]))
        np.save(folder / "targets.npy", digits.target[some].astype(np.int64))
    Path("models").mkdir()
    Path("files").mkdir()
    files = [(Path(f"files/{number}.jpg"), int(digits.target[row])) for number, row in enumerate(rows)]
    for (path, _), row in zip(files, rows, strict=True):
        grey[row].save(path, quality=90)
    return files


def _print(pair: str, networks, recipe: Recipe, seconds: dict[str, list[float]], epochs: int, cycled: int) -> None:
    median = {name: statistics.median(values) for name, values in seconds.items()}
    asked = {"clean": 2, "views": cycled}
    total = {name: epochs * median[name] + asked.get(name, 0) * median.get(f"pass for {name}", 0.0)
             for name in ("baseline", *MODES, "naive")}
    names = " → ".join(str(part.options.get("architecture", f"{part.model} {part.options}")) for part in networks)
    print(f"\n{names}, {SIZE} px, {recipe.precision}, batch {recipe.batch_size}, {epochs} epochs, "
          f"{thread_count()} threads, torch {torch.__version__}")
    print(f"{'way':<14}{'s an epoch (min–max)':>26}{'× baseline':>12}{'× naive':>10}")
    for name, value in total.items():
        spread = f"{median[name]:.2f} ({min(seconds[name]):.2f}–{max(seconds[name]):.2f})"
        print(f"{name:<14}{spread:>26}{value / total['baseline']:>12.2f}{value / total['naive']:>10.2f}")
    for mode in PASSES:
        print(f"teacher, a pass for {mode}: {median[f'pass for {mode}']:.2f} s; {asked[mode]} of them", flush=True)


if __name__ == "__main__":
    main()
