"""The teacher's features as a second target: what its last layer sees of an image, where the logits of a few classes
say little. The student learns a linear map from its own features to them, which is dropped when it is trained.

Features are compared by their direction: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, compare their
values, whose size says how sure a network is and differs between any two. The teacher's are standardised first.
"""

import numpy as np
import torch
from torch.nn import functional

from stages.core.errors import UserError
from stages.data import prepared
from stages.distillation import kd_losses, teacher_logits
from stages.distillation.teacher import Teacher
from stages.training.batches import Batch
from stages.training.trainer import Loss

SAMPLE = 2000  # images by which features are standardised
LEAST = 0.1  # of the median deviation: of a feature that hardly varies, a rare value would outweigh all others


def check(targets: teacher_logits.TargetParams, distill: kd_losses.DistillParams) -> None:
    """Raises UserError where features count that aren't kept."""
    if distill.feature_weight and not targets.features:
        raise UserError(f"params.yaml: distill.feature_weight is {distill.feature_weight:g}, but targets.features is "
                        "false, so that none of the teacher's are kept; set it true, or feature_weight 0")


class Distance:
    """1 − the cosine between a student's features and the teacher's, standardised; averaged over a batch."""

    def __init__(self, sample: np.ndarray):
        """sample: (N,D), of the teacher's features, by which they are standardised."""
        values = sample.astype(np.float32)
        deviation = values.std(0)
        self.mean = torch.from_numpy(values.mean(0))
        self.deviation = torch.from_numpy(np.maximum(deviation, LEAST * np.median(deviation) + 1e-6))

    def __call__(self, own: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Both (B,D)."""
        self.mean, self.deviation = self.mean.to(teacher.device), self.deviation.to(teacher.device)  # there once
        standardised = (teacher.float() - self.mean) / self.deviation
        return 1 - functional.cosine_similarity(own, standardised, dim=1).mean()


class FeatureLoss:
    """Another loss, of the logits, + weight · the distance of the features."""

    def __init__(self, loss: Loss, weight: float, classes: int, distance: Distance):
        self.loss, self.weight, self.classes, self.distance = loss, weight, classes, distance

    def __call__(self, output: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """output: (B,C+D), as StudentHead has it; batch.teacher_logits: (B,C+D), as the teacher has it."""
        parts = self.loss(output[:, :self.classes],
                          batch._replace(teacher_logits=batch.teacher_logits[:, :self.classes]))
        distance = self.distance(output[:, self.classes:], batch.teacher_logits[:, self.classes:])
        return parts | {"loss": parts["loss"] + self.weight * distance, "feature_distance": distance}


def of_logits(metric: type, classes: int) -> type:
    """A task's Score, of the logits alone."""

    class OfLogits(metric):
        def update(self, output: torch.Tensor, labels: torch.Tensor) -> None:
            super().update(output[:, :classes], labels)

    return OfLogits


def sample(teacher: Teacher, classes: int) -> np.ndarray:
    """The teacher's features of some of its images: float16 (N,D)."""
    return teacher.first_pass(prepared.evenly_spaced(len(teacher.images), SAMPLE))[:, classes:]
