"""Learning from labels: the loss that teacher, baseline and student share, and the codes of targets without a label.

Contract: logits (N,C,*S), targets int64 (N,*S), S = () for classification, (H,W) for segmentation.
"""

import torch
from torch.nn import functional

UNLABELLED = -1  # no label here: no cross-entropy, but a teacher's answer counts
IGNORED = -100  # nothing here counts, in no loss and no metric


def cross_entropy_loss(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Mean over the labelled positions, ≥ 0; 0 where there are none. label_smoothing in [0, 1)."""
    labelled = targets >= 0
    total = functional.cross_entropy(logits.float(), targets.masked_fill(~labelled, IGNORED), ignore_index=IGNORED,
                                     label_smoothing=label_smoothing, reduction="sum")
    return total / labelled.sum().clamp(min=1)
