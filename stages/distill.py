"""Trains the student with its teacher, one network a seed. In: data/prepared (train, val, unlabelled),
models/targets.npy and targets.json, models/teacher.safetensors; how teacher and baseline did on val. Out:
models/student/, plots/student.csv. Says where val shows that the teacher cannot help, or didn't.
"""

import sys
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from stages.core import errors, params, ranks, workdir
from stages.core.device import choose_device, thread_count
from stages.data import prepared
from stages.distillation import student, teacher_logits
from stages.distillation.objective import debias_hint
from stages.evaluation import hints, seeds
from stages.models import factory
from stages.training import batches, launch, multi_seed
from stages.training.optim import Recipe
from stages.training.trainer import History

FOLDER = Path("models/student")


def main() -> None:
    own = student.settings()
    batches.check_imbalance("student_training", own.recipe, prepared.targets("train").shape[1:])
    device = choose_device("distill")
    rivals = {role: seeds.read(role) for role in ("teacher", "baseline")}
    primary = own.metric.primary
    say(debias_hint(own.recipe, params.load("teacher_training", Recipe), own.distill))
    started = hints.started({"teacher": params.load("teacher", factory.TeacherParams).weights,
                             "student": own.student.weights})
    say(hints.weak_teacher(**rivals, primary=primary, started=started))
    inputs = [*(prepared.FOLDER / split for split in ("train", "val", "unlabelled")),
              factory.WEIGHTS / own.student.weights, factory.TEACHER, teacher_logits.LOGITS]
    key = [own.student, own.recipe, own.distill, own.targets, len(prepared.classes()), thread_count(), device,
           launch.key()]
    with workdir.folder("distill", key, inputs) as folder:
        student.load_teacher(own, device, folder).check_cache()
        trained = multi_seed.train(partial(train_seed, folder, device), own.recipe.seeds, device)
        if not ranks.is_main():
            return
        multi_seed.write_results("student", "distill", trained, own.recipe, primary, device)
    train_score = fmean(history[-1][f"train_{primary}"] for history in trained.histories.values())
    say(hints.no_gain(**rivals, student=seeds.read("student"), train_score=train_score, primary=primary,
                      started=started))


def train_seed(folder: Path, device: torch.device, seed: int) -> History:
    """Builds, trains and saves one network."""
    network, history = student.train(student.settings(), device, seed, folder)
    factory.save(network, FOLDER / f"seed-{seed}.safetensors")
    return history


def say(hint: str) -> None:
    if hint:
        print(f"distill: {hint}", file=sys.stderr)


if __name__ == "__main__":
    errors.run(partial(launch.run, main))
