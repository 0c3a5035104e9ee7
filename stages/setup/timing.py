"""How long `make` will take on this machine: what a few steps took (stages/setup/measuring.py), multiplied.

In: the settings that are about to be written, seconds of the pieces, and how many there are. Out: seconds a stage.
"""

import copy
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

from stages.core import params
from stages.core.device import thread_count
from stages.data import augmentation
from stages.data.parallel import WORKERS
from stages.distillation import teacher_logits

MODELS = 5  # teacher, baseline, student, and two small ones
WITHOUT_TORCH = ("source", "fetch", "clean", "split", "evaluate", "benchmark", "report")
LABEL_CHECK = 4.0  # seconds of the classifiers that predict labels out of fold, in a set of some hundred images
SHARES = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)  # of the epochs, which are tried for a first look
FILLED = 0.06  # of an export is what a network takes whose kind is traced already
LIGHT_START = 2.0  # seconds of their start, their fixed work included


class Amounts(NamedTuple):
    """How much there is to do: images, or the tiles that they are cut into."""

    source: int  # images of the source, each read and inspected once
    labelled: int  # of them those whose labels are checked
    train: int  # the rest: images or tiles
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
    answers = 2 * rates.teacher_image + (1 + 3 * seeds) * rates.student_image  # one for each file, of each seed
    online = settings["targets"]["mode"] == "online"
    asked = rates.teacher_image * (student["epochs"] * seeds * amounts.train if online
                                   else _passes(settings) * (amounts.train + amounts.unlabelled))
    busy = {
        "source": 0.0,  # reading the archive once more, quicker by far than its images
        "fetch": amounts.source * rates.read,
        "scan": amounts.source * (rates.read + rates.inspect / WORKERS)
                + (amounts.labelled * rates.features + LABEL_CHECK if amounts.labelled else 0.0),
        "clean": 0.0,
        "split": amounts.source * (rates.read + rates.inspect / WORKERS) / 2,  # decoding is about half of inspecting
        "train_teacher": _training(teacher, rates.teacher_step, rates.teacher_image, amounts, device),
        "teacher_targets": 0.0 if online else asked,
        "train_baseline": _training(student, rates.baseline_step, rates.student_image, amounts, device),
        "distill": _training(student, rates.student_step, rates.student_image, amounts, device) + online * asked,
        "quantize": rates.teacher_export + (1 + 2 * seeds * FILLED) * rates.student_export
                    + (rates.teacher_image + seeds * rates.student_image)
                    * 4 * (settings["quantize"]["calibration_images"] + amounts.val),
        "verify": min(settings["verify"]["images"], amounts.test) * answers,
        "evaluate": amounts.test * answers,
        "benchmark": MODELS * (2 * benchmark["rounds"] * benchmark["seconds"] + LIGHT_START)
                     + benchmark["sustained_seconds"],
        "report": 0.0,
    }
    return {stage: seconds + (LIGHT_START if stage in WITHOUT_TORCH else rates.start)
            for stage, seconds in busy.items()}


def with_one_seed(settings: Mapping, share: float = 1.0) -> dict:
    """The settings of a shorter run: one student, and about this share of all epochs, but more than those of warm-up.
    """
    settings = copy.deepcopy(dict(settings))
    settings["student_training"]["seeds"] = settings["student_training"]["seeds"][:1]
    for section in ("teacher_training", "student_training"):
        recipe = settings[section]
        least = min(recipe["epochs"], math.floor(recipe["warmup_epochs"]) + 1)
        recipe["epochs"] = max(least, round(share * recipe["epochs"]))
    return settings


def first_look(rates: Rates, amounts: Amounts, settings: Mapping, device: torch.device,
               limit: float) -> tuple[dict[str, int], float]:
    """Epochs by section of the longest run of one student that takes `limit` seconds at most, or of the shortest there
    is; and its seconds.
    """
    for share in SHARES:
        shorter = with_one_seed(settings, share)
        seconds = sum(by_stage(rates, amounts, shorter, device).values())
        if seconds <= limit:
            break
    return {section: shorter[section]["epochs"] for section in ("teacher_training", "student_training")}, seconds


def _training(recipe: Mapping, step: float, image: float, amounts: Amounts, device: torch.device) -> float:
    """All epochs, val after each, of all seeds, as many at a time as fit."""
    steps, seeds = max(1, amounts.train // recipe["batch_size"]), len(recipe["seeds"])
    rounds = math.ceil(seeds / side_by_side(seeds, device))
    return rounds * recipe["epochs"] * (steps * step + amounts.val * image)


def side_by_side(seeds: int, device: torch.device) -> int:
    """How many seeds are trained at a time, as stages/training/multi_seed.py has it."""
    return min(seeds, thread_count()) if device.type == "cpu" else 1


def threads_each(seeds: int, device: torch.device) -> int:
    """Of each of the seeds that train side by side."""
    return max(1, thread_count() // side_by_side(seeds, device))


def _passes(settings: Mapping) -> int:
    """Of the teacher over all images, cached."""
    targets = params.parse(teacher_logits.TargetParams, settings["targets"], "targets")
    augment = params.parse(augmentation.Augment, settings["student_training"]["augment"], "student_training.augment")
    return teacher_logits.pass_count(targets, augment)
