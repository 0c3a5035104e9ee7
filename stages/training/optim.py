"""How a network is trained: a section of params.yaml, and the optimiser and learning rate that follow from it."""

import math
from typing import Literal, Self

import pydantic
import torch
from torch import nn

from stages.core.params import Section, Seed
from stages.data.augmentation import Augment


class Recipe(Section):
    """Sections teacher_training and student_training (one for baseline and student: the comparison is fair)."""

    seeds: list[Seed] = pydantic.Field(min_length=1)  # one network each; the one best on val is deployed
    epochs: int = pydantic.Field(ge=1, le=10**6)  # one: as many samples as there are labelled training images
    batch_size: int = pydantic.Field(ge=2, le=2**20)
    optimizer: Literal["sgd", "adamw"]  # sgd: Nesterov, momentum 0.9
    learning_rate: float = pydantic.Field(gt=0, le=1000)  # the highest
    weight_decay: float = pydantic.Field(ge=0, le=1000)  # not on biases and BatchNorm
    warmup_epochs: float = pydantic.Field(ge=0)  # linear, then a cosine to zero
    label_smoothing: float = pydantic.Field(ge=0, lt=1)
    # class_weight: rare classes weigh more in the cross-entropy. weighted_sampler: they are drawn more often (not for
    # masks). balanced_softmax: logits are adjusted by the log class shares while training. stages/distillation/
    # objective.py says which distill.debias goes with each.
    imbalance: Literal["none", "class_weight", "weighted_sampler", "balanced_softmax"]
    class_weight_power: float = pydantic.Field(gt=0, le=1)  # of the first two: weight = share ^ −power
    dice_weight: float = pydantic.Field(ge=0, le=10**6)  # of the soft Dice loss beside the cross-entropy; 0: off
    ema_decay: float = pydantic.Field(ge=0, lt=1)  # 0: off; else the averaged weights are validated and kept
    patience: int = pydantic.Field(ge=0)  # 0: off; else stop after so many epochs without a better val score
    keep: Literal["last", "best"]  # which epoch's weights; best: by the val score
    precision: Literal["fp32", "bf16"]
    augment: Augment

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}: they must differ")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}: more than the {self.epochs} epochs")
        if self.patience and self.keep == "last":
            raise ValueError("patience stops after the best epoch: it goes with keep: best")
        return self

    @property
    def logit_adjustment(self) -> float:
        """How much of the log class shares its imbalance setting takes out of the logits: 0 nothing, 1 all."""
        adjustments = {"none": 0.0, "balanced_softmax": 1.0}
        return adjustments.get(self.imbalance, self.class_weight_power)


def _uncompiled(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """torch's optimiser without the wrappers that are there for torch.compile, which isn't used: the first call of one
    imports the compiler, 1.3 s of processor time in each training process.
    """
    return type(kind.__name__, (kind,), {"add_param_group": kind.add_param_group.__wrapped__,
                                         "zero_grad": kind.zero_grad.__wrapped__,
                                         "step": torch.no_grad()(kind.step.__wrapped__)})


SGD, AdamW = _uncompiled(torch.optim.SGD), _uncompiled(torch.optim.AdamW)


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Over the trainable parameters; weight decay on matrices and kernels alone."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": [p for p in trainable if p.ndim > 1], "weight_decay": recipe.weight_decay},
              {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.learning_rate)
    return SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """At `step` (from 0): linear warm-up, then half a cosine (Loshchilov and Hutter, "SGDR", 2017, equation 5)."""
    warmup, total = recipe.warmup_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
