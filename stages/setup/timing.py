"""How long `make` will take on this machine: a few steps of what the stages do are measured, and multiplied.

In: the settings that are about to be written, and how many images there are. Out: seconds a stage.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from stages.cleaning import features
from stages.core import params, plugins
from stages.core.device import autocast, thread_count
from stages.data import augmentation
from stages.data.parallel import WORKERS
from stages.deployment import export
from stages.distillation import kd_losses, teacher_logits
from stages.distillation.objective import DistillationLoss
from stages.models import factory
from stages.training.batches import Batch, Batches, to_tensor
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import Loss, Trainer

SECONDS, LEAST = 2.0, 2  # by the clock, and number of runs: how long each kind of step is measured, at least
STEPS = 2  # in one go
IMAGES = 16  # in a batch whose answer is measured
MODELS = 4  # teacher, baseline, student, int8
WITHOUT_TORCH = ("fetch", "clean", "split", "evaluate", "benchmark", "report")
LIGHT_START = 2.0  # seconds of their start, their fixed work included


class Amounts(NamedTuple):
    """How much there is to do: images, or the squares that they are cut into."""

    source: int  # images of the source, each read and inspected once
    labelled: int  # of them those whose labels are checked
    train: int  # the rest: images or squares
    val: int
    test: int
    unlabelled: int


class Rates(NamedTuple):
    """Seconds, measured here."""

    start: float  # of a stage that imports torch, before it does anything
    read: float  # an image of the source
    inspect: float  # an image in scan, on one core
    features: float  # an image by the network that checks labels; 0 without one
    teacher_step: float  # a training step, making the batch included
    baseline_step: float
    student_step: float  # with the teacher's logits
    teacher_image: float  # an image's answer, in the precision of section targets
    student_image: float
    teacher_export: float  # to ONNX
    student_export: float


def by_stage(rates: Rates, amounts: Amounts, settings: Mapping, device: torch.device) -> dict[str, float]:
    """Seconds of each stage. settings: all of params.yaml."""
    teacher, student = (settings[f"{role}_training"] for role in ("teacher", "student"))
    seeds, benchmark = len(student["seeds"]), settings["benchmark"]
    answers = rates.teacher_image + (1 + 3 * seeds) * rates.student_image  # one for each file, of each seed
    online = settings["targets"]["mode"] == "online"
    passes = student["epochs"] * seeds if online else _passes(settings)
    asked = passes * (amounts.train + amounts.unlabelled) * rates.teacher_image
    busy = {
        "fetch": amounts.source * rates.read,
        "scan": amounts.source * (rates.read + rates.inspect / WORKERS) + amounts.labelled * rates.features,
        "clean": 0.0,
        "split": amounts.source * (rates.read + rates.inspect / WORKERS) / 2,  # decoding is about half of inspecting
        "train_teacher": _training(teacher, rates.teacher_step, rates.teacher_image, amounts, device),
        "teacher_targets": 0.0 if online else asked,
        "train_baseline": _training(student, rates.baseline_step, rates.student_image, amounts, device),
        "distill": _training(student, rates.student_step, rates.student_image, amounts, device) + online * asked,
        "quantize": rates.teacher_export + 2 * seeds * rates.student_export + seeds * rates.student_image
                    * 4 * (settings["quantize"]["calibration_images"] + amounts.val),
        "verify": settings["verify"]["images"] * answers,
        "evaluate": amounts.test * answers,
        "benchmark": MODELS * (2 * benchmark["rounds"] * benchmark["seconds"] + LIGHT_START),
        "report": 0.0,
    }
    return {stage: seconds + (LIGHT_START if stage in WITHOUT_TORCH else rates.start)
            for stage, seconds in busy.items()}


def _training(recipe: Mapping, step: float, image: float, amounts: Amounts, device: torch.device) -> float:
    """All epochs, val after each, of all seeds, as many at a time as fit."""
    steps, seeds = max(1, amounts.train // recipe["batch_size"]), len(recipe["seeds"])
    rounds = math.ceil(seeds / side_by_side(seeds, device))
    return rounds * recipe["epochs"] * (steps * step + amounts.val * image)


def side_by_side(seeds: int, device: torch.device) -> int:
    """How many seeds are trained at a time, as stages/training/multi_seed.py has it."""
    return min(seeds, thread_count()) if device.type == "cpu" else 1


def _passes(settings: Mapping) -> int:
    """Of the teacher over all images, cached."""
    targets = params.parse(teacher_logits.TargetParams, settings["targets"], "targets")
    augment = params.parse(augmentation.Augment, settings["student_training"]["augment"], "student_training.augment")
    return teacher_logits.pass_count(targets, augment)


def measure(settings: Mapping, classes: int, read: float, inspect: float, watch: "Stopwatch", folder: Path) -> Rates:
    """settings: all of params.yaml. classes: C. read, inspect: seconds an image, as measured already.

    Pictures and labels are made up: steps take as long with any. folder: for nothing that stays.
    """
    size, task, device = settings["split"]["image_size"], settings["data"]["task"], watch.device
    sections = {name: params.parse(kind, settings[name], name) for name, kind in (
        ("teacher", factory.TeacherParams), ("student", factory.NetworkParams), ("teacher_training", Recipe),
        ("student_training", Recipe), ("targets", teacher_logits.TargetParams), ("distill", kd_losses.DistillParams))}
    shape = plugins.module("tasks/*/labels", task, "data.task").shape(size)
    metric = plugins.module("tasks/*/metric", task, "data.task").Score
    recipe, targets, counts = sections["student_training"], sections["targets"], np.ones(classes)
    teacher, student = (factory.build(sections[role], classes, (size, size), seed=0).to(device)
                        for role in ("teacher", "student"))

    def step(name: str, network: factory.Normalised, loss: Loss, stride: int = 0) -> float:
        own = sections[f"{name}_training"]
        batches = MadeUpBatches(own, size, shape, classes, device, stride)
        trainer = Trainer(name, network, batches, loss, metric, own, 0, folder)
        torch.set_num_threads(max(1, thread_count() // side_by_side(len(own.seeds), device)))
        with tqdm(disable=True) as bar:
            seconds = watch.median(lambda: trainer.train_epoch(0, bar)) / STEPS
        torch.set_num_threads(thread_count())
        return seconds

    steps = (step("teacher", teacher, LabelLoss(sections["teacher_training"], counts)),
             step("student", student, LabelLoss(recipe, counts)),
             step("student", student, DistillationLoss(recipe, sections["distill"], targets.stride, counts),
                  targets.stride))
    answers = (_answer(teacher, targets.precision, size, watch), _answer(student, recipe.precision, size, watch))
    exports = [watch.once(lambda network=network: export.to_onnx(network, size)) for network in (teacher, student)]
    return Rates(_start(), read, inspect, _features(settings["scan"], watch), *steps, *answers, *exports)


class MadeUpBatches(Batches):
    """Views of noise with labels at random, and teacher logits at random where there is a stride (0: no teacher)."""

    def __init__(self, recipe: Recipe, size: int, shape: tuple[int, ...], classes: int, device: torch.device,
                 stride: int):
        count, draw = STEPS * recipe.batch_size, np.random.default_rng(0)
        super().__init__(count, count, recipe, seed=0)
        self.images = augmentation.ImageArrays(draw.integers(0, 256, (count, size, size, 3), dtype=np.uint8))
        self.labels, self.device = draw.integers(0, classes, (count, *shape)), device
        kept = tuple(len(range(stride // 2, side, stride)) for side in shape) if stride else ()
        self.logits = draw.normal(size=(count, classes, *kept)).astype(np.float16) if stride else None

    def batch(self, samples: np.ndarray, epoch: int) -> Batch:
        augment = self.recipe.augment
        images = augmentation.view(self.images, samples, augment, 0, epoch)
        labels = augmentation.transform_targets(self.labels, samples, augment, 0, epoch)
        logits = None if self.logits is None else torch.from_numpy(self.logits[samples]).to(self.device)
        return Batch(to_tensor(images, self.device), torch.from_numpy(labels).to(self.device), logits)


def _answer(network: factory.Normalised, precision: str, size: int, watch: "Stopwatch") -> float:
    """Seconds of one image in a batch, in eval mode."""
    images = to_tensor(np.zeros((IMAGES, size, size, 3), np.uint8), watch.device)
    network.eval()
    with torch.inference_mode(), autocast(watch.device, precision):
        return watch.median(lambda: network(images).cpu()) / IMAGES


def _features(scan: Mapping, watch: "Stopwatch") -> float:
    if scan["backbone"] == "none":
        return 0.0
    compute = features.backbone(scan["backbone"], scan["weights"], scan["image_size"], watch.device)
    images = np.zeros((IMAGES, scan["image_size"], scan["image_size"], 3), np.uint8)
    return watch.median(lambda: compute(images)) / IMAGES


def _start() -> float:
    """Processor time of starting Python and importing torch."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import torch, torchvision"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


class Stopwatch:
    """Seconds that work takes on this machine when nothing else runs there.

    On a CPU that is the processor time of this thread, or of all threads divided by their number where that is more;
    on a GPU the time by the clock.
    """

    def __init__(self, device: torch.device):
        self.device, self.by_clock, self.free = device, 0.0, 0.0

    def once(self, run: Callable[[], object]) -> float:
        clocks = (time.perf_counter, time.thread_time, time.process_time)
        began = [clock() for clock in clocks]
        run()
        by_clock, thread, process = (clock() - start for clock, start in zip(clocks, began, strict=True))
        free = max(thread, process / torch.get_num_threads()) if self.device.type == "cpu" else by_clock
        self.by_clock += by_clock
        self.free += free
        return free

    def median(self, run: Callable[[], object]) -> float:
        """Of some runs, after one that doesn't count."""
        run()
        spent, end = [], time.perf_counter() + SECONDS
        while len(spent) < LEAST or time.perf_counter() < end:
            spent.append(self.once(run))
        return float(np.median(spent))

    @property
    def busy(self) -> float:
        """How many times as long everything takes now, since the machine has other work."""
        return self.by_clock / self.free
