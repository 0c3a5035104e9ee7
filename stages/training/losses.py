"""The loss that teacher, baseline and student learn from labels by: cross-entropy, with class weights or logit
adjustment for imbalanced data, and Dice.

Contract: logits (N,C,*S), targets int64 (N,*S), S = () for classification, (H,W) for segmentation. Only labelled
positions count, those with a target ≥ 0; the rest changes neither loss nor gradient.
"""

import numpy as np
import torch
from torch.nn import functional

from stages.data.prepared import IGNORED
from stages.training.batches import Batch, class_weights
from stages.training.optim import Recipe


class LabelLoss:
    """cross_entropy + dice_weight · dice, as `recipe` has them.

    class_counts: (C,), how many labelled positions each class has; None where recipe.imbalance is none.
    """

    def __init__(self, recipe: Recipe, class_counts: np.ndarray | None):
        self.recipe = recipe
        self.weights = (class_weights(class_counts, recipe.class_weight_power)
                        if recipe.imbalance == "class_weight" else None)
        self.log_shares = log_shares(class_counts) if recipe.imbalance == "balanced_softmax" else None

    def __call__(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The sum as "loss", and its parts "cross_entropy" and, where dice_weight is not 0, "dice".

        logits: float32 (B,C,*S). Of the batch only the labels are used.
        Dice counts rare classes as much as others by itself: balanced_softmax doesn't adjust its logits.
        """
        adjusted = logits if self.log_shares is None else adjust_logits(logits, self.log_shares)
        cross_entropy = cross_entropy_loss(adjusted, batch.labels, self.recipe.label_smoothing, self.weights)
        if not self.recipe.dice_weight:
            return {"loss": cross_entropy, "cross_entropy": cross_entropy}
        dice = dice_loss(logits, batch.labels)
        return {"loss": cross_entropy + self.recipe.dice_weight * dice, "cross_entropy": cross_entropy, "dice": dice}


def cross_entropy_loss(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float,
                       weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over the labelled positions, ≥ 0; 0 where there are none. label_smoothing in [0, 1).

    weights: (C,), a weight for each class, or None. With weights the mean is a weighted one, so that a batch which
    happens to hold rare classes takes no larger step than another.
    """
    is_labelled = targets >= 0
    weights = None if weights is None else weights.to(logits.device)
    total = functional.cross_entropy(logits.float(), targets.masked_fill(~is_labelled, IGNORED), weights,
                                     ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum")
    if weights is None:
        return total / is_labelled.sum().clamp(min=1)
    return total / weights[targets[is_labelled]].sum().clamp(min=torch.finfo(weights.dtype).tiny)


def log_shares(class_counts: np.ndarray) -> torch.Tensor:
    """float32 (C,): log of each class's share of the labelled positions; a class that never occurs counts as one."""
    counts = np.maximum(class_counts, 1)
    return torch.from_numpy(np.log(counts / counts.sum())).float()


def adjust_logits(logits: torch.Tensor, adjustment: torch.Tensor) -> torch.Tensor:
    """float32 (N,C,*S): the logits plus an adjustment a class, (C,).

    With the log shares it makes the balanced softmax: the network needn't learn which classes are frequent, and
    its plain logits, which are deployed, are those for classes that occur alike. Ren et al., "Balanced Meta-Softmax for
    Long-Tailed Visual Recognition", NeurIPS 2020, equation 4; Menon et al., "Long-tail learning via logit adjustment",
    ICLR 2021.
    """
    return logits.float() + adjustment.to(logits.device).view(1, -1, *(1,) * (logits.ndim - 2))


def dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 − soft Dice, in [0, 1], mean over the classes that the batch's labels hold; 0 where there are none.

    Of a class: 2 Σ p·t / (Σ p + Σ t), p its probability, t 1 where it is the target, sums over the whole batch.
    Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, section 3, with sums for the sums of squares, as in Sudre et al.,
    "Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations", DLMIA 2017. Each
    class has the same weight, however few pixels it has.
    """
    is_labelled = targets >= 0
    probabilities = functional.softmax(logits.float(), 1).movedim(1, -1)[is_labelled]  # (M,C)
    if not len(probabilities):
        return probabilities.sum()
    truth = functional.one_hot(targets[is_labelled], logits.shape[1]).float()
    overlap = 2 * (probabilities * truth).sum(0) / (probabilities.sum(0) + truth.sum(0))  # (C,)
    return 1 - overlap[truth.any(0)].mean()
