"""What a network learns from: batches of images, labels and teacher logits for training, plain ones for validation.

In: the prepared arrays. Out: `Batch`, the same ones for the same seed and epoch.
"""

import math
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch

from stages.core import ranks
from stages.core.device import thread_count
from stages.core.errors import UserError
from stages.data import augmentation, parallel, prepared, rng
from stages.data.augmentation import Augment, ImageArrays
from stages.data.prepared import UNLABELLED
from stages.training.device_images import DeviceImages, room, sent
from stages.training.optim import Recipe

PIXELS_AT_ONCE = 2**17  # of small images, several steps' batches are made at once: what one takes is mostly its calls
VALIDATION_BATCH = 256
VALIDATION_PIXELS = 2**18  # in a batch at most: it bounds memory where images are large
GPU_VALIDATION_PIXELS = 2**23


class Batch(NamedTuple):
    images: torch.Tensor  # uint8 (B,3,H,W); for a linear probe float32 features (B,F)
    labels: torch.Tensor  # int64 (B,*S), below 0 where there is no label
    teacher_logits: torch.Tensor | None = None  # float16 (B,C,*S), or every stride-th row and column of it
    total: int = 0  # rows of the whole batch, of which these are this process's share

    def split(self, rows: int) -> Iterator["Batch"]:
        """In batches of so many rows."""
        logits = repeat(None) if self.teacher_logits is None else self.teacher_logits.split(rows)
        return map(Batch, self.images.split(rows), self.labels.split(rows), logits)


