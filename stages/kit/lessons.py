"""Lessons made of the prepared arrays: augmented views for training, plain images for validation."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from stages.kit import prepared, views
from stages.kit.supervision import UNLABELLED, cross_entropy_loss
from stages.kit.train import Lesson, Loss

VALIDATION_BATCH = 256


def images(batch: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 (B,H,W,3) → (B,3,H,W) on the device; a permuted NHWC array *is* channels_last."""
    return torch.from_numpy(batch).to(device).permute(0, 3, 1, 2)


def supervised(score: Callable[[], object], augment: views.Augment, seed: int, device: torch.device) -> Lesson:
    """Labelled training images and their labels, view e in epoch e; validated on val."""
    return lesson(views.Images(prepared.images("train")), score, device,
                  lambda stored, samples, epoch: views.view(stored, samples, augment, seed, epoch))


def lesson(stored: views.Images, score: Callable[[], object], device: torch.device,
           view: Callable[[views.Images, np.ndarray, int], np.ndarray], **more) -> Lesson:
    """A lesson on `stored`, whose first images are train's; those beyond carry no label."""
    labels = prepared.targets("train")

    def targets(samples: np.ndarray, epoch: int) -> torch.Tensor:
        found = labels[np.minimum(samples, len(labels) - 1)]
        found[samples >= len(labels)] = UNLABELLED
        return torch.from_numpy(found).to(device)

    return Lesson(len(stored), len(labels), lambda samples, epoch: images(view(stored, samples, epoch), device),
                  targets, lambda: in_order("val", device), score, **more)


def in_order(split: str, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The split's images as stored, with their targets, in batches."""
    pixels, targets = prepared.images(split), prepared.targets(split)
    for start in range(0, len(pixels), VALIDATION_BATCH):
        rows = slice(start, start + VALIDATION_BATCH)
        yield images(np.array(pixels[rows]), device), torch.from_numpy(np.array(targets[rows])).to(device)


def labels_alone(label_smoothing: float) -> Loss:
    """The supervised loss: cross-entropy and nothing else."""
    return lambda logits, targets, samples, epoch: {"loss": cross_entropy_loss(logits, targets, label_smoothing)}
