"""A linear head on a frozen backbone, whose features of image and mirror image are computed once."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from stages.core import ranks, workdir
from stages.core.device import autocast
from stages.core.errors import UserError
from stages.core.files import write_array
from stages.data import augmentation, prepared
from stages.models import factory
from stages.training.batches import VALIDATION_BATCH, Batch, Batches, prefetch_threads, to_tensor
from stages.training.optim import Recipe


def check_augment(augment: augmentation.Augment) -> None:
    """Raises UserError for views that have no features yet."""
    if augment.crop != "none" or augment.colour or augment.turns:
        raise UserError("params.yaml: teacher.mode is frozen, so the backbone sees each image and its mirror image "
                        "once; set teacher_training.augment.crop to none, colour to 0.0 and turns to false, or "
                        "teacher.mode to finetune")


class LinearProbe:
    """The backbone of a network with pre-trained weights, and the features that it computes of train and val."""

    def __init__(self, network: factory.Normalised, recipe: Recipe, folder: Path):
        """folder: keeps the features for a resumed run. Raises UserError for a network without a linear layer."""
        self.backbone, self.recipe, self.folder = factory.freeze(copy.deepcopy(network)), recipe, folder
        self.device = next(network.parameters()).device
        self.parent, self.name, head = factory.head(self.backbone.net)
        self.width = head.in_features
        setattr(self.parent, self.name, nn.Identity())
        self.seconds = 0.0  # what computing the features took, in all runs together
        self.train = self._features("train", (False, True) if recipe.augment.flip else (False,))  # (1 or 2,N,F)
        self.val = self._features("val", (False,))[0]  # (N,F)

    def batches(self, seed: int, weights: np.ndarray | None) -> "FeatureBatches":
        return FeatureBatches(self, seed, weights)

    def with_head(self, head: nn.Linear) -> factory.Normalised:
        """The whole network, with this head in its place."""
        setattr(self.parent, self.name, head)
        return self.backbone

    def _features(self, split: str, flips: tuple[bool, ...]) -> np.ndarray:
        """float32 (passes,N,F), mapped from a file: features of a split's images, as stored and mirrored."""
        path = self.folder / f"features-{split}.npy"
        done = workdir.sealed(path)
        if not done:
            images, started = augmentation.ImageArrays(prepared.images(split)), time.perf_counter()
            write_array(path, (len(flips), len(images), self.width), "float32", self._passes(split, images, flips))
            done = workdir.seal_whole(path, time.perf_counter() - started)
        self.seconds += done.seconds
        return np.load(path, mmap_mode="r")

    @torch.inference_mode()
    def _passes(self, split: str, images: augmentation.ImageArrays, flips: tuple[bool, ...]) -> Iterator[np.ndarray]:
        chunks = [(flip, np.arange(rows.start, rows.stop), total)
                  for flip in flips for rows, total in ranks.shares(len(images), self.recipe.batch_size)]
        for flip, rows, total in tqdm(chunks, desc=f"backbone over {split}", unit="batch", disable=None):
            batch = to_tensor(augmentation.unaugmented(images, rows, flip), self.device)
            with autocast(self.device, self.recipe.precision):
                yield ranks.gather(self.backbone(batch), total).cpu().numpy()


class FeatureBatches(Batches):
    """Batches of features (B,F) in place of images."""

    def __init__(self, probe: LinearProbe, seed: int, weights: np.ndarray | None):
        self.probe, self.labels = probe, prepared.targets("train")
        super().__init__(len(self.labels), len(self.labels), probe.recipe, seed, weights,
                         prefetch_threads(probe.device))

    def batch(self, samples: np.ndarray, epoch: int) -> Batch:
        is_flipped = augmentation.is_flipped(samples, self.recipe.augment, self.seed, epoch)
        return self._tensors(self.probe.train[is_flipped.astype(int), samples], self.labels[samples])

    def validation(self) -> Iterator[Batch]:
        labels = prepared.targets("val")
        for rows, total in ranks.shares(len(labels), VALIDATION_BATCH):
            yield self._tensors(self.probe.val[rows], labels[rows])._replace(total=total)

    def _tensors(self, features: np.ndarray, labels: np.ndarray) -> Batch:
        return Batch(*(torch.from_numpy(values).to(self.probe.device)
                       for values in (np.array(features), labels.astype(np.int64))))
