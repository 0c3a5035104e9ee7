"""What distillation costs beside the plain baseline and beside the naive way, as ratios of time.

    make compare          or        python -m benchmarks.distill_cost [--epochs 60] [--images 1280] [--rounds 3]

Needs no data set: scikit-learn's digits, as 64-px JPEG files for the naive way and as the pipeline's arrays for ours.
In each round every way trains one epoch in turn, in this one process, so that a slow machine slows all alike. On a CPU
its seconds are processor time, of the loader's workers too, which other work on the machine hardly changes. The cost at
a number of epochs follows from the median epoch and the median pass of the teacher.

The naive way is that of tutorials: a DataLoader over image files, transforms by sample, float32, NCHW, and the teacher
run in every step. The peer is a loop by somebody who knows how: all images in memory, a batch cropped and mirrored at
once, both networks in our precision and memory layout; but the teacher in every step too.
"""

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms import v2
from tqdm import tqdm

from stages.core import errors
from stages.core.device import autocast, choose_device, thread_count
from stages.core.params import load
from stages.data import prepared
from stages.data.augmentation import ImageArrays
from stages.distillation import kd_losses, teacher_logits
from stages.distillation.objective import DistillationLoss
from stages.distillation.teacher import Teacher
from stages.models import factory
from stages.tasks.classification.metric import Score
from stages.training.batches import ImageBatches
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe, build_optimizer
from stages.training.trainer import Trainer

SIZE = 64
CLASSES = 10
MODES = ("clean", "views", "online")
CACHED = ("clean", "views")  # modes with passes of the teacher before training


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distill_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="that the ratios are given for (default: params.yaml's)")
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--views", type=int, default=8, help="targets.views, for the mode views")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of ours and the peer (default: params.yaml's)")
    parser.add_argument("--pairs", nargs="+", choices=("preset", "resnet50"), default=["preset", "resnet50"])
    options = parser.parse_args()
    recipe, distill = load("student_training", Recipe), load("distill", kd_losses.DistillParams)
    epochs = options.epochs or recipe.epochs
    # With flips, `clean` needs two passes of the teacher: the more expensive case.
    recipe = recipe.model_copy(update={"epochs": 1, "precision": options.precision or recipe.precision,
                                       "augment": recipe.augment.model_copy(update={"flip": True})})
    networks = {"preset": (load("teacher", factory.TeacherParams), load("student", factory.NetworkParams)),
                "resnet50": (_torchvision("resnet50"), _torchvision("resnet18"))}
    device, here = choose_device("distill_cost"), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        files = _prepare(options.images)
        for pair in options.pairs:
            seconds = Ways(*networks[pair], recipe, distill, files, device, options.views).measure(options.rounds)
            _print(networks[pair], recipe, seconds, epochs, options.views, "CPU s" if device.type == "cpu" else "s")
        os.chdir(here)


