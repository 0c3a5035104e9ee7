"""How long this machine takes for the pieces that a run is made of: a training step, an answer, an export. Measured on
pictures and labels that are made up: a step takes as long with any.

In: settings, all of params.yaml. Out: seconds.
"""

import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from stages.cleaning import features
from stages.core import params, plugins
from stages.core.device import autocast, thread_count
from stages.data import augmentation
from stages.data.image_size import height_and_width
from stages.deployment import export
from stages.distillation import kd_losses
from stages.distillation.objective import DistillationLoss
from stages.models import factory
from stages.setup.timing import Rates, threads_each
from stages.training.batches import Batch, Batches, to_tensor
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import Trainer

SECONDS, LEAST = 2.0, 2  # by the clock, and number of runs: how long each kind of step is measured, at least
STEPS = 2  # in one go
IMAGES = 16  # in a batch whose answer is measured


def measure(settings: Mapping, classes: int, read: float, inspect: float, watch: "Stopwatch", folder: Path) -> Rates:
    """classes: C. read, inspect: seconds an image, as measured already. folder: for nothing that stays."""
    size = height_and_width(settings["split"]["image_size"])
    networks = {role: _network(role, settings, classes, watch.device) for role in ("teacher", "student")}
    precisions = {"teacher": settings["targets"]["precision"], "student": settings["student_training"]["precision"]}
    steps = [training_step(role, settings, classes, watch, folder, with_teacher) for role, with_teacher in (
        ("teacher", False), ("student", False), ("student", True))]
    answers = [_answer(network, precisions[role], size, watch) for role, network in networks.items()]
    exports = [watch.once(lambda network=network: export.to_onnx(network, size)) for network in networks.values()]
    return Rates(_start(), read, inspect, _features(settings["scan"], watch), *steps, *answers, *exports)


def bf16_gain(settings: Mapping, classes: int, watch: "Stopwatch", folder: Path) -> float:
    """How many times as fast the student's training steps are in bf16 as in fp32: below 1 on processors that have no
    instructions for it.
    """
    settings, seconds = copy.deepcopy(dict(settings)), {}
    for precision in ("fp32", "bf16"):
        settings["student_training"]["precision"] = precision
        seconds[precision] = training_step("student", settings, classes, watch, folder)
    return seconds["fp32"] / seconds["bf16"]


def training_step(role: str, settings: Mapping, classes: int, watch: "Stopwatch", folder: Path,
                  with_teacher: bool = False) -> float:
    """Seconds of a step of the teacher, or of the student, making its batch included, as the training stages take it.

    with_teacher: of the student that is distilled, from logits alone, since the map to its teacher's features takes
    next to nothing.
    """
    task, device = settings["data"]["task"], watch.device
    size = height_and_width(settings["split"]["image_size"])
    recipe = params.parse(Recipe, settings[f"{role}_training"], f"{role}_training")
    stride = settings["targets"]["stride"] if with_teacher else 0
    loss = LabelLoss(recipe, np.ones(classes))
    if with_teacher:
        distill = params.parse(kd_losses.DistillParams, settings["distill"], "distill")
        loss = DistillationLoss(recipe, distill, stride, np.ones(classes))
    batches = MadeUpBatches(recipe, size, plugins.module("tasks/*/labels", task, "data.task").shape(size), classes,
                            device, stride)
    trainer = Trainer(role, _network(role, settings, classes, device), batches, loss,
                      plugins.module("tasks/*/metric", task, "data.task").Score, recipe, 0, folder)
    torch.set_num_threads(threads_each(len(recipe.seeds), device))
    with tqdm(disable=True) as bar:
        seconds = watch.median(lambda: trainer.train_epoch(0, bar)) / STEPS
    torch.set_num_threads(thread_count())
    return seconds


def _network(role: str, settings: Mapping, classes: int, device: torch.device) -> factory.Normalised:
    kind = {"teacher": factory.TeacherParams, "student": factory.NetworkParams}[role]
    size = height_and_width(settings["split"]["image_size"])
    return factory.build(params.parse(kind, settings[role], role), classes, size, seed=0).to(device)


class MadeUpBatches(Batches):
    """Views of noise with labels at random, and teacher logits at random where there is a stride (0: no teacher)."""

    def __init__(self, recipe: Recipe, size: tuple[int, int], shape: tuple[int, ...], classes: int,
                 device: torch.device, stride: int):
        count, draw = STEPS * recipe.batch_size, np.random.default_rng(0)
        super().__init__(count, count, recipe, seed=0)
        self.images = augmentation.ImageArrays(draw.integers(0, 256, (count, *size, 3), dtype=np.uint8))
        self.labels, self.device = draw.integers(0, classes, (count, *shape)), device
        kept = tuple(len(range(stride // 2, side, stride)) for side in shape) if stride else ()
        self.logits = draw.normal(size=(count, classes, *kept)).astype(np.float16) if stride else None

    def batch(self, samples: np.ndarray, epoch: int) -> Batch:
        augment = self.recipe.augment
        images = augmentation.view(self.images, samples, augment, 0, epoch)
        labels = augmentation.transform_targets(self.labels, samples, augment, 0, epoch)
        logits = None if self.logits is None else torch.from_numpy(self.logits[samples]).to(self.device)
        return Batch(to_tensor(images, self.device), torch.from_numpy(labels).to(self.device), logits)


def _answer(network: factory.Normalised, precision: str, size: tuple[int, int], watch: "Stopwatch") -> float:
    """Seconds of one image in a batch, in eval mode."""
    images = to_tensor(np.zeros((IMAGES, *size, 3), np.uint8), watch.device)
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
