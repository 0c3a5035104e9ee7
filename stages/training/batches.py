"""Lessons made of the prepared arrays: augmented views for training, plain images for validation."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from stages.core.errors import UserError
from stages.data import augmentation, prepared
from stages.data.prepared import UNLABELLED
from stages.training.losses import Supervised, class_weights
from stages.training.optim import Recipe
from stages.training.trainer import Lesson, Loss

VALIDATION_BATCH = 256
VALIDATION_PIXELS = 2**18  # in a batch at most: it bounds memory where images are large


def images(batch: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 (B,H,W,3) → (B,3,H,W) on the device; a permuted NHWC array *is* channels_last."""
    return torch.from_numpy(batch).to(device).permute(0, 3, 1, 2)


def chances(section: str, recipe: Recipe, counts: np.ndarray | None, unlabelled: int = 0) -> np.ndarray | None:
    """How much more often than another an epoch shows a training image, float64 (N,); None: all alike.

    weighted_sampler: a label's share of all (counts: (C,)) to the power −class_weight_power. The unlabelled ones, the
    last, come up as often as the labelled ones do on average: their part of an epoch stays what it is without it.
    Raises UserError for masks, naming the section of params.yaml.
    """
    if recipe.imbalance != "weighted_sampler":
        return None
    labels = prepared.targets("train")
    if labels.ndim > 1:
        raise UserError(f"params.yaml: {section}.imbalance is weighted_sampler, but the labels are masks, and no image can "
                    "be drawn for one of its classes; use class_weight or balanced_softmax")
    return np.append(class_weights(counts, recipe.class_weight_power).double().numpy()[labels], np.ones(unlabelled))


def supervised(score: Callable[[], object], augment: augmentation.Augment, seed: int, device: torch.device, **more) -> Lesson:
    """Labelled training images and their labels, view e in epoch e; validated on val."""
    return lesson(augmentation.ImageArrays(prepared.images("train")), score, augment, device, lambda epoch: (seed, epoch), **more)


def lesson(stored: augmentation.ImageArrays, score: Callable[[], object], augment: augmentation.Augment, device: torch.device,
           shown: Callable[[int], tuple[int, int]], **more) -> Lesson:
    """A lesson on `stored`, whose first images are train's; those beyond carry no label.

    shown: epoch → seed and number of the view that the images and their masks are shown in. more: of Lesson's fields.
    """
    labels = prepared.targets("train")

    def batch(samples: np.ndarray, epoch: int) -> torch.Tensor:
        return images(augmentation.view(stored, samples, augment, *shown(epoch)), device)

    def targets(samples: np.ndarray, epoch: int) -> torch.Tensor:
        found = augmentation.transform_targets(labels, np.minimum(samples, len(labels) - 1), augment, *shown(epoch)).astype(np.int64)
        found[samples >= len(labels)] = UNLABELLED
        return torch.from_numpy(found).to(device)

    return Lesson(len(stored), len(labels), batch, targets, lambda: in_order("val", device), score, **more)


def in_order(split: str, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The split's images as stored, with their targets, in batches."""
    pixels, targets = prepared.images(split), prepared.targets(split)
    size = max(1, min(VALIDATION_BATCH, VALIDATION_PIXELS // math.prod(pixels.shape[1:3])))
    for start in range(0, len(pixels), size):
        rows = slice(start, start + size)
        yield images(np.array(pixels[rows]), device), torch.from_numpy(targets[rows].astype(np.int64)).to(device)


def labels_alone(recipe: Recipe, counts: np.ndarray | None) -> Loss:
    """What the labels say and nothing else; counts: (C,), as Supervised wants them."""
    said = Supervised(recipe, counts)
    return lambda logits, targets, samples, epoch: said(logits, targets)
