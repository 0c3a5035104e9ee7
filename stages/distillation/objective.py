"""The loss of distillation: what the labels say and what the teacher says, each weighed, as one step of training.

A teacher of an imbalanced set hands its preference for frequent classes on, and undoes what the student's labels are
balanced by. distill.debias takes that share of it out of the teacher's logits, by the logit adjustment of Menon et al.,
"Long-tail learning via logit adjustment", ICLR 2021, equation 9.

Both should prefer alike: distill.debias should be what student_training takes out of the log class shares
(Recipe.levelled) less what teacher_training does, and 0 where the teacher takes out more. For a student with
balanced_softmax: 1 beside a teacher trained with none, 0 beside one trained with balanced_softmax.
"""

import numpy as np
import torch

from stages.distillation import kd_losses, teacher_logits
from stages.distillation.teacher import Advice
from stages.training import losses
from stages.training.optim import Recipe
from stages.training.trainer import Loss


def bias(student: Recipe, teacher: Recipe, distill: kd_losses.DistillParams) -> str:
    """What is amiss where teacher and student are not balanced alike; "" where they are, by the rule above."""
    fitting = max(0.0, student.levelled - teacher.levelled)
    if abs(fitting - distill.debias) < 0.01:
        return ""
    return (f"the teacher's answers prefer other classes than the student's labels do: with imbalance "
            f"{student.imbalance} beside a teacher's {teacher.imbalance}, distill.debias should be {fitting:g}, "
            f"not {distill.debias:g}")


def loss(advice: Advice, seed: int, recipe: Recipe, distill: kd_losses.DistillParams,
         counts: np.ndarray | None, device: torch.device) -> Loss:
    """ce_weight · the supervised loss + kd_weight · the teacher's; its parts apart.

    counts: (C,), of the labels; None where neither recipe.imbalance nor distill.debias asks for them.
    The teacher's answers count where they are kept: at every place, or at every stride-th row and column.
    """
    labelled = losses.Supervised(recipe, counts)
    preference = distill.debias * losses.log_shares(counts) if distill.debias else None

    def parts(logits, labels, samples, epoch):
        soft = torch.from_numpy(advice.logits(samples, seed, epoch)).to(device).float()
        places = logits.ndim - 2
        student, known = (teacher_logits.subsample(values, places, advice.wanted.stride) for values in (logits, labels))
        hard = labelled(logits, labels)
        soft = soft if preference is None else losses.with_shares(soft, -preference)
        taught = kd_losses.distillation_loss(student, soft, known, distill)
        return hard | {"loss": distill.ce_weight * hard["loss"] + distill.kd_weight * taught, distill.loss: taught}

    return parts
