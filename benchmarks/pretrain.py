"""Makes a file that students start from out of Tiny ImageNet, as those in data/weights/ were made.

    make preset NAME=tiny_imagenet      then in params.yaml split.image_size: 96,
                                        student.options: {depth: 14, width: 32, stride: 4}
                                        training.processes: 2 and batch_norm: local, for two cores
    dvc repro split
    python -m benchmarks.pretrain [--epochs 24] [--out FILE]

In: the prepared training images; MobileNetV2's ImageNet weights in data/weights/ (its README says how to make that
file). The student of params.yaml learns from three things, each through a head of its own, of which only the first is
kept: the labels; MobileNetV2's answers, of 1000 classes; and the direction of its 1280 features, standardised. For the
first two thirds of the epochs it sees the images at 64 px, which takes half the time. Stopped, it goes on where it was.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from stages.core import errors, files, params, plugins, ranks, workdir
from stages.core.device import choose_device
from stages.core.pretrained import IMAGENET
from stages.data import augmentation, prepared
from stages.distillation.feature_heads import feature_projector
from stages.distillation.features import Distance, of_logits
from stages.models import factory
from stages.training import batches, launch
from stages.training.losses import LabelLoss
from stages.training.optim import Recipe
from stages.training.trainer import Trainer

TEACHER = "mobilenet_v2"
TEACHER_FILE = Path("data/weights/mobilenet_v2-imagenet.safetensors")
TEACHER_SIZE, LOW_SIZE = 128, 64  # pixels inside the teacher, and inside the student at first
LOW_SHARE = 2 / 3  # of the epochs
FEATURES, ANSWERS = 1280, 1000
RECIPE = {"batch_size": 128, "optimizer": "sgd", "learning_rate": 0.2, "weight_decay": 5e-5, "warmup_epochs": 1.0,
          "label_smoothing": 0.0, "imbalance": "none", "dice_weight": 0.0, "ema_decay": 0.0, "patience": 0,
          "keep": "last"}
LABEL_WEIGHT, ANSWER_WEIGHT, FEATURE_WEIGHT, TEMPERATURE = 0.5, 0.5, 3.0, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("data/weights/start.safetensors"))
    options = parser.parse_args()
    device, classes = choose_device("pretrain"), len(prepared.classes())
    recipe = Recipe(**params.load("student_training", Recipe).model_dump() | RECIPE | {"epochs": options.epochs})
    network_params = params.load("student", factory.NetworkParams)
    network = factory.build(network_params, classes, prepared.image_size(), seed=0)
    student, weights = Student(network.to(device)), load_file(TEACHER_FILE)
    key = [recipe, network_params, launch.key()]
    with workdir.folder("pretrain", key, [prepared.FOLDER / "train", TEACHER_FILE]) as folder:
        teacher = Teacher(features(weights, device, folder), student, low_until=round(LOW_SHARE * options.epochs))
        images = augmentation.ImageArrays(prepared.images("train"))
        metric = plugins.module("tasks/*/metric", "classification", "pretrain").Score
        with feature_projector(network, FEATURES + ANSWERS):
            Trainer("pretrain", student, batches.ImageBatches(recipe, 0, device, None, images, teacher),
                    Loss(recipe, classes, teacher, weights, device), of_logits(metric, classes), recipe, 0,
                    folder).fit()
        if ranks.is_main():
            save(network, options.out)


class Student(nn.Module):
    """The network, which in training sees small images at first."""

    def __init__(self, network: factory.Normalised):
        super().__init__()
        self.network, self.is_low = network, False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B,C); in training (B, C + 1280 + 1000), as feature_projector has them."""
        if self.training and self.is_low:
            images = functional.interpolate(images.float(), size=(LOW_SIZE, LOW_SIZE), mode="bilinear")
        return self.network(images)


