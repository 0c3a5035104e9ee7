"""Trains the student alone, one network a seed. In: data/prepared (train, val).
Out: models/baseline/, plots/baseline.csv: the same recipe, seeds and epochs as the distilled student has, no teacher.
"""

from pathlib import Path

from stages.kit import faults, lessons, named, network, params, prepared, runtime, seeds, work
from stages.kit.recipe import Recipe
from stages.kit.tables import write_json

FOLDER = Path("models/baseline")


def main() -> None:
    student = params.load("student", network.NetworkParams)
    recipe = params.load("student_training", Recipe)
    score = named.module("tasks", params.word("data.task"), "data.task").Score
    device = runtime.start("train_baseline")
    classes = len(prepared.classes())
    counts = prepared.counts(classes) if recipe.imbalance != "none" else None
    chances = lessons.chances("student_training", recipe, counts)
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", network.WEIGHTS]
    with work.folder("train_baseline", [student, recipe, classes, runtime.threads(), device], inputs) as place:
        histories = seeds.train("baseline", recipe, place, lambda seed: (
            network.build(student, classes, prepared.size(), seed).to(device),
            lessons.supervised(score, recipe.augment, seed, device, chances=chances),
            lessons.labels_alone(recipe, counts),
        ), lambda seed, trained: network.save(trained, FOLDER / f"seed-{seed}.safetensors"))
        write_json(FOLDER / "seeds.json", seeds.ranking(histories, recipe, score.primary))
        seeds.write_curves(Path("plots/baseline.csv"), histories, score.primary)
        seeds.write_timing(Path("metrics/timing/train_baseline.json"), histories, prepared.labelled(), device)


if __name__ == "__main__":
    faults.run(main)
