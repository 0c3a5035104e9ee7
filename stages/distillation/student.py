"""The training of one distilled student, for one seed: what `distill` does with each of its seeds, and the search for a
student (stages/search.py) with each candidate.
"""

from pathlib import Path
from typing import NamedTuple

import torch

from stages.core import params, plugins
from stages.data import augmentation, prepared
from stages.distillation import feature_heads, features, kd_losses, teacher_logits
from stages.distillation.objective import DistillationLoss
from stages.distillation.teacher import Teacher
from stages.models import factory
from stages.training import batches
from stages.training.optim import Recipe
from stages.training.trainer import History, Trainer


class Settings(NamedTuple):
    student: factory.NetworkParams
    recipe: Recipe
    distill: kd_losses.DistillParams
    targets: teacher_logits.TargetParams
    metric: type  # the score of the task


def settings() -> Settings:
    """As params.yaml has them. Raises UserError where features count that aren't kept."""
    metric = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    distill = params.load("distill", kd_losses.DistillParams)
    targets = params.load("targets", teacher_logits.TargetParams)
    features.check(targets, distill)
    return Settings(params.load("student", factory.NetworkParams), params.load("student_training", Recipe), distill,
                    targets, metric)


def train(own: Settings, device: torch.device, seed: int, folder: Path) -> tuple[factory.Normalised, History]:
    """The trained network, and a row of numbers an epoch. folder: for the checkpoint, where an interrupted run goes on.
    """
    student, recipe, distill, targets, metric = own
    classes = len(prepared.classes())
    class_counts = prepared.class_counts(classes) if recipe.imbalance != "none" or distill.debias else None
    network = factory.build(student, classes, prepared.image_size(), seed).to(device)
    teacher = load_teacher(own, device, folder / str(seed))
    unlabelled = len(teacher.images) - prepared.labelled_count()
    weights = batches.sample_weights("student_training", recipe, class_counts, unlabelled)
    data = batches.ImageBatches(recipe, seed, device, weights, teacher.images, teacher)
    loss = DistillationLoss(recipe, distill, targets.stride, class_counts)
    if not distill.feature_weight:
        return network, Trainer("student", network, data, loss, metric, recipe, seed, folder).fit()
    sample = features.sample(teacher, classes)
    loss = features.FeatureLoss(loss, distill.feature_weight, classes, features.Distance(sample))
    with feature_heads.feature_projector(network, sample.shape[1]):
        return network, Trainer("student", network, data, loss, features.of_logits(metric, classes), recipe, seed,
                                folder).fit()


def load_teacher(own: Settings, device: torch.device, folder: Path) -> Teacher:
    """With the images that it teaches: train's and, where they take part, the unlabelled ones."""
    images = augmentation.ImageArrays(*(prepared.images(split) for split in ("train", "unlabelled")
                                        if split == "train" or own.distill.unlabelled))
    teacher, classes = params.load("teacher", factory.TeacherParams), len(prepared.classes())

    def load() -> factory.Normalised:
        network = factory.load(teacher, factory.TEACHER, classes).to(device)
        if own.targets.features:
            feature_heads.append_features(network)
        return network

    return Teacher(load, images, own.targets, own.recipe.augment, folder, classes, own.distill.feature_weight > 0)
