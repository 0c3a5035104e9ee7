"""Which view a student sees in distillation, and what its teacher says of exactly that: cached, or asked anew.

In: models/targets.npy and targets.json, the teacher, the stored images.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.core import files
from stages.core.errors import UserError
from stages.core.files import read_json
from stages.data import augmentation, prepared
from stages.distillation import teacher_logits
from stages.models import factory

# bf16 rounds a logit by 0.4 %; a teacher that saw another view is off by a fifth and more of the logits' spread.
TOLERANCE = 0.05
CHECKED = 16  # images a pass


class Advice:
    """The view that the student sees, and what the teacher said of exactly that, as `targets.mode` has it."""

    def __init__(self, teacher, stored: augmentation.ImageArrays, wanted: teacher_logits.TargetParams, augment: augmentation.Augment,
                 place: Path):
        """place: a folder for the answers of an epoch, in mode online."""
        self.teacher, self.stored, self.wanted, self.augment, self.place = teacher, stored, wanted, augment, place
        self.cached = np.load(teacher_logits.LOGITS, mmap_mode="r")  # (V,N,C,*S)

    def check(self) -> None:
        """Ask the teacher again about a few images of the first and last pass; UserError where it answers otherwise."""
        made = read_json(teacher_logits.ABOUT)
        images = {split: len(prepared.images(split)) for split in ("train", "unlabelled")}
        now = {**self.wanted.model_dump(), "augment": self.augment.model_dump(), "images": images,
               "passes": teacher_logits.pass_count(self.wanted, self.augment), "teacher_sha256": files.sha256(factory.TEACHER)}
        for key, value in now.items():
            if made.get(key) != value:
                raise UserError(f"{teacher_logits.ABOUT} was made with {key} {made.get(key)!r}, now it is {value!r}; "
                            "run dvc repro teacher_targets")
        if len(self.cached) and self.cached.shape[1] != sum(images.values()):
            raise UserError(f"{teacher_logits.LOGITS} is of {self.cached.shape[1]} images, not {sum(images.values())}; "
                        "run dvc repro -f teacher_targets")
        some = np.unique(np.linspace(0, len(self.stored) - 1, CHECKED).astype(int))
        for number in {0, len(self.cached) - 1} if len(self.cached) else ():
            asked = np.concatenate(list(self._asked(some, number)))
            cached = self.cached[number][some]
            difference = np.abs(asked.astype(np.float32) - cached).mean() / (cached.astype(np.float32).std() + 1e-6)
            if not difference <= TOLERANCE:  # not a number, either
                raise UserError(f"{teacher_logits.LOGITS} doesn't hold what the teacher says of these images (pass {number}: "
                            f"off by {difference:.0%} of the logits' spread); run dvc repro -f teacher_targets")

    def begin_epoch(self, epoch: int) -> None:
        """online: the cache is one pass, refilled for each epoch by the code that fills the cached ones."""
        if self.wanted.mode == "online":
            every, path = np.arange(len(self.stored)), self.place / "online.npy"
            one = next(self._asked(every[:1], epoch))
            files.write_array(path, (1, len(every), *one.shape[1:]), "float16", self._asked(every, epoch))
            self.cached = np.load(path, mmap_mode="r")

    def view(self, seed: int, epoch: int) -> tuple[int, int]:
        """Seed and number of the view that the student sees: a fresh one of its own for `clean`, else its teacher's."""
        return (seed, epoch) if self.wanted.mode == "clean" else (self.wanted.seed, teacher_logits.view_number(self.wanted, epoch))

    def logits(self, samples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """float16 (B,C,*S): of the image, of its mirror image where the view is mirrored, or of the view itself."""
        if self.wanted.mode == "clean":
            return self.cached[augmentation.is_flipped(samples, self.augment, seed, epoch).astype(int), samples]
        return self.cached[teacher_logits.view_number(self.wanted, epoch) if self.wanted.mode == "views" else 0, samples]

    def _asked(self, samples: np.ndarray, number: int) -> Iterator[np.ndarray]:
        """What the teacher says now, in pass `number`, in chunks."""
        return teacher_logits.logits(self.teacher, self.stored, samples, self.wanted, self.augment, number)
