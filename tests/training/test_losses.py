"""The losses of labels against values worked out by hand, class weights, and recipes that make no sense."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_data import ignored_changes_nothing, labelled, logits

from stages.core.errors import UserError
from stages.core.params import parse
from stages.data.prepared import IGNORED, UNLABELLED
from stages.training.batches import class_weights
from stages.training.losses import LabelLoss, cross_entropy_loss, dice_loss
from stages.training.optim import Recipe

WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0])
LOSSES = {"cross-entropy": lambda *given: cross_entropy_loss(*given, 0.1),
          "weighted": lambda *given: cross_entropy_loss(*given, 0.1, WEIGHTS), "dice": dice_loss}


def test_dice_by_hand():
    # Two pixels, each (1/2, 1/2). Labels 0, 1: 2 · 1/2 / (1 + 1) for either class.
    even = torch.zeros(1, 2, 1, 2)
    assert dice_loss(even, torch.tensor([[[0, 1]]])) == pytest.approx(0.5)
    # Labels 0, 0: 2 · 1 / (1 + 2) for class 0; class 1 isn't there and doesn't count.
    assert dice_loss(even, torch.tensor([[[0, 0]]])) == pytest.approx(1 / 3)
    sure = torch.tensor([[[[99.0, -99.0]], [[-99.0, 99.0]]]])
    assert dice_loss(sure, torch.tensor([[[0, 1]]])) == pytest.approx(0, abs=1e-6)
    assert dice_loss(sure, torch.tensor([[[1, 0]]])) == pytest.approx(1, abs=1e-6)


def test_dice_counts_small_classes_as_much_as_large_ones():
    """Of 100 pixels one is of class 1, and it is missed: class 0 is at 198/199, class 1 at 0."""
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[0, 3, 4] = 1
    missed = torch.stack([torch.full((1, 10, 10), 99.0), torch.full((1, 10, 10), -99.0)], 1)
    assert dice_loss(missed, target) == pytest.approx(1 - 198 / 199 / 2, abs=1e-6)


def test_class_weights_by_hand():
    # Shares 0.81, 0.16, 0.03, and one class that never occurs.
    weights = class_weights(np.array([81, 16, 3, 0]), 0.5)
    mean = 0.9 + 0.4 + 0.03**0.5  # Σ share · share^-0.5
    assert weights.tolist() == pytest.approx([1 / 0.9 / mean, 1 / 0.4 / mean, 0.03**-0.5 / mean, 1.0])
    assert (weights[:3] * torch.tensor([0.81, 0.16, 0.03])).sum() == pytest.approx(1)
    assert class_weights(np.array([75, 25]), 1.0).tolist() == pytest.approx([2 / 3, 2])  # each class half of the sum
    for counts in ([81, 16, 3, 0], [0, 0, 0, 0]):
        assert class_weights(np.array(counts), 0.0).tolist() == [1.0] * 4


def test_weighted_cross_entropy_by_hand():
    # −ln p of the targets: ln 4 and ln 4/3; weights 3 and 1.
    student, target = torch.log(torch.tensor([[0.25, 0.75], [0.25, 0.75]])), torch.tensor([0, 1])
    loss = cross_entropy_loss(student, target, 0.0, torch.tensor([3.0, 1.0]))
    assert loss == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4)
    student, target = logits(2, 4, 5, 6, seed=4), torch.randint(0, 4, (2, 5, 6))
    assert cross_entropy_loss(student, target, 0.1, WEIGHTS) == pytest.approx(
        float(functional.cross_entropy(student, target, WEIGHTS, label_smoothing=0.1)), rel=1e-5)


@pytest.fixture
def recipe(project):
    return lambda **changes: Recipe(**project.params()["student_training"] | changes)


def test_the_supervised_loss_and_its_parts(recipe):
    student, target, counts = logits(2, 4, 5, 6, seed=5), torch.randint(0, 4, (2, 5, 6)), np.array([40, 30, 20, 10])
    plain = LabelLoss(recipe(label_smoothing=0.1), counts)(student, labelled(target))
    assert plain == {"loss": plain["cross_entropy"], "cross_entropy": cross_entropy_loss(student, target, 0.1)}
    both = LabelLoss(recipe(imbalance="class_weight", class_weight_power=0.5, dice_weight=2.0), counts)
    parts = both(student, labelled(target))
    assert parts["cross_entropy"] == cross_entropy_loss(student, target, 0.0, class_weights(counts, 0.5))
    assert parts["dice"] == dice_loss(student, target) and parts["cross_entropy"] != plain["cross_entropy"]
    assert parts["loss"] == parts["cross_entropy"] + 2 * parts["dice"]


@pytest.mark.parametrize(("changes", "key"), [
    ({"imbalance": "weights"}, "imbalance"), ({"class_weight_power": 0.0}, "class_weight_power"),
    ({"class_weight_power": 1.5}, "class_weight_power"), ({"dice_weight": -1.0}, "dice_weight")])
def test_senseless_recipes_are_refused_in_one_line(project, changes, key):
    with pytest.raises(UserError, match=rf"student_training\.{key}"):
        parse(Recipe, project.params()["student_training"] | changes, "params.yaml: student_training")


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_resolution_changes_nothing(loss):
    student, target = logits(2, 4, 3, 3, seed=10), torch.randint(-1, 4, (2, 3, 3))
    larger = [value.repeat_interleave(4, -1).repeat_interleave(4, -2) for value in (student, target)]
    assert loss(*larger) == pytest.approx(float(loss(student, target)), rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
@pytest.mark.parametrize("code", [IGNORED, UNLABELLED])
def test_positions_without_a_label_change_nothing(loss, code):
    student, target = logits(2, 4, 5, 5, seed=16), torch.randint(0, 4, (2, 5, 5))
    target[:, :2] = code
    ignored_changes_nothing(student, target, loss)


def test_unlabelled_positions_have_neither_cross_entropy_nor_dice():
    student, unlabelled = logits(3, 4, 2, seed=18), torch.full((3, 2), UNLABELLED)
    assert cross_entropy_loss(student, unlabelled, 0.0) == dice_loss(student, unlabelled) == 0
    mixed = torch.tensor([[2, 1], [UNLABELLED, UNLABELLED], [UNLABELLED, UNLABELLED]])
    assert cross_entropy_loss(student, mixed, 0.0) == cross_entropy_loss(student[:1], mixed[:1], 0.0)
