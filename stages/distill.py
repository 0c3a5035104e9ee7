"""Trains the student with its teacher, one network a seed. In: data/prepared (train, val, unlabelled),
models/targets.npy and targets.json, models/teacher.safetensors. Out: models/student/, plots/student.csv.
"""

import sys
from pathlib import Path

from stages.core import errors, params, plugins, workdir
from stages.core.device import choose_device, thread_count
from stages.core.files import write_json
from stages.data import augmentation, prepared
from stages.distillation import kd_losses, objective, teacher_logits
from stages.distillation.teacher import Advice
from stages.models import factory
from stages.training import batches, multi_seed
from stages.training.optim import Recipe

FOLDER = Path("models/student")


def main() -> None:
    student = params.load("student", factory.NetworkParams)
    recipe = params.load("student_training", Recipe)
    distill = params.load("distill", kd_losses.DistillParams)
    wanted = params.load("targets", teacher_logits.TargetParams)
    score = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    device = choose_device("distill")
    classes = len(prepared.classes())
    if note := objective.bias(recipe, params.load("teacher_training", Recipe), distill):
        print(f"distill: {note}", file=sys.stderr)
    counts = prepared.class_counts(classes) if recipe.imbalance != "none" or distill.debias else None
    unlabelled = [prepared.images("unlabelled")] if distill.unlabelled else []
    chances = batches.chances("student_training", recipe, counts, sum(map(len, unlabelled)))
    teacher = factory.load(params.load("teacher", factory.TeacherParams), factory.TEACHER, classes).to(device)
    stored = augmentation.ImageArrays(prepared.images("train"), *unlabelled)
    inputs = [*(prepared.FOLDER / split for split in ("train", "val", "unlabelled")), factory.WEIGHTS, factory.TEACHER,
              teacher_logits.LOGITS]
    key = [student, recipe, distill, wanted, classes, thread_count(), device]
    with workdir.folder("distill", key, inputs) as place:
        advice = Advice(teacher, stored, wanted, recipe.augment, place)
        advice.check()

        def attempt(seed: int):
            lesson = batches.lesson(stored, score, recipe.augment, device, lambda epoch: advice.view(seed, epoch),
                                    begin_epoch=advice.begin_epoch, chances=chances)
            return (factory.build(student, classes, prepared.image_size(), seed).to(device), lesson,
                    objective.loss(advice, seed, recipe, distill, counts, device))

        histories = multi_seed.train("student", recipe, place, attempt, lambda seed, trained: factory.save(
            trained, FOLDER / f"seed-{seed}.safetensors"))
        write_json(FOLDER / "seeds.json", multi_seed.ranking(histories, recipe, score.primary))
        multi_seed.write_curves(Path("plots/student.csv"), histories, score.primary)
        multi_seed.write_timing(Path("metrics/timing/distill.json"), histories, prepared.labelled_count(), device)


if __name__ == "__main__":
    errors.run(main)
