"""Small prepared data, recipes, batches and networks for the tests of training, distillation and models."""

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
LRASPP = "lraspp_mobilenet_v3_large"
CPU = torch.device("cpu")


def recipe(**changes) -> Recipe:
    return Recipe(**(RECIPE | changes))


def unet(depth: int, width: int, upsampling: str = "nearest", weights: str = "none") -> factory.NetworkParams:
    return factory.NetworkParams(model="unet", weights=weights,
                                 options={"depth": depth, "width": width, "upsampling": upsampling})


def torchvision_segmentation(architecture: str, weights: str = "none") -> factory.NetworkParams:
    return factory.NetworkParams(model="torchvision_segmentation", weights=weights,
                                 options={"architecture": architecture})


def unet_torchvision(depth: int, width: int, architecture: str = "mobilenet_v2", weights: str = "none"
                     ) -> factory.NetworkParams:
    return factory.NetworkParams(model="unet_torchvision", weights=weights,
                                 options={"architecture": architecture, "depth": depth, "width": width})


def build(params: factory.NetworkParams, classes: int = 4, size: int = 64, seed: int = 0) -> factory.Normalised:
    return factory.build(params, classes, (size, size), seed)


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


def logits(*shape: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def ignored_changes_nothing(student: torch.Tensor, target: torch.Tensor, loss) -> None:
    """Neither loss nor gradient knows what the first two rows hold; a batch of nothing else is worth 0."""
    other = student.clone()
    other[:, :, :2] = 99 * torch.rand(2, 4, 2, 5)
    results = []
    for values in (student, other):
        values = values.clone().requires_grad_()
        results.append(loss(values, target))
        results[-1].backward()
        results.append(values.grad)
    assert results[0] == results[2] > 0 and torch.equal(results[1], results[3])
    assert not results[1][:, :, :2].any() and results[1][:, :, 2:].any()
    values.grad = None
    nothing = loss(values, torch.full_like(target, target[0, 0, 0]))
    nothing.backward()
    assert nothing == 0 and not values.grad.any()
