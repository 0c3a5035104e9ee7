"""Trains the student with its teacher, one network a seed. In: data/prepared (train, val, unlabelled),
models/targets.npy and targets.json, models/teacher.safetensors; how teacher and baseline did on val. Out:
models/student/, plots/student.csv. Says where val shows that the teacher cannot help, or didn't.
"""

import sys
from pathlib import Path
from statistics import fmean

from stages.core import errors, params, plugins, workdir
from stages.core.device import choose_device, thread_count
from stages.data import augmentation, prepared
from stages.distillation import hints, kd_losses, teacher_logits
from stages.distillation.objective import DistillationLoss, debias_hint
from stages.distillation.teacher import Teacher
from stages.evaluation import seeds
from stages.models import factory
from stages.training import batches, multi_seed
from stages.training.optim import Recipe
from stages.training.trainer import Trainer

FOLDER = Path("models/student")


def main() -> None:
    student = params.load("student", factory.NetworkParams)
    recipe = params.load("student_training", Recipe)
    distill = params.load("distill", kd_losses.DistillParams)
    targets = params.load("targets", teacher_logits.TargetParams)
    metric = plugins.module("tasks/*/metric", params.load_word("data.task"), "data.task").Score
    device = choose_device("distill")
    classes = len(prepared.classes())
    rivals = {role: seeds.read(role) for role in ("teacher", "baseline")}
    say(debias_hint(recipe, params.load("teacher_training", Recipe), distill))
    say(hints.weak_teacher(**rivals, primary=metric.primary))
    class_counts = prepared.class_counts(classes) if recipe.imbalance != "none" or distill.debias else None
    unlabelled = [prepared.images("unlabelled")] if distill.unlabelled else []
    images = augmentation.ImageArrays(prepared.images("train"), *unlabelled)
    weights = batches.sample_weights("student_training", recipe, class_counts, sum(map(len, unlabelled)))
    teacher_network = factory.load(params.load("teacher", factory.TeacherParams), factory.TEACHER, classes).to(device)
    inputs = [*(prepared.FOLDER / split for split in ("train", "val", "unlabelled")), factory.WEIGHTS, factory.TEACHER,
              teacher_logits.LOGITS]
    key = [student, recipe, distill, targets, classes, thread_count(), device]
    histories = {}
    with workdir.folder("distill", key, inputs) as folder:
        teacher = Teacher(teacher_network, images, targets, recipe.augment, folder)
        teacher.check_cache()
        for seed in recipe.seeds:
            network = factory.build(student, classes, prepared.image_size(), seed).to(device)
            data = batches.ImageBatches(recipe, seed, device, weights, images, teacher)
            loss = DistillationLoss(recipe, distill, targets.stride, class_counts)
            histories[seed] = Trainer("student", network, data, loss, metric, recipe, seed, folder).fit()
            factory.save(network, FOLDER / f"seed-{seed}.safetensors")
        multi_seed.write_results("student", "distill", histories, recipe, metric.primary, device)
    train_score = fmean(history[-1][f"train_{metric.primary}"] for history in histories.values())
    say(hints.no_gain(**rivals, student=seeds.read("student"), train_score=train_score, primary=metric.primary))


def say(hint: str) -> None:
    if hint:
        print(f"distill: {hint}", file=sys.stderr)


if __name__ == "__main__":
    errors.run(main)
