"""The loss of distillation: what the labels say and what the teacher says, weighted.

A teacher of an imbalanced set hands its preference for frequent classes on to the student, against the student's own
balancing. distill.debias takes that share of the log class shares out of the teacher's logits, by the logit adjustment
of Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, equation 9.

Both should prefer the same classes: distill.debias should be the student's logit adjustment
(Recipe.logit_adjustment) less the teacher's, and 0 where that is larger. For a student with balanced_softmax: 1
with a teacher trained with none, 0 with one trained with balanced_softmax.
"""

import numpy as np
import torch

from stages.distillation import kd_losses, teacher_logits
from stages.training.batches import Batch
from stages.training.losses import LabelLoss, adjust_logits, log_shares
from stages.training.optim import Recipe


class DistillationLoss:
    """ce_weight · the loss on the labels + kd_weight · the divergence from the teacher."""

    def __init__(self, recipe: Recipe, params: kd_losses.DistillParams, stride: int, class_counts: np.ndarray | None):
        """stride: targets.stride, of the rows and columns at which the teacher's logits are kept.
        class_counts: (C,), of the labels; None where neither recipe.imbalance nor distill.debias needs them.
        """
        self.label_loss, self.params, self.stride = LabelLoss(recipe, class_counts), params, stride
        self.bias = params.debias * log_shares(class_counts) if params.debias else None

    def __call__(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The sum as "loss", the parts of the loss on the labels, and the divergence under its own name.

        logits: float32 (B,C,*S). The teacher counts where its logits are kept: at every place, or at every stride-th
        row and column.
        """
        places = logits.ndim - 2
        student, labels = (teacher_logits.subsample(values, places, self.stride) for values in (logits, batch.labels))
        teacher = batch.teacher_logits.float()
        if self.bias is not None:
            teacher = adjust_logits(teacher, -self.bias)
        kd_loss = kd_losses.distillation_loss(student, teacher, labels, self.params)
        parts = self.label_loss(logits, batch)
        loss = self.params.ce_weight * parts["loss"] + self.params.kd_weight * kd_loss
        return parts | {"loss": loss, self.params.loss: kd_loss}


def debias_hint(student: Recipe, teacher: Recipe, params: kd_losses.DistillParams) -> str:
    """What to change where teacher and student prefer different classes; "" where they don't, by the rule above."""
    fitting = max(0.0, student.logit_adjustment - teacher.logit_adjustment)
    if abs(fitting - params.debias) < 0.01:
        return ""
    return (f"the teacher's predictions prefer other classes than the student's labels do: with imbalance "
            f"{student.imbalance} beside a teacher's {teacher.imbalance}, distill.debias should be {fitting:g}, "
            f"not {params.debias:g}")
