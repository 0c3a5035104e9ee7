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
LEAST = 1e-3  # added to their deviations, since one may be the same for all images


def check(targets: teacher_logits.TargetParams, distill: kd_losses.DistillParams) -> None:
    """Raises UserError where features count that aren't kept."""
    if distill.feature_weight and not targets.features:
        raise UserError(f"params.yaml: distill.feature_weight is {distill.feature_weight:g}, but targets.features is "
                        "false, so that none of the teacher's are kept; set it true, or feature_weight 0")


class FeatureLoss:
    """Another loss, of the logits, + weight · (1 − cosine of the features)."""

    def __init__(self, loss: Loss, weight: float, classes: int, mean: np.ndarray, deviation: np.ndarray):
        """mean, deviation: float32 (D,), of the teacher's features."""
        self.loss, self.weight, self.classes = loss, weight, classes
        self.mean, self.deviation = torch.from_numpy(mean), torch.from_numpy(deviation)

    def __call__(self, output: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """output: (B,C+D), as StudentHead has it; batch.teacher_logits: (B,C+D), as the teacher has it."""
        parts = self.loss(output[:, :self.classes],
                          batch._replace(teacher_logits=batch.teacher_logits[:, :self.classes]))
        own, teacher = output[:, self.classes:], batch.teacher_logits[:, self.classes:].float()
        standardised = (teacher - self.mean.to(teacher.device)) / self.deviation.to(teacher.device)
        distance = 1 - functional.cosine_similarity(own, standardised, dim=1).mean()
        return parts | {"loss": parts["loss"] + self.weight * distance, "feature_distance": distance}


def of_logits(metric: type, classes: int) -> type:
    """A task's Score, of the logits alone."""

    class OfLogits(metric):
        def update(self, output: torch.Tensor, labels: torch.Tensor) -> None:
            super().update(output[:, :classes], labels)

    return OfLogits


def mean_and_deviation(teacher: Teacher, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the teacher's features, float32 (D,) each, by some of its images."""
    samples = prepared.evenly_spaced(len(teacher.images), SAMPLE)
    values = teacher.first_pass(samples)[:, classes:].astype(np.float32)
    return values.mean(0), values.std(0) + LEAST
