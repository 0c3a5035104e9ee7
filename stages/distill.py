"""Trains the student with its teacher, one network a seed. In: data/prepared (train, val, unlabelled),
models/targets.npy and targets.json, models/teacher.safetensors. Out: models/student/, plots/student.csv.
"""

import sys
from pathlib import Path

from stages.kit import (
    distillation,
    faults,
    lessons,
    losses,
    named,
    network,
    params,
    prepared,
    runtime,
    seeds,
    targets,
    views,
    work,
)
from stages.kit.advice import Advice
from stages.kit.recipe import Recipe
from stages.kit.tables import write_json

FOLDER = Path("models/student")


def main() -> None:
    student = params.load("student", network.NetworkParams)
    recipe = params.load("student_training", Recipe)
    distill = params.load("distill", losses.DistillParams)
    wanted = params.load("targets", targets.TargetParams)
    score = named.module("tasks", params.word("data.task"), "data.task").Score
    device = runtime.start("distill")
    classes = len(prepared.classes())
    if note := distillation.bias(recipe, params.load("teacher_training", Recipe), distill):
        print(f"distill: {note}", file=sys.stderr)
    counts = prepared.counts(classes) if recipe.imbalance != "none" or distill.debias else None
    unlabelled = [prepared.images("unlabelled")] if distill.unlabelled else []
    chances = lessons.chances("student_training", recipe, counts, sum(map(len, unlabelled)))
    teacher = network.load(params.load("teacher", network.TeacherParams), network.TEACHER, classes).to(device)
    stored = views.Images(prepared.images("train"), *unlabelled)
    inputs = [*(prepared.FOLDER / split for split in ("train", "val", "unlabelled")), network.WEIGHTS, network.TEACHER,
              targets.LOGITS]
    key = [student, recipe, distill, wanted, classes, runtime.threads(), device]
    with work.folder("distill", key, inputs) as place:
        advice = Advice(teacher, stored, wanted, recipe.augment, place)
        advice.check()

        def attempt(seed: int):
            lesson = lessons.lesson(stored, score, recipe.augment, device, lambda epoch: advice.view(seed, epoch),
                                    begin_epoch=advice.begin_epoch, chances=chances)
            return (network.build(student, classes, prepared.size(), seed).to(device), lesson,
                    distillation.loss(advice, seed, recipe, distill, counts, device))

        histories = seeds.train("student", recipe, place, attempt, lambda seed, trained: network.save(
            trained, FOLDER / f"seed-{seed}.safetensors"))
        write_json(FOLDER / "seeds.json", seeds.ranking(histories, recipe, score.primary))
        seeds.write_curves(Path("plots/student.csv"), histories, score.primary)
        seeds.write_timing(Path("metrics/timing/distill.json"), histories, prepared.labelled(), device)


if __name__ == "__main__":
    faults.run(main)