class Batches:
    """The order of samples, epoch by epoch. Subclasses make batches of them."""

    steps_at_once = 1  # whose batches are made at once, the same ones as one by one

    def __init__(self, samples: int, labelled: int, recipe: Recipe, seed: int, weights: np.ndarray | None = None,
                 threads: int = 0):
        """samples: how many there are, N. labelled: how many of them have labels; an epoch is as long as these.
        weights: float64 (N,), relative sampling weights; None: every sample once in a pass. threads: that make the
        next batches while the network learns from this one, the same ones as without.

        Raises UserError where there are too few labelled images for BatchNorm.
        """
        if labelled < 2:
            raise UserError(f"there is {'one' if labelled else 'no'} labelled training image, but BatchNorm needs two "
                            "at once; add images, or raise split.labelled_fraction")
        self.samples, self.recipe, self.seed, self.weights, self.threads = samples, recipe, seed, weights, threads
        self.size = min(recipe.batch_size, labelled)
        self.steps = max(1, labelled // recipe.batch_size)  # of an epoch

    def epoch(self, number: int) -> Iterator[Batch]:
        """`steps` batches, or this process's share of each; they depend on seed and epoch alone."""
        shares = self.order(number).reshape(self.steps, self.size)[:, ranks.share(self.size)]
        several = (shares[step:step + self.steps_at_once].ravel()
                   for step in range(0, self.steps, self.steps_at_once))
        for made in parallel.prefetch(partial(self.batch, epoch=number), several, self.threads):
            for batch in made.split(shares.shape[1]):
                yield batch._replace(total=self.size)

    def order(self, epoch: int) -> np.ndarray:
        """int (steps · size,): the samples that an epoch shows, in all processes together."""
        count = self.steps * self.size
        if self.weights is None:
            return rng.permutation(self.seed, epoch, self.samples)[:count]
        return rng.weighted_sample(self.weights, self.seed, epoch, count)

    def batch(self, samples: np.ndarray, epoch: int) -> Batch:
        """Of one step, or of several that follow each other."""
        raise NotImplementedError

    def validation(self) -> Iterator[Batch]:
        raise NotImplementedError


def prefetch_threads(device: torch.device) -> int:
    """How many threads make batches ahead: some beside CUDA's GPU; none on a CPU, whose cores all compute the network,
    nor on Apple's, where it was not tried.
    """
    return min(4, thread_count()) if device.type == "cuda" else 0


class ImageBatches(Batches):
    """Augmented views of the training images; with a teacher also its logits for the same views."""

    def __init__(self, recipe: Recipe, seed: int, device: torch.device, weights: np.ndarray | None = None,
                 images: ImageArrays | None = None, teacher=None):
        """images: train's, and behind them unlabelled ones; None: train's alone. teacher: a Teacher of
        stages/distillation/teacher.py, which sets the views and gives its logits for them; None for the baseline.
        """
        self.images = images or ImageArrays(prepared.images("train"))
        self.labels, self.device, self.teacher = prepared.targets("train"), device, teacher
        self.on_gpu = DeviceImages(self.images, device, room(device)) if device.type == "cuda" else None
        super().__init__(len(self.images), len(self.labels), recipe, seed, weights, prefetch_threads(device))
        if device.type == "cpu":
            share = self.size // ranks.world()
            self.steps_at_once = max(1, PIXELS_AT_ONCE // (share * math.prod(self.images.size)))

    def epoch(self, number: int) -> Iterator[Batch]:
        if self.teacher:
            self.teacher.start_epoch(number, self.order(number))
        yield from super().epoch(number)

    def batch(self, samples: np.ndarray, epoch: int) -> Batch:
        augment = self.recipe.augment
        key = self.teacher.view_key(self.seed, epoch) if self.teacher else (self.seed, epoch)
        images = self.views(samples, augment, *key)  # uint8 (B,H,W,3)
        rows = np.minimum(samples, len(self.labels) - 1)
        labels = augmentation.transform_targets(self.labels, rows, augment, *key).astype(np.int64)
        labels[samples >= len(self.labels)] = UNLABELLED
        logits = self.teacher and sent(self.teacher.logits(samples, self.seed, epoch), self.device)
        return Batch(images.permute(0, 3, 1, 2), sent(labels, self.device), logits)

    def views(self, samples: np.ndarray, augment: Augment, seed: int, number: int) -> torch.Tensor:
        """uint8 (B,H,W,3) on the device, computed there where that is a GPU."""
        if self.on_gpu:
            return self.on_gpu.view(samples, augment, seed, number)
        return torch.from_numpy(augmentation.view(self.images, samples, augment, seed, number)).to(self.device)

    def validation(self) -> Iterator[Batch]:
        return in_order("val", self.device)


def in_order(split: str, device: torch.device) -> Iterator[Batch]:
    """The split's images as stored, with their targets, or this process's share of them."""
    images, targets = prepared.images(split), prepared.targets(split)
    pixels = VALIDATION_PIXELS if device.type == "cpu" else GPU_VALIDATION_PIXELS
    size = max(1, min(VALIDATION_BATCH, pixels // math.prod(images.shape[1:3])))

    def batch(share: tuple[slice, int]) -> Batch:
        rows, total = share
        labels = sent(targets[rows].astype(np.int64), device)
        return Batch(to_tensor(np.array(images[rows]), device), labels, total=total)

    return parallel.prefetch(batch, ranks.shares(len(images), size), prefetch_threads(device))


def to_tensor(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 (B,H,W,3) → (B,3,H,W) on the device; a permuted NHWC array *is* channels_last."""
    return sent(images, device).permute(0, 3, 1, 2)


def sample_weights(section: str, recipe: Recipe, class_counts: np.ndarray | None,
                   unlabelled: int = 0) -> np.ndarray | None:
    """Relative sampling weights of the training images, float64 (N,); None where recipe.imbalance isn't
    weighted_sampler.

    The weight of an image is its class's share of the labels (class_counts: (C,)) to the power −class_weight_power, on
    average 1. Unlabelled images, which come last, weigh 1, so that their part of an epoch is the same without weights.
    Raises UserError for masks, naming the section of params.yaml.
    """
    if recipe.imbalance != "weighted_sampler":
        return None
    labels = prepared.targets("train")
    check_imbalance(section, recipe, labels.shape[1:])
    weights = class_weights(class_counts, recipe.class_weight_power).double().numpy()[labels]
    return np.append(weights, np.ones(unlabelled))


def check_imbalance(section: str, recipe: Recipe, places: tuple[int, ...]) -> None:
    """places: S, of a label. Raises UserError for a sampler of masks, naming the section of params.yaml."""
    if recipe.imbalance == "weighted_sampler" and places:
        raise UserError(f"params.yaml: {section}.imbalance is weighted_sampler, but the labels are masks, and no image "
                        "can be drawn for one of its classes; use class_weight or balanced_softmax")


def class_weights(class_counts: np.ndarray, power: float) -> torch.Tensor:
    """float32 (C,): each class's share of the labelled positions to the power −`power`, scaled so that the mean over
    those positions is 1. power in [0, 1]: 0 weighs all alike, 1 gives every class the same sum.

    A class that never occurs gets the weight 1; only label smoothing ever uses it.
    """
    shares = class_counts[class_counts > 0] / max(1, class_counts.sum())
    weights = np.ones(len(class_counts))
    weights[class_counts > 0] = shares**-power / (shares**(1 - power)).sum()
    return torch.from_numpy(weights).float()
