"""The loss of distillation: what the labels say and what the teacher says, each weighed, as one step of training."""

import numpy as np
import torch

from stages.kit import losses, supervision, targets
from stages.kit.advice import Advice
from stages.kit.recipe import Recipe
from stages.kit.train import Loss


def loss(advice: Advice, seed: int, recipe: Recipe, distill: losses.DistillParams,
         counts: np.ndarray, device: torch.device) -> Loss:
    """ce_weight · the supervised loss + kd_weight · the teacher's; its parts apart. counts: (C,), of the labels.

    The teacher's answers count where they are kept: at every place, or at every stride-th row and column.
    """
    labelled = supervision.Supervised(recipe, counts)

    def parts(logits, labels, samples, epoch):
        soft = torch.from_numpy(advice.logits(samples, seed, epoch)).to(device).float()
        places = logits.ndim - 2
        student, known = (targets.thinned(values, places, advice.wanted.stride) for values in (logits, labels))
        hard = labelled(logits, labels)
        taught = losses.distillation_loss(student, losses.debiased(soft, counts, distill), known, distill)
        return hard | {"loss": distill.ce_weight * hard["loss"] + distill.kd_weight * taught, distill.loss: taught}

    return parts
