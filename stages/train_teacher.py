"""Trains the teacher. In: data/prepared (train, val). Out: models/teacher.safetensors, plots/teacher.csv.

From scratch, fine-tuned from given weights, or frozen with a new head: then the backbone runs over the images once.
"""

from pathlib import Path

from stages.core import errors, params, plugins, workdir
from stages.core.device import choose_device, thread_count
from stages.core.files import atomic_write
from stages.data import prepared
from stages.models import factory
from stages.training import batches, linear_probe, multi_seed
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import Trainer


def main() -> None:
    teacher = params.load("teacher", factory.TeacherParams)
    recipe = params.load("teacher_training", Recipe)
    task = params.load_word("data.task")
    if teacher.mode == "frozen":
        linear_probe.check_augment(recipe.augment)
    metric = plugins.module("tasks/*/metric", task, "data.task").Score
    device = choose_device("train_teacher")
    classes = len(prepared.classes())
    class_counts = prepared.class_counts(classes) if recipe.imbalance != "none" else None
    weights = batches.sample_weights("teacher_training", recipe, class_counts)
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", factory.WEIGHTS]
    histories, probe = {}, None
    with workdir.folder("train_teacher", [teacher, recipe, task, classes, thread_count(), device], inputs) as folder:
        for seed in recipe.seeds:
            network = factory.build(teacher, classes, prepared.image_size(), seed).to(device)
            loss = LabelLoss(recipe, class_counts)
            if teacher.mode == "frozen":
                probe = probe or linear_probe.LinearProbe(network, recipe, folder)
                head, data = factory.head(network.net)[2], probe.batches(seed, weights)
                histories[seed] = Trainer("teacher head", head, data, loss, metric, recipe, seed, folder).fit()
                network = probe.with_head(head)
            else:
                data = batches.ImageBatches(recipe, seed, device, weights)
                histories[seed] = Trainer("teacher", network, data, loss, metric, recipe, seed, folder).fit()
            factory.save(network, folder / f"kept-{seed}.safetensors")
        best = multi_seed.ranking(histories, recipe, metric.primary)["best"]
        with atomic_write(factory.TEACHER, "wb") as file:
            file.write((folder / f"kept-{best}.safetensors").read_bytes())
        multi_seed.write_curves(Path("plots/teacher.csv"), histories, metric.primary)
        multi_seed.write_timing("train_teacher", histories, device, before=probe.seconds if probe else 0.0)


if __name__ == "__main__":
    errors.run(main)