class Ways:
    """One teacher and one student. Each way trains an epoch and returns its seconds, by `clock`; val has 16 images."""

    def __init__(self, teacher, student, recipe: Recipe, distill, files: list[tuple[Path, int]], device, views: int):
        untrained = teacher.model_copy(update={"weights": "none"})
        self.teacher = factory.freeze(factory.build(untrained, CLASSES, (SIZE, SIZE), 1)).to(device)
        self.student, self.recipe, self.distill, self.device = student, recipe, distill, device
        self.images, self.views = ImageArrays(prepared.images("train")), views
        self.class_counts = prepared.class_counts(CLASSES)
        self.clock = processor_time if device.type == "cpu" else time.perf_counter
        transform = v2.Compose([v2.RandomCrop(SIZE, recipe.augment.padding or 4, padding_mode="reflect"),
                                v2.RandomHorizontalFlip(), v2.PILToTensor()])
        # Its workers persist: the median leaves out their start.
        self.loader = torch.utils.data.DataLoader(Files(files, transform), recipe.batch_size, shuffle=True,
                                                  drop_last=True, num_workers=thread_count(), persistent_workers=True)

    def measure(self, rounds: int) -> dict[str, list[float]]:
        ways = {"baseline": self.baseline, **{mode: partial(self.distilled, mode) for mode in MODES},
                "peer": self.peer, "naive": self.naive,
                **{f"pass for {mode}": partial(self.teacher_pass, mode) for mode in CACHED}}
        seconds = {name: [] for name in ways}
        for name in tqdm([*ways] * rounds, desc="epochs", unit="epoch", disable=None):
            seconds[name].append(ways[name]())
        return seconds

    def baseline(self) -> float:
        return self._fit(ImageBatches(self.recipe, 0, self.device), LabelLoss(self.recipe, self.class_counts))

    def distilled(self, mode: str) -> float:
        """In mode `online` the teacher's pass is part of the epoch."""
        targets = self._targets(mode)
        passes = teacher_logits.pass_count(targets, self.recipe.augment)
        np.save(teacher_logits.LOGITS, np.zeros((passes, len(self.images), CLASSES), np.float16))
        teacher = Teacher(lambda: self.teacher, self.images, targets, self.recipe.augment, Path("models"), CLASSES)
        return self._fit(ImageBatches(self.recipe, 0, self.device, images=self.images, teacher=teacher),
                         DistillationLoss(self.recipe, self.distill, targets.stride, self.class_counts))

    def teacher_pass(self, mode: str) -> float:
        """As `teacher_targets` makes it in this mode."""
        started = self.clock()
        for _ in teacher_logits.logits(self.teacher, self.images, np.arange(len(self.images)), self._targets(mode),
                                       self.recipe.augment, 1):
            pass
        return self.clock() - started

    def peer(self) -> float:
        images, padding = torch.from_numpy(np.array(self.images.parts[0])).to(self.device), self.recipe.augment.padding
        padded = functional.pad(images.permute(0, 3, 1, 2).float(), [padding] * 4, "reflect").byte()
        padded = padded.permute(0, 2, 3, 1).contiguous()  # (N,H+2p,W+2p,3)
        labels = torch.from_numpy(np.array(prepared.targets("train"))).to(self.device)
        student, size, temperature = self._build().train(), self.recipe.batch_size, self.distill.temperature
        optimizer, across = build_optimizer(student, self.recipe), torch.arange(SIZE, device=self.device)
        started = self.clock()
        order = torch.randperm(len(images), device=self.device)
        for rows in order[:len(order) // size * size].split(size):
            top, left = torch.randint(2 * padding + 1, (2, size, 1), device=self.device)
            columns = torch.where(torch.rand_like(left, dtype=torch.float32) < 0.5, across, across.flip(0)) + left
            batch = padded[rows[:, None, None], (across + top)[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
            with torch.inference_mode(), autocast(self.device, self.recipe.precision):
                teacher = self.teacher(batch)
            with autocast(self.device, self.recipe.precision):
                logits = student(batch)
            kd_loss = functional.kl_div(functional.log_softmax(logits / temperature, 1),
                                        functional.log_softmax(teacher / temperature, 1),
                                        reduction="batchmean", log_target=True)
            loss = 0.9 * temperature**2 * kd_loss + 0.1 * functional.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()  # waits for a GPU
        return self.clock() - started

    def naive(self) -> float:
        student = self._build().to(memory_format=torch.contiguous_format).train()
        teacher = self.teacher.to(memory_format=torch.contiguous_format)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
        started, temperature = self.clock(), self.distill.temperature
        for images, labels in self.loader:
            images, labels = images.to(self.device), labels.to(self.device)
            with torch.no_grad():
                soft_targets = functional.softmax(teacher(images) / temperature, 1)
            logits = student(images)
            kd_loss = functional.kl_div(functional.log_softmax(logits / temperature, 1), soft_targets,
                                        reduction="batchmean")
            loss = 0.9 * temperature**2 * kd_loss + 0.1 * functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = self.clock() - started
        self.teacher.to(memory_format=torch.channels_last)
        return seconds

    def _fit(self, batches: ImageBatches, loss) -> float:
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer("epoch", self._build(), batches, loss, Score, self.recipe, 0, Path(folder))
            return trainer.fit()[0]["cpu_seconds" if self.device.type == "cpu" else "seconds"]

    def _build(self) -> torch.nn.Module:
        return factory.build(self.student, CLASSES, (SIZE, SIZE), 0).to(self.device)

    def _targets(self, mode: str) -> teacher_logits.TargetParams:
        return teacher_logits.TargetParams(mode=mode, views=self.views, seed=0, features=False, stride=1,
                                           batch_size=256, precision=self.recipe.precision)


def processor_time() -> float:
    """Seconds that this process and those that it started have taken so far."""
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


class Files(torch.utils.data.Dataset):
    def __init__(self, files: list[tuple[Path, int]], transform):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int):
        path, label = self.files[row]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), label


def _torchvision(architecture: str) -> factory.TeacherParams:
    return factory.TeacherParams(model="torchvision", options={"architecture": architecture, "stem": "standard"},
                                 weights="none", mode="scratch")


def _prepare(count: int) -> list[tuple[Path, int]]:
    """data/prepared in the current folder, and the same images as JPEG files."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.arange(count) % len(digits.images)
    digit_images = [Image.fromarray((image * 15.9).astype(np.uint8)).resize((SIZE, SIZE)).convert("RGB")
                    for image in digits.images]
    for split, part in (("train", rows), ("val", rows[:16])):
        folder = prepared.FOLDER / split
        folder.mkdir(parents=True)
        np.save(folder / "images.npy", np.stack([np.asarray(digit_images[row]) for row in part]))
        np.save(folder / "targets.npy", digits.target[part].astype(np.int64))
    Path("models").mkdir()
    Path("files").mkdir()
    files = [(Path(f"files/{number}.jpg"), int(digits.target[row])) for number, row in enumerate(rows)]
    for (path, _), row in zip(files, rows, strict=True):
        digit_images[row].save(path, quality=90)
    return files


def _print(networks, recipe: Recipe, seconds: dict[str, list[float]], epochs: int, views: int, unit: str) -> None:
    median = {name: statistics.median(values) for name, values in seconds.items()}
    passes = {"clean": 2, "views": views}
    total = {name: epochs * median[name] + passes.get(name, 0) * median.get(f"pass for {name}", 0.0)
             for name in ("baseline", *MODES, "peer", "naive")}
    names = " → ".join(str(part.options.get("architecture", f"{part.model} {part.options}")) for part in networks)
    print(f"\n{names}, {SIZE} px, {recipe.precision}, batch {recipe.batch_size}, {epochs} epochs, "
          f"{thread_count()} threads, torch {torch.__version__}")
    print(f"{'way':<14}{f'{unit} an epoch (min–max)':>26}{'× baseline':>12}{'× peer':>10}{'× naive':>10}")
    for name, value in total.items():
        spread = f"{median[name]:.2f} ({min(seconds[name]):.2f}–{max(seconds[name]):.2f})"
        ratios = value / total["baseline"], value / total["peer"], value / total["naive"]
        print(f"{name:<14}{spread:>26}{ratios[0]:>12.2f}{ratios[1]:>10.2f}{ratios[2]:>10.2f}")
    for mode in CACHED:
        print(f"teacher, a pass for {mode}: {median[f'pass for {mode}']:.2f} {unit}; {passes[mode]} of them",
              flush=True)


if __name__ == "__main__":
    errors.run(main)
