"""Learning from a teacher's logits. One loss is one function and one entry of LOSSES.

Contract: student and teacher logits (N,C,*S), targets int64 (N,*S); class axis 1; computed in float32 from
log_softmax; the mean over the positions that are not IGNORED. Each is scaled by T², so that its gradient keeps its
size whatever the temperature (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
section 2).
"""

from typing import Literal, Self

import numpy as np
import pydantic
import torch
from torch.nn import functional

from stages.kit.params import Section
from stages.kit.supervision import IGNORED


class DistillParams(Section):
    """How the student learns from its teacher: loss = ce_weight · cross-entropy + kd_weight · `loss`."""

    loss: Literal["kd", "dkd", "dist"]
    temperature: float = pydantic.Field(gt=0, le=100)  # softens both sides' logits
    kd_weight: float = pydantic.Field(ge=0)
    ce_weight: float = pydantic.Field(ge=0)
    standardise: bool  # kd and dkd: logits to zero mean, unit deviation over the classes first
    dkd_beta: float = pydantic.Field(ge=0)  # dkd: weight of what the teacher says of the other classes
    debias: float = pydantic.Field(ge=0, le=1)  # share of the log class shares that is taken off the teacher's logits
    unlabelled: bool  # unlabelled images take part, with the teacher's loss alone

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if self.standardise and self.loss == "dist":
            raise ValueError("standardise goes with loss: kd or dkd (dist is blind to a shift and a scale already)")
        if not self.kd_weight:
            raise ValueError("kd_weight is 0: nothing would be distilled; the baseline is that already")
        return self


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor,
                      params: DistillParams) -> torch.Tensor:
    """The loss that `params` names, ≥ 0, a scalar. 0 where every position is IGNORED."""
    valid = (targets != IGNORED).reshape(-1)
    student, teacher = _rows(student)[valid], _rows(teacher)[valid]  # (M,C), M valid positions
    if not len(student):
        return student.sum()
    if params.standardise:
        student, teacher = _standardised(student), _standardised(teacher)
    temperature = params.temperature
    return LOSSES[params.loss](student / temperature, teacher / temperature, targets.reshape(-1)[valid],
                               params) * temperature**2


def debiased(teacher: torch.Tensor, counts: np.ndarray, params: DistillParams) -> torch.Tensor:
    """Teacher logits (N,C,*S) less debias · log of each class's share of the training labels; counts: (C,).

    A teacher of an imbalanced set hands its preference for frequent classes on; this takes it out, by the logit
    adjustment of Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, equation 9.
    """
    shares = torch.from_numpy(np.maximum(counts, 1) / np.maximum(counts, 1).sum()).to(teacher)
    return teacher - params.debias * shares.log().view(1, -1, *(1,) * (teacher.ndim - 2))


def kd(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, params: DistillParams) -> torch.Tensor:
    """KL(teacher ‖ student) of softened logits (M,C), mean over M. Hinton, Vinyals and Dean, 2015."""
    return _kl(functional.log_softmax(student, 1), functional.log_softmax(teacher, 1)).mean()


def dkd(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, params: DistillParams) -> torch.Tensor:
    """Target class against the rest, plus dkd_beta · the rest among themselves: Zhao et al., "Decoupled Knowledge
    Distillation", CVPR 2022, equation 7 with α = 1. Without a label the teacher's top class stands for the target.
    """
    target = torch.where(targets >= 0, targets, teacher.argmax(1))[:, None]  # (M,1)
    is_target = torch.zeros_like(student, dtype=torch.bool).scatter(1, target, True)
    (student_pair, student_rest), (teacher_pair, teacher_rest) = (
        _decoupled(logits, is_target) for logits in (student, teacher))
    return (_kl(student_pair, teacher_pair) + params.dkd_beta * _kl(student_rest, teacher_rest)).mean()


def dist(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, params: DistillParams) -> torch.Tensor:
    """1 − Pearson correlation of probabilities, over the classes of a position and over the positions of a class:
    Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, equations 8–10 with β = γ = 1.
    """
    student, teacher = functional.softmax(student, 1), functional.softmax(teacher, 1)
    return (1 - _correlation(student, teacher)).mean() + (1 - _correlation(student.T, teacher.T)).mean()


LOSSES = {"kd": kd, "dkd": dkd, "dist": dist}


def _rows(logits: torch.Tensor) -> torch.Tensor:
    """(N,C,*S) → float32 (N·S,C)."""
    return logits.float().movedim(1, -1).reshape(-1, logits.shape[1])


def _standardised(logits: torch.Tensor) -> torch.Tensor:
    """Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, algorithm 1."""
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True, correction=0) + 1e-7)


def _kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher ‖ student) of log-probabilities (M,C), summed over the classes: (M,)."""
    return (teacher.exp() * (teacher - student)).sum(1)


def _decoupled(logits: torch.Tensor, is_target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of (target, all others): (M,2), and of the others among themselves: (M,C), 0 at the target."""
    log_probabilities = functional.log_softmax(logits, 1)
    others = log_probabilities.masked_fill(is_target, -torch.inf)
    rest = others.logsumexp(1, keepdim=True)  # (M,1)
    pair = torch.cat([log_probabilities[is_target][:, None], rest], 1)
    # Equal on both sides at the target, so that it adds nothing to the divergence.
    return pair, (log_probabilities - rest).masked_fill(is_target, 0)


def _correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Pearson's, row by row: (M,K), (M,K) → (M,)."""
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    return functional.cosine_similarity(one, other, dim=1, eps=1e-8)
