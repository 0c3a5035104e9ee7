"""Trains the student alone, one network a seed. In: data/prepared (train, val).
Out: models/baseline/, plots/baseline.csv: the same recipe, seeds and epochs as the distilled student has, no teacher.
"""

from pathlib import Path

from stages.core import errors, params, plugins, workdir
from stages.core.device import choose_device, thread_count
from stages.data import prepared
from stages.models import factory
from stages.training import batches, multi_seed
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import Trainer

FOLDER = Path("models/baseline")


def main() -> None:
    student = params.load("student", factory.NetworkParams)
    recipe = params.load("student_training", Recipe)
    metric = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    device = choose_device("train_baseline")
    classes = len(prepared.classes())
    class_counts = prepared.class_counts(classes) if recipe.imbalance != "none" else None
    weights = batches.sample_weights("student_training", recipe, class_counts)
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", factory.WEIGHTS]
    histories = {}
    with workdir.folder("train_baseline", [student, recipe, classes, thread_count(), device], inputs) as folder:
        for seed in recipe.seeds:
            network = factory.build(student, classes, prepared.image_size(), seed).to(device)
            data = batches.ImageBatches(recipe, seed, device, weights)
            loss = LabelLoss(recipe, class_counts)
            histories[seed] = Trainer("baseline", network, data, loss, metric, recipe, seed, folder).fit()
            factory.save(network, FOLDER / f"seed-{seed}.safetensors")
        multi_seed.write_results("baseline", "train_baseline", histories, recipe, metric.primary, device)


if __name__ == "__main__":
    errors.run(main)
