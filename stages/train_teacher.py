"""Trains the teacher. In: data/prepared (train, val). Out: models/teacher.safetensors, models/teacher.json
(its seeds on val), plots/teacher.csv.

From scratch, fine-tuned from given weights, or frozen with a new head: then the backbone runs over the images once.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from stages.core import errors, params, plugins, ranks, workdir
from stages.core.device import choose_device, thread_count
from stages.core.files import atomic_write, write_json
from stages.data import prepared
from stages.evaluation import seeds
from stages.models import factory
from stages.training import batches, launch, linear_probe, multi_seed
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import History, Trainer


class Settings(NamedTuple):
    teacher: factory.TeacherParams
    recipe: Recipe
    metric: type  # the score of the task


def main() -> None:
    teacher, recipe, metric = settings()
    if teacher.mode == "frozen":
        linear_probe.check_augment(recipe.augment)
    batches.check_imbalance("teacher_training", recipe, prepared.targets("train").shape[1:])
    device = choose_device("train_teacher")
    key = [teacher, recipe, len(prepared.classes()), thread_count(), device, launch.key()]
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", factory.WEIGHTS / teacher.weights]
    with workdir.folder("train_teacher", key, inputs) as folder:
        # The features of a frozen backbone are computed ahead of the seeds, which all read them.
        is_frozen = teacher.mode == "frozen"
        before = linear_probe.LinearProbe(build(device, recipe.seeds[0]), recipe, folder).seconds if is_frozen else 0.0
        trained = multi_seed.train(partial(train_seed, folder, device), recipe.seeds, device)
        if not ranks.is_main():
            return
        ranking = multi_seed.ranking(trained.histories, recipe, metric.primary)
        with atomic_write(factory.TEACHER, "wb") as file:
            file.write((folder / f"kept-{ranking['best']}.safetensors").read_bytes())
        write_json(seeds.path("teacher"), ranking)
        multi_seed.write_curves(Path("plots/teacher.csv"), trained.histories, metric.primary)
        multi_seed.write_timing("train_teacher", trained, device, before)


def train_seed(folder: Path, device: torch.device, seed: int) -> History:
    """Builds and trains one network, and keeps it in the folder."""
    teacher, recipe, metric = settings()
    class_counts = prepared.class_counts(len(prepared.classes())) if recipe.imbalance != "none" else None
    weights = batches.sample_weights("teacher_training", recipe, class_counts)
    network, loss = build(device, seed), LabelLoss(recipe, class_counts)
    if teacher.mode == "frozen":
        probe = linear_probe.LinearProbe(network, recipe, folder)
        head, data = factory.head(network.net)[2], probe.batches(seed, weights)
        history = Trainer("teacher head", head, data, loss, metric, recipe, seed, folder).fit()
        network = probe.with_head(head)
    else:
        data = batches.ImageBatches(recipe, seed, device, weights)
        history = Trainer("teacher", network, data, loss, metric, recipe, seed, folder).fit()
    factory.save(network, folder / f"kept-{seed}.safetensors")
    return history


def build(device: torch.device, seed: int) -> factory.Normalised:
    return factory.build(settings().teacher, len(prepared.classes()), prepared.image_size(), seed).to(device)


def settings() -> Settings:
    metric = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    return Settings(params.load("teacher", factory.TeacherParams), params.load("teacher_training", Recipe), metric)


if __name__ == "__main__":
    errors.run(partial(launch.run, main))
