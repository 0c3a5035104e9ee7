"""Trains the student alone, one network a seed. In: data/prepared (train, val).
Out: models/baseline/, plots/baseline.csv: the same recipe, seeds and epochs as the distilled student has, no teacher.
"""

from functools import partial
from pathlib import Path

import torch

from stages.core import errors, params, plugins, ranks, workdir
from stages.core.device import choose_device, thread_count
from stages.data import prepared
from stages.models import factory
from stages.training import batches, launch, multi_seed
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import History, Trainer

FOLDER = Path("models/baseline")


def main() -> None:
    student, recipe, metric = settings()
    batches.check_imbalance("student_training", recipe, prepared.targets("train").shape[1:])
    device = choose_device("train_baseline")
    key = [student, recipe, len(prepared.classes()), thread_count(), device, launch.key()]
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", factory.WEIGHTS / student.weights]
    with workdir.folder("train_baseline", key, inputs) as folder:
        trained = multi_seed.train(partial(train_seed, folder, device), recipe.seeds, device)
        if not ranks.is_main():
            return
        multi_seed.write_results("baseline", "train_baseline", trained, recipe, metric.primary, device)


def train_seed(folder: Path, device: torch.device, seed: int) -> History:
    """Builds, trains and saves one network."""
    student, recipe, metric = settings()
    classes = len(prepared.classes())
    class_counts = prepared.class_counts(classes) if recipe.imbalance != "none" else None
    network = factory.build(student, classes, prepared.image_size(), seed).to(device)
    weights = batches.sample_weights("student_training", recipe, class_counts)
    data = batches.ImageBatches(recipe, seed, device, weights)
    loss = LabelLoss(recipe, class_counts)
    history = Trainer("baseline", network, data, loss, metric, recipe, seed, folder).fit()
    factory.save(network, FOLDER / f"seed-{seed}.safetensors")
    return history


def settings() -> tuple[factory.NetworkParams, Recipe, type]:
    """The student, its recipe, and the score of the task."""
    metric = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    return params.load("student", factory.NetworkParams), params.load("student_training", Recipe), metric


if __name__ == "__main__":
    errors.run(partial(launch.run, main))
