"""Trains the student with its teacher, one network a seed. In: data/prepared (train, val, unlabelled), models/targets.npy
and targets.json, models/teacher.safetensors. Out: models/student/, plots/student.csv.
"""

from pathlib import Path

import numpy as np
import torch

from stages.kit import faults, lessons, losses, named, network, params, prepared, runtime, seeds, targets, views, work
from stages.kit.faults import Fault
from stages.kit.recipe import Recipe
from stages.kit.supervision import cross_entropy_loss
from stages.kit.tables import read_json, write_json

FOLDER = Path("models/student")
TEACHER = Path("models/teacher.safetensors")
# bf16 rounds a logit by 0.4 %; a teacher that saw another view is off by a fifth and more of the logits' spread.
TOLERANCE = 0.05
CHECKED = 16  # images a pass


def main() -> None:
    student = params.load("student", network.NetworkParams)
    recipe = params.load("student_training", Recipe)
    distill = params.load("distill", losses.DistillParams)
    wanted = params.load("targets", targets.TargetParams)
    score = named.module("tasks", params.word("data.task"), "data.task").Score
    device = runtime.start("distill")
    classes = len(prepared.classes())
    teacher = network.load(params.load("teacher", network.TeacherParams), TEACHER, classes).to(device)
    stored = views.Images(prepared.images("train"), *([prepared.images("unlabelled")] if distill.unlabelled else []))
    advice = Advice(teacher, stored, wanted, recipe.augment)
    advice.check()

    def attempt(seed: int):
        def loss(logits, labels, samples, epoch):
            soft = torch.from_numpy(advice.logits(samples, seed, epoch)).to(device)
            hard = cross_entropy_loss(logits, labels, recipe.label_smoothing)
            taught = losses.distillation_loss(logits, soft, labels, distill)
            return {"loss": distill.ce_weight * hard + distill.kd_weight * taught, "cross_entropy": hard,
                    distill.loss: taught}

        lesson = lessons.lesson(stored, score, device, lambda images, samples, epoch: advice.seen(samples, seed, epoch),
                                begin_epoch=advice.begin_epoch)
        return network.build(student, classes, seed).to(device), lesson, loss

    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "val", prepared.FOLDER / "unlabelled", TEACHER, targets.LOGITS]
    key = [student, recipe, distill, wanted, classes, runtime.threads(), device]
    with work.folder("distill", key, inputs) as place:
        histories = seeds.train("student", recipe, place, attempt, lambda seed, trained: network.save(
            trained, FOLDER / f"seed-{seed}.safetensors"))
    write_json(FOLDER / "seeds.json", seeds.ranking(histories, recipe, score.primary))
    seeds.write_curves(Path("plots/student.csv"), histories)
    seeds.write_timing(Path("metrics/timing/distill.json"), histories, len(prepared.targets("train")), device)


class Advice:
    """What the student sees, and what the teacher said of exactly that, in the mode that `targets.mode` names."""

    def __init__(self, teacher, stored: views.Images, wanted: targets.TargetParams, augment: views.Augment):
        self.teacher, self.stored, self.wanted, self.augment = teacher, stored, wanted, augment
        self.cached = np.load(targets.LOGITS, mmap_mode="r")  # (V,N,C,*S)
        self.epoch = None

    def check(self) -> None:
        """Ask the teacher again about a few images of the first and last pass; Fault where it answers otherwise."""
        made = read_json(targets.ABOUT)
        now = {**self.wanted.model_dump(), "augment": self.augment.model_dump(),
               "passes": targets.passes(self.wanted, self.augment)}
        for key, value in now.items():
            if made.get(key) != value:
                raise Fault(f"{targets.ABOUT} was made with {key} {made.get(key)!r}, params.yaml says {value!r}; "
                            "run dvc repro teacher_targets")
        some = np.unique(np.linspace(0, len(self.stored) - 1, CHECKED).astype(int))
        for number in {0, len(self.cached) - 1} if len(self.cached) else ():
            asked = np.concatenate(list(targets.logits(self.teacher, self.stored, some, self.wanted, self.augment, number)))
            cached = self.cached[number][some]
            difference = np.abs(asked.astype(np.float32) - cached).mean() / (cached.astype(np.float32).std() + 1e-6)
            if difference > TOLERANCE:
                raise Fault(f"{targets.LOGITS} doesn't hold what the teacher says of these images (pass {number}: off by "
                            f"{difference:.0%} of the logits' spread); run dvc repro -f teacher_targets")

    def begin_epoch(self, epoch: int) -> None:
        """online: the cache is one pass, refilled for each epoch by the code that fills the cached ones."""
        if self.wanted.mode == "online":
            whole = np.arange(len(self.stored))
            self.cached = np.concatenate(list(targets.logits(self.teacher, self.stored, whole, self.wanted, self.augment,
                                                             epoch)))[None]

    def seen(self, samples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """uint8 (B,H,W,3). clean: a fresh view of the student's own; else the very view that the teacher saw."""
        if self.wanted.mode == "clean":
            return views.view(self.stored, samples, self.augment, seed, epoch)
        number = epoch % self.wanted.views if self.wanted.mode == "views" else epoch
        return views.view(self.stored, samples, self.augment, self.wanted.seed, number)

    def logits(self, samples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """float16 (B,C,*S): of the image, of its mirror image where the view is mirrored, or of the view itself."""
        if self.wanted.mode == "clean":
            return self.cached[views.mirrored(samples, self.augment, seed, epoch).astype(int), samples]
        return self.cached[epoch % self.wanted.views if self.wanted.mode == "views" else 0, samples]


if __name__ == "__main__":
    faults.run(main)
