"""Last layers that put features behind the logits: the teacher's its own input, the student's a linear map of its input
to the teacher's features.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from stages.models import factory


class StudentHead(nn.Module):
    """The last layer; in training, behind its logits stands what its input says of the teacher's features."""

    def __init__(self, linear: nn.Linear, features: int):
        super().__init__()
        self.linear, self.projector = linear, nn.Linear(linear.in_features, features)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """float (B,F) → (B,C+D), in eval mode (B,C)."""
        logits = self.linear(pooled)
        return torch.cat([logits, self.projector(pooled)], 1) if self.training else logits


class TeacherHead(nn.Module):
    """The last layer; behind its logits stands what it was given."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """float (B,D) → (B,C+D)."""
        return torch.cat([self.linear(pooled), pooled], 1)


def teachers_head(net: nn.Module) -> tuple[nn.Module, str, nn.Linear]:
    """As factory.head, of the teacher's bare network."""
    return factory.head(net, "targets.features", "features: false")


def students_head(net: nn.Module) -> tuple[nn.Module, str, nn.Linear]:
    """As factory.head, of the student's bare network."""
    return factory.head(net, "distill.feature_weight", "feature_weight: 0")


def append_features(teacher: factory.Normalised) -> None:
    """Let a teacher answer with its features behind its logits, from here on."""
    parent, name, linear = teachers_head(teacher.net)
    setattr(parent, name, TeacherHead(linear))


@contextmanager
def feature_projector(network: factory.Normalised, count: int) -> Iterator[None]:
    """A block in which the student, in training, maps its features to so many of its teacher, behind its logits."""
    parent, name, linear = students_head(network.net)
    setattr(parent, name, StudentHead(linear, count).to(linear.weight.device).train(linear.training))
    try:
        yield
    finally:
        setattr(parent, name, linear)
