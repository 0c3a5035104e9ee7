"""Learning from labels: the loss that teacher, baseline and student share. In: a recipe, how often each class occurs.

Contract: logits (N,C,*S), targets int64 (N,*S), S = () for classification, (H,W) for segmentation. Only labelled
positions count, those with a target ≥ 0; the rest changes neither loss nor gradient.
"""

import numpy as np
import torch
from torch.nn import functional

from stages.data.prepared import IGNORED
from stages.training.optim import Recipe


class Supervised:
    """What the labels say, as `recipe` weighs it.

    counts: (C,), how many labelled positions each class has; None where recipe.imbalance is none.
    """

    def __init__(self, recipe: Recipe, counts: np.ndarray | None):
        self.recipe = recipe
        self.weights = class_weights(counts, recipe.class_weight_power) if recipe.imbalance == "class_weight" else None
        self.log_shares = log_shares(counts) if recipe.imbalance == "balanced_softmax" else None

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """loss = cross_entropy + dice_weight · dice, and these two apart; without a dice_weight there is no dice.

        Dice minds rare classes by itself: balanced_softmax leaves it the plain logits.
        """
        told = logits if self.log_shares is None else with_shares(logits, self.log_shares)
        hard = cross_entropy_loss(told, targets, self.recipe.label_smoothing, self.weights)
        if not self.recipe.dice_weight:
            return {"loss": hard, "cross_entropy": hard}
        dice = dice_loss(logits, targets)
        return {"loss": hard + self.recipe.dice_weight * dice, "cross_entropy": hard, "dice": dice}


def cross_entropy_loss(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float,
                       weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over the labelled positions, ≥ 0; 0 where there are none. label_smoothing in [0, 1).

    weights: (C,) or none; a position counts as much as its class weighs, and the sum is divided by that of these
    weights, not by the number of positions: a mean stays a mean, and a batch that happens to hold rare classes takes
    no larger step than another.
    """
    labelled = targets >= 0
    weights = None if weights is None else weights.to(logits.device)
    total = functional.cross_entropy(logits.float(), targets.masked_fill(~labelled, IGNORED), weights,
                                     ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum")
    if weights is None:
        return total / labelled.sum().clamp(min=1)
    return total / weights[targets[labelled]].sum().clamp(min=torch.finfo(weights.dtype).tiny)


def class_weights(counts: np.ndarray, power: float) -> torch.Tensor:
    """float32 (C,): each class's share of the labelled positions to the power −`power`, scaled so that the mean over
    those positions is 1. power in [0, 1]: 0 weighs all alike, 1 gives every class the same sum.

    A class that never occurs weighs 1, as the average position does: only label smoothing ever asks for it.
    """
    shares = counts[counts > 0] / max(1, counts.sum())
    weights = np.ones(len(counts))
    weights[counts > 0] = shares**-power / (shares**(1 - power)).sum()
    return torch.from_numpy(weights).float()


def log_shares(counts: np.ndarray) -> torch.Tensor:
    """float32 (C,): log of each class's share of the labelled positions; a class that never occurs is taken for one."""
    known = np.maximum(counts, 1)
    return torch.from_numpy(np.log(known / known.sum())).float()


def with_shares(logits: torch.Tensor, log_shares: torch.Tensor) -> torch.Tensor:
    """float32 (N,C,*S): the logits with a preference, (C,), added: for the log shares themselves, what the balanced
    softmax hands the cross-entropy.

    The preference for frequent classes is given, so that the network needn't learn it; without it, as they are
    deployed, the logits are those of classes that occur alike. Ren et al., "Balanced Meta-Softmax for Long-Tailed
    Visual Recognition", NeurIPS 2020, equation 4; Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
    """
    return logits.float() + log_shares.to(logits.device).view(1, -1, *(1,) * (logits.ndim - 2))


def dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 − soft Dice, in [0, 1], mean over the classes that the batch's labels hold; 0 where there are none.

    Of a class: 2 Σ p·t / (Σ p + Σ t), p its probability, t 1 where it is the target, sums over the whole batch.
    Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, section 3, with sums for the sums of squares, as in Sudre et al.,
    "Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations", DLMIA 2017. Classes
    count alike, however small.
    """
    labelled = targets >= 0
    chances = functional.softmax(logits.float(), 1).movedim(1, -1)[labelled]  # (M,C)
    if not len(chances):
        return chances.sum()
    truth = functional.one_hot(targets[labelled], logits.shape[1]).float()
    overlap = 2 * (chances * truth).sum(0) / (chances.sum(0) + truth.sum(0))  # (C,)
    return 1 - overlap[truth.any(0)].mean()
