"""Trains the student with its teacher, one network a seed. In: data/prepared (train, val, unlabelled),
models/targets.npy and targets.json, models/teacher.safetensors; how teacher and baseline did on val. Out:
models/student/, plots/student.csv. Says where val shows that the teacher cannot help, or didn't.
"""

import sys
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch

from stages.core import errors, params, plugins, ranks, workdir
from stages.core.device import choose_device, thread_count
from stages.data import augmentation, prepared
from stages.distillation import kd_losses, teacher_logits
from stages.distillation.objective import DistillationLoss, debias_hint
from stages.distillation.teacher import Teacher
from stages.evaluation import hints, seeds
from stages.models import factory
from stages.training import batches, launch, multi_seed
from stages.training.optim import Recipe
from stages.training.trainer import History, Trainer

FOLDER = Path("models/student")


class Settings(NamedTuple):
    student: factory.NetworkParams
    recipe: Recipe
    distill: kd_losses.DistillParams
    targets: teacher_logits.TargetParams
    metric: type  # the score of the task


def main() -> None:
    own = settings()
    batches.check_imbalance("student_training", own.recipe, prepared.targets("train").shape[1:])
    device = choose_device("distill")
    rivals = {role: seeds.read(role) for role in ("teacher", "baseline")}
    primary = own.metric.primary
    say(debias_hint(own.recipe, params.load("teacher_training", Recipe), own.distill))
    started = hints.started({"teacher": params.load("teacher", factory.TeacherParams).weights,
                             "student": own.student.weights})
    say(hints.weak_teacher(**rivals, primary=primary, started=started))
    inputs = [*(prepared.FOLDER / split for split in ("train", "val", "unlabelled")),
              factory.WEIGHTS / own.student.weights, factory.TEACHER, teacher_logits.LOGITS]
    key = [own.student, own.recipe, own.distill, own.targets, len(prepared.classes()), thread_count(), device,
           launch.key()]
    with workdir.folder("distill", key, inputs) as folder:
        load_teacher(own, device, folder).check_cache()
        trained = multi_seed.train(partial(train_seed, folder, device), own.recipe.seeds, device)
        if not ranks.is_main():
            return
        multi_seed.write_results("student", "distill", trained, own.recipe, primary, device)
    train_score = fmean(history[-1][f"train_{primary}"] for history in trained.histories.values())
    say(hints.no_gain(**rivals, student=seeds.read("student"), train_score=train_score, primary=primary,
                      started=started))


def train_seed(folder: Path, device: torch.device, seed: int) -> History:
    """Builds, trains and saves one network."""
    student, recipe, distill, targets, metric = own = settings()
    classes = len(prepared.classes())
    class_counts = prepared.class_counts(classes) if recipe.imbalance != "none" or distill.debias else None
    network = factory.build(student, classes, prepared.image_size(), seed).to(device)
    teacher = load_teacher(own, device, folder / str(seed))
    unlabelled = len(teacher.images) - prepared.labelled_count()
    weights = batches.sample_weights("student_training", recipe, class_counts, unlabelled)
    data = batches.ImageBatches(recipe, seed, device, weights, teacher.images, teacher)
    loss = DistillationLoss(recipe, distill, targets.stride, class_counts)
    history = Trainer("student", network, data, loss, metric, recipe, seed, folder).fit()
    factory.save(network, FOLDER / f"seed-{seed}.safetensors")
    return history


def load_teacher(own: Settings, device: torch.device, folder: Path) -> Teacher:
    """With the images that it teaches: train's and, where they take part, the unlabelled ones."""
    images = augmentation.ImageArrays(*(prepared.images(split) for split in ("train", "unlabelled")
                                        if split == "train" or own.distill.unlabelled))
    teacher, classes = params.load("teacher", factory.TeacherParams), len(prepared.classes())

    def load() -> factory.Normalised:
        return factory.load(teacher, factory.TEACHER, classes).to(device)

    return Teacher(load, images, own.targets, own.recipe.augment, folder)


def settings() -> Settings:
    metric = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    return Settings(params.load("student", factory.NetworkParams), params.load("student_training", Recipe),
                    params.load("distill", kd_losses.DistillParams),
                    params.load("targets", teacher_logits.TargetParams), metric)


def say(hint: str) -> None:
    if hint:
        print(f"distill: {hint}", file=sys.stderr)


if __name__ == "__main__":
    errors.run(partial(launch.run, main))