class Teacher:
    """MobileNetV2's features of each image, whichever view of it is shown; what ImageBatches asks of a teacher."""

    def __init__(self, features: np.ndarray, student: Student, low_until: int):
        """features: float16 (N,1280). low_until: the epoch from which on the student sees images as they are."""
        self.features, self.student, self.low_until = features, student, low_until
        self.distance = Distance(features[::50])

    def start_epoch(self, epoch: int, samples: np.ndarray) -> None:
        self.student.is_low = epoch < self.low_until

    def view_key(self, seed: int, epoch: int) -> tuple[int, int]:
        return seed, epoch

    def logits(self, samples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        return self.features[samples]


class Loss:
    """½ labels + ½ the teacher's answers (Hinton et al., "Distilling the knowledge in a neural network", 2015) + 3 ·
    (1 − cosine of the features).
    """

    def __init__(self, recipe: Recipe, classes: int, teacher: Teacher, weights: dict, device: torch.device):
        self.labels, self.classes = LabelLoss(recipe, None), classes
        self.distance = teacher.distance
        self.weight, self.bias = (weights[f"classifier.1.{part}"].float().to(device) for part in ("weight", "bias"))

    def __call__(self, output: torch.Tensor, batch: batches.Batch) -> dict[str, torch.Tensor]:
        logits, projected, answers = output.split([self.classes, FEATURES, ANSWERS], 1)
        teacher_features = batch.teacher_logits.float()
        kd = TEMPERATURE**2 * functional.kl_div(
            functional.log_softmax(answers / TEMPERATURE, 1),
            functional.softmax(functional.linear(teacher_features, self.weight, self.bias) / TEMPERATURE, 1),
            reduction="batchmean")
        distance = self.distance(projected, teacher_features)
        parts = self.labels(logits, batch)
        loss = LABEL_WEIGHT * parts["loss"] + ANSWER_WEIGHT * kd + FEATURE_WEIGHT * distance
        return parts | {"loss": loss, "kd": kd, "feature_distance": distance}


def features(weights: dict, device: torch.device, folder: Path) -> np.ndarray:
    """MobileNetV2's of the training images at 128 px: float16 (N,1280), mapped from a file."""
    path, images = folder / "features.npy", prepared.images("train")
    if not workdir.sealed(path):
        started = time.perf_counter()
        files.write_array(path, (len(images), FEATURES), "float16", _feature_batches(weights, device, images))
        workdir.seal_whole(path, time.perf_counter() - started)
    return np.load(path, mmap_mode="r")


@torch.inference_mode()
def _feature_batches(weights: dict, device: torch.device, images: np.ndarray) -> Iterator[np.ndarray]:
    from torchvision import models

    net = models.get_model(TEACHER, weights=None)
    net.load_state_dict(weights)
    net = net.features.eval().to(device, memory_format=torch.channels_last)
    mean, deviation = (torch.tensor(part, device=device).view(1, 3, 1, 1) for part in IMAGENET)
    for rows, total in tqdm(list(ranks.shares(len(images), 64)), "MobileNetV2's features", unit="batch", disable=None):
        batch = batches.to_tensor(np.array(images[rows]), device).float()
        batch = functional.interpolate(batch, size=(TEACHER_SIZE, TEACHER_SIZE), mode="bilinear")
        with torch.autocast(device.type, torch.bfloat16):
            pooled = net((batch - mean) / deviation).mean((2, 3))
        yield ranks.gather(pooled.float(), total).cpu().numpy()


def save(network: factory.Normalised, path: Path) -> None:
    """Half floats, with what is to be known of them."""
    state = {name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
             for name, value in network.net.state_dict().items()}
    height, width = prepared.image_size()
    trained_on = f"{params.load_all()['data']['name']} ({len(prepared.classes())} classes), {height}×{width} px"
    about = {factory.NORMALISATION: json.dumps([network.mean.flatten().tolist(), network.std.flatten().tolist()]),
             "trained_on": f"{trained_on}, with MobileNetV2 (ImageNet) as teacher",
             "licence": "non-commercial research and education, as the images of ImageNet"}
    half = path.with_name(f"{path.name}.half")
    save_file(state, half, metadata=about)
    half.replace(path)
    print(f"pretrain: {path} is written", file=sys.stderr)


if __name__ == "__main__":
    errors.run(partial(launch.run, main))
