"""Small prepared data, recipes and batches for the tests of training and distillation."""

from pathlib import Path

import numpy as np
import torch

from stages.data import prepared
from stages.models import factory
from stages.training import batches
from stages.training.batches import Batch, ImageBatches
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe

NET = factory.NetworkParams(model="small_resnet", options={"depth": 8, "width": 4, "stride": 2}, weights="none")
RECIPE = {"seeds": [0], "epochs": 3, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.0005,
          "warmup_epochs": 1.0, "label_smoothing": 0.0, "imbalance": "none", "class_weight_power": 0.5,
          "dice_weight": 0.0, "ema_decay": 0.0, "patience": 0, "keep": "last", "precision": "fp32",
          "augment": {"crop": "pad", "padding": 2, "min_area": 1.0, "flip": True, "turns": False, "colour": 0.0}}
CPU = torch.device("cpu")


def recipe(**changes) -> Recipe:
    return Recipe(**(RECIPE | changes))


def patterns(count: int, seed: int, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that a tiny net tells apart: stripes across, stripes down, noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    stripes = np.indices((size, size))[:, None] // 2 % 2 * 160  # (2,1,H,W)
    noise = generator.integers(0, 96, (count, size, size))
    images = np.where((labels < 2)[:, None, None], stripes[labels % 2, 0] + noise, 2.5 * noise)
    return np.repeat(images.astype(np.uint8)[..., None], 3, 3), labels.astype(np.int64)


def write_prepared(project: Path) -> None:
    """data/prepared of three classes, with unlabelled images."""
    for seed, (split, count) in enumerate({"train": 48, "val": 24, "test": 12, "unlabelled": 20}.items()):
        images, labels = patterns(count, seed)
        folder = project / prepared.FOLDER / split
        folder.mkdir(parents=True)
        np.save(folder / "images.npy", images)
        if split != "unlabelled":
            np.save(folder / "targets.npy", labels)
    (project / prepared.FOLDER / "classes.txt").write_text("across\ndown\nnoise\n")


def image_batches(seed: int = 0, **changes) -> ImageBatches:
    weights = batches.sample_weights("student_training", recipe(**changes), prepared.class_counts(3))
    return ImageBatches(recipe(**changes), seed, CPU, weights)


def label_loss(**changes) -> LabelLoss:
    return LabelLoss(recipe(**changes), prepared.class_counts(3))


def labelled(targets: torch.Tensor) -> Batch:
    """A batch for a loss, of which the labels alone are used."""
    return Batch(None, targets)
