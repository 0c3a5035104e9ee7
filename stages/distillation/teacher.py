"""Teacher logits for exactly the view that the student is shown: cached, or computed anew.

In: models/targets.npy and targets.json, the teacher, the stored images.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from stages.core.errors import UserError
from stages.core.files import read_json, sha256, write_array
from stages.data import augmentation, prepared
from stages.distillation import teacher_logits
from stages.models import factory

# bf16 rounds a logit by 0.4 %; a teacher that saw another view is off by a fifth and more of the logits' spread.
TOLERANCE = 0.05
CHECKED = 16  # images a pass


class Teacher:
    """Which view the student is shown, and the teacher's logits for it, as `targets.mode` has it."""

    def __init__(self, load: Callable[[], nn.Module], images: augmentation.ImageArrays,
                 params: teacher_logits.TargetParams, augment: augmentation.Augment, folder: Path,
                 classes: int, with_features: bool = False):
        """load: the network's loader, called where logits are computed. folder: for those of an epoch, in mode online.
        with_features: `logits` returns the features that the cache has behind those of the classes, too.
        """
        self.load, self.images, self.params = load, images, params
        self.augment, self.folder, self.classes, self.with_features = augment, folder, classes, with_features
        self.cached = teacher_logits.load(teacher_logits.LOGITS)  # (V,N,C,*S); online (1,U,C,*S), of the images `shown`
        self.shown = np.arange(len(images))

    @cached_property
    def network(self) -> nn.Module:
        return self.load()

    def check_cache(self) -> None:
        """Run the teacher again on a few images of the first and the last pass.

        Raises UserError where its logits are others, or where the cache was made from something else.
        """
        made = read_json(teacher_logits.ABOUT)
        counts = {split: len(prepared.images(split)) for split in ("train", "unlabelled")}
        for key, value in teacher_logits.about(self.params, self.augment, counts, sha256(factory.TEACHER)).items():
            if made.get(key) != value:
                raise UserError(f"{teacher_logits.ABOUT} was made with {key} {made.get(key)!r}, now it is {value!r}; "
                                "run dvc repro teacher_targets")
        if len(self.cached) and self.cached.shape[1] != sum(counts.values()):
            raise UserError(f"{teacher_logits.LOGITS} is of {self.cached.shape[1]} images, not "
                            f"{sum(counts.values())}; run dvc repro -f teacher_targets")
        samples = prepared.evenly_spaced(len(self.images), CHECKED)
        for number in {0, len(self.cached) - 1} if len(self.cached) else ():
            computed = np.concatenate(list(self._compute(samples, number))).astype(np.float32)
            cached = self.cached[number][samples].astype(np.float32)
            for name, part in (("logits", slice(self.classes)), ("features", slice(self.classes, None))):
                difference = _difference(computed[:, part], cached[:, part])
                if not difference <= TOLERANCE:  # NaN too
                    raise UserError(f"{teacher_logits.LOGITS} doesn't hold the teacher's {name} for these images (pass "
                                    f"{number}: off by {difference:.0%} of the {name}' spread); run dvc repro -f "
                                    "teacher_targets")

    def start_epoch(self, epoch: int, samples: np.ndarray) -> None:
        """samples: that the epoch will show. online: the cache holds a row for each of them, computed for each epoch by
        the code that fills the cached passes.
        """
        if self.params.mode == "online":
            self.shown, path = np.unique(samples), self.folder / "online.npy"
            one = next(self._compute(self.shown[:1], epoch))
            write_array(path, (1, len(self.shown), *one.shape[1:]), "float16", self._compute(self.shown, epoch))
            self.cached = np.load(path, mmap_mode="r")

    def view_key(self, seed: int, epoch: int) -> tuple[int, int]:
        """Seed and number of the view that the student is shown: one of its own for `clean`, else its teacher's."""
        if self.params.mode == "clean":
            return seed, epoch
        return self.params.seed, teacher_logits.view_number(self.params, epoch)

    def logits(self, samples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """float16 (B,C,*S): for the image or, where the view is mirrored, its mirror image; or for the view itself.
        (B,C+D) where targets.features is true and distill.feature_weight isn't 0.
        """
        number, rows = 0, samples
        match self.params.mode:
            case "clean":
                number = augmentation.is_flipped(samples, self.augment, seed, epoch).astype(int)
            case "views":
                number = teacher_logits.view_number(self.params, epoch)
            case "online":
                rows = np.searchsorted(self.shown, samples)
        return self.cached[number, rows, :None if self.with_features else self.classes]

    def first_pass(self, samples: np.ndarray) -> np.ndarray:
        """float16 (B,C,*S), with targets.features (B,C+D): pass 0 of these images, features in any case."""
        return (np.concatenate(list(self._compute(samples, 0))) if self.params.mode == "online"
                else self.cached[0, samples])

    def _compute(self, samples: np.ndarray, number: int) -> Iterator[np.ndarray]:
        """The teacher's logits of pass `number`, computed now, in chunks."""
        return teacher_logits.logits(self.network, self.images, samples, self.params, self.augment, number)


def _difference(computed: np.ndarray, cached: np.ndarray) -> float:
    """The mean one, in parts of the cached values' spread; 0 of no values."""
    return float(np.abs(computed - cached).mean() / (cached.std() + 1e-6)) if computed.size else 0.0
