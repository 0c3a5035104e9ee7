"""Learning from a teacher's logits. One loss is one function and one entry of LOSSES.

Contract: student and teacher logits (N,C,*S), targets int64 (N,*S); class axis 1; computed in float32 from
log_softmax; the mean over the positions that are not IGNORED. Each is scaled by T², so that its gradient keeps its
size whatever the temperature (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
section 2). None depends on the resolution: upsampling both maps by 2 changes nothing.

A loss takes float32 logits (N,C,P) and targets (N,P), the P places of an image in a row: one for classification.
"""

from typing import Literal, Self

import pydantic
import torch
from torch.nn import functional

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.prepared import IGNORED


class DistillParams(Section):
    """How the student learns from its teacher: loss = ce_weight · cross-entropy + kd_weight · `loss` + feature_weight ·
    (1 − cosine of the features)."""

    loss: Literal["kd", "dkd", "dist", "cwd"]  # cwd: segmentation
    temperature: float = pydantic.Field(gt=0, le=100)  # softens both sides' logits
    kd_weight: float = pydantic.Field(ge=0, le=10**6)
    ce_weight: float = pydantic.Field(ge=0, le=10**6)
    standardise: bool  # kd and dkd: logits to zero mean, unit deviation over the classes first
    dkd_beta: float = pydantic.Field(ge=0, le=10**6)  # dkd: weight of what the teacher says of the other classes
    debias: float = pydantic.Field(ge=0, le=1)  # share of the log class shares taken out of the teacher's logits
    feature_weight: float = pydantic.Field(ge=0, le=10**6)  # of the distance to the teacher's features (features.py)
    unlabelled: bool  # unlabelled images take part, with the teacher's loss alone

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if self.standardise and self.loss in ("dist", "cwd"):
            raise ValueError("standardise goes with loss: kd or dkd (dist ignores shift and scale already, "
                             "cwd compares places and not classes)")
        if self.debias and self.loss == "cwd":
            raise ValueError("debias goes with loss: kd, dkd or dist (it shifts a class as a whole, which cwd "
                             "ignores)")
        if not self.kd_weight and not self.feature_weight:
            raise ValueError("kd_weight and feature_weight are 0: nothing would be distilled; the baseline is that "
                             "already")
        return self


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor,
                      params: DistillParams) -> torch.Tensor:
    """The loss that `params` names, ≥ 0, a scalar. 0 where every position is IGNORED.

    Raises UserError where the loss needs an answer for each pixel and there is one an image.
    """
    student, teacher = (logits.float().reshape(*logits.shape[:2], -1) for logits in (student, teacher))  # (N,C,P)
    targets = targets.reshape(len(targets), -1)  # (N,P)
    if not (targets != IGNORED).any():
        return student[:0].sum()
    return LOSSES[params.loss](student, teacher, targets, params) * params.temperature**2


def check_places(params: DistillParams, places: int) -> None:
    """places: how many positions an image has. Raises UserError where the loss compares them and there is one."""
    if params.loss == "cwd" and places == 1:
        raise UserError("params.yaml: distill.loss cwd compares the places of an image, so it needs segmentation; "
                        "use kd, dkd or dist")


def kd(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, params: DistillParams) -> torch.Tensor:
    """KL(teacher ‖ student) of softened logits, mean over the positions. Hinton, Vinyals and Dean, 2015."""
    student, teacher, _ = _rows(student, teacher, targets, params)
    return _kl(functional.log_softmax(student, 1), functional.log_softmax(teacher, 1)).mean()


def dkd(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, params: DistillParams) -> torch.Tensor:
    """Target class against the rest, plus dkd_beta · the rest among themselves: Zhao et al., "Decoupled Knowledge
    Distillation", CVPR 2022, equation 7 with α = 1. Without a label the teacher's top class stands for the target.
    """
    student, teacher, targets = _rows(student, teacher, targets, params)
    target = torch.where(targets >= 0, targets, teacher.argmax(1))[:, None]  # (M,1)
    is_target = torch.zeros_like(student, dtype=torch.bool).scatter(1, target, True)
    (student_pair, student_rest), (teacher_pair, teacher_rest) = (
        _decoupled(logits, is_target) for logits in (student, teacher))
    return (_kl(student_pair, teacher_pair) + params.dkd_beta * _kl(student_rest, teacher_rest)).mean()


def dist(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, params: DistillParams) -> torch.Tensor:
    """1 − Pearson correlation of probabilities, over the classes of a position and over the positions of a class:
    Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, equations 8–10 with β = γ = 1.
    """
    student, teacher, _ = _rows(student, teacher, targets, params)
    student, teacher = functional.softmax(student, 1), functional.softmax(teacher, 1)
    return (1 - _correlation(student, teacher)).mean() + (1 - _correlation(student.T, teacher.T)).mean()


def cwd(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, params: DistillParams) -> torch.Tensor:
    """KL(teacher ‖ student) of where in an image each class is, a softmax over the places; mean over the classes
    and the images with a valid place: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV
    2021, section 3. Blind to a class's logits being higher everywhere, so it goes with a cross-entropy.
    """
    check_places(params, student.shape[2])
    is_ignored = (targets == IGNORED)[:, None]  # (N,1,P)
    has_valid = ~is_ignored.all(2)[:, 0]  # (N,)
    student, teacher = (
        functional.log_softmax((logits / params.temperature).masked_fill(is_ignored, -torch.inf)[has_valid],
                               2).masked_fill(is_ignored[has_valid], 0)  # 0 on both sides: no divergence
        for logits in (student, teacher))
    return _kl(student.flatten(0, 1), teacher.flatten(0, 1)).mean()


LOSSES = {"kd": kd, "dkd": dkd, "dist": dist, "cwd": cwd}


def _rows(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor,
          params: DistillParams) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N,C,P), (N,C,P), (N,P) → (M,C), (M,C), (M,): the M valid positions; softened, standardised if asked."""
    valid = (targets != IGNORED).reshape(-1)
    student, teacher = (logits.movedim(1, -1).reshape(-1, logits.shape[1])[valid] for logits in (student, teacher))
    if params.standardise:
        student, teacher = _standardised(student), _standardised(teacher)
    return student / params.temperature, teacher / params.temperature, targets.reshape(-1)[valid]


def _standardised(logits: torch.Tensor) -> torch.Tensor:
    """Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, algorithm 1."""
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True, correction=0) + 1e-7)


def _kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher ‖ student) of log-probabilities (M,K), row by row: (M,)."""
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
