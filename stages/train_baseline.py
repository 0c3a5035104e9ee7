"""Trains the student alone, one network a seed. In: data/prepared (train, val).
Out: models/baseline/, plots/baseline.csv: the same recipe, seeds and epochs as the distilled student has, no teacher.
"""

from pathlib import Path

from stages.core import errors, params, plugins, workdir
from stages.core.device import choose_device, thread_count
from stages.core.files import write_json
from stages.data import prepared
from stages.models import factory
from stages.training import batches, multi_seed
from stages.training.optim import Recipe

FOLDER = Path("models/baseline")


def main() -> None:
    student = params.load("student", factory.NetworkParams)
    recipe = params.load("student_training", Recipe)
    score = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    device = choose_device("train_baseline")
    classes = len(prepared.classes())
    counts = prepared.class_counts(classes) if recipe.imbalance != "none" else None
    chances = batches.chances("student_training", recipe, counts)
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", factory.WEIGHTS]
    with workdir.folder("train_baseline", [student, recipe, classes, thread_count(), device], inputs) as place:
        histories = multi_seed.train("baseline", recipe, place, lambda seed: (
            factory.build(student, classes, prepared.image_size(), seed).to(device),
            batches.supervised(score, recipe.augment, seed, device, chances=chances),
            batches.labels_alone(recipe, counts),
        ), lambda seed, trained: factory.save(trained, FOLDER / f"seed-{seed}.safetensors"))
        write_json(FOLDER / "seeds.json", multi_seed.ranking(histories, recipe, score.primary))
        multi_seed.write_curves(Path("plots/baseline.csv"), histories, score.primary)
        multi_seed.write_timing(Path("metrics/timing/train_baseline.json"), histories, prepared.labelled_count(), device)


if __name__ == "__main__":
    errors.run(main)
