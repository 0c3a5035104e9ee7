"""Distillation losses against values worked out by hand, and against the traps that real projects fell into."""

import math

import pytest
import torch

from stages.kit.faults import Fault
from stages.kit.losses import LOSSES, DistillParams, distillation_loss
from stages.kit.params import parse
from stages.kit.supervision import IGNORED, UNLABELLED, cross_entropy_loss

BASE = {"loss": "kd", "temperature": 1.0, "kd_weight": 0.9, "ce_weight": 0.1, "standardise": False, "dkd_beta": 4.0,
        "debias": 0.0, "unlabelled": True}
EVERY = [(loss, standardise) for loss in LOSSES for standardise in (False, True)
         if not (standardise and loss == "dist")]


def settings(**changes) -> DistillParams:
    return DistillParams(**(BASE | changes))


def logits(*shape: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def test_kd_by_hand():
    # softmax([ln 3, 0]) = (3/4, 1/4) against (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2)
    teacher, student = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    found = distillation_loss(student, teacher, torch.tensor([0]), settings())
    assert found == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)


def test_kd_by_hand_at_temperature_two():
    # Logits (2 ln 3, 0) at T = 2 are (ln 3, 0) again; the divergence is scaled by T² = 4.
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    found = distillation_loss(student, teacher, torch.tensor([0]), settings(temperature=2.0))
    assert found == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), abs=1e-6)


def test_dkd_by_hand():
    # Probabilities (1/2, 1/3, 1/6) against thirds, target 0. Pairs: (1/2, 1/2) against (1/3, 2/3);
    # the rest among themselves: (2/3, 1/3) against (1/2, 1/2).
    teacher, student = torch.log(torch.tensor([[1 / 2, 1 / 3, 1 / 6]])), torch.zeros(1, 3)
    pair = 0.5 * math.log(0.5 * 3) + 0.5 * math.log(0.5 * 1.5)
    rest = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    found = distillation_loss(student, teacher, torch.tensor([0]), settings(loss="dkd", dkd_beta=8.0))
    assert found == pytest.approx(pair + 8 * rest, abs=1e-6)


def test_dkd_is_kd_when_the_rest_weighs_what_the_teacher_leaves_it():
    # Zhao et al., 2022, equation 6: KD = pair + (1 − teacher's probability of the target) · rest.
    teacher, student, target = logits(1, 5, seed=1), logits(1, 5, seed=2), torch.tensor([3])
    left = float(1 - teacher.softmax(1)[0, 3])
    one = distillation_loss(student, teacher, target, settings(loss="dkd", dkd_beta=left))
    assert one == pytest.approx(float(distillation_loss(student, teacher, target, settings())), abs=1e-5)


def test_dist_is_zero_for_a_shift_and_two_for_opposites():
    teacher = logits(6, 4, seed=3)
    same = distillation_loss(teacher + 5, teacher, torch.zeros(6, dtype=torch.long), settings(loss="dist"))
    assert same == pytest.approx(0, abs=1e-5)
    # Two classes, two images: probabilities that mirror the teacher's correlate at −1, over classes and over images.
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    opposite = distillation_loss(-teacher, teacher, torch.zeros(2, dtype=torch.long), settings(loss="dist"))
    assert opposite == pytest.approx(4, abs=1e-5)


def test_dist_agrees_with_numpy():
    import numpy as np

    student, teacher = logits(5, 3, seed=4), logits(5, 3, seed=5)
    s, t = student.softmax(1).numpy(), teacher.softmax(1).numpy()
    correlation = lambda a, b: np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])  # noqa: E731
    expected = 2 - correlation(s, t) - correlation(s.T, t.T)
    found = distillation_loss(student, teacher, torch.zeros(5, dtype=torch.long), settings(loss="dist"))
    assert found == pytest.approx(expected, abs=1e-5)


def test_standardised_logits_are_blind_to_shift_and_scale():
    student, teacher, target = logits(4, 6, seed=6), logits(4, 6, seed=7), torch.tensor([0, 1, 2, 3])
    for loss in ("kd", "dkd"):
        params = settings(loss=loss, standardise=True, temperature=2.0)
        one = distillation_loss(student, teacher, target, params)
        assert one > 0.01
        other = distillation_loss(3 * student + 1, 7 * teacher - 2, target, params)
        assert other == pytest.approx(float(one), rel=1e-4)


@pytest.mark.parametrize("loss", ["kd", "dkd"])
def test_trap_1_the_gradient_keeps_its_size_at_every_temperature(loss):
    # Small logits, where the softmax is nearly linear, so that T² is exact.
    size = []
    for temperature in (1.0, 2.0, 4.0, 8.0):
        student = logits(8, 10, seed=8, scale=0.01).requires_grad_()
        params = settings(loss=loss, temperature=temperature)
        distillation_loss(student, logits(8, 10, seed=9, scale=0.01), torch.arange(8), params).backward()
        size.append(float(student.grad.norm()))
    assert max(size) < 1.02 * min(size)


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
def test_trap_2_resolution_changes_nothing(loss, standardise):
    params = settings(loss=loss, standardise=standardise, temperature=2.0)
    student, teacher = logits(2, 5, 3, 3, seed=10), logits(2, 5, 3, 3, seed=11)
    target = torch.randint(0, 5, (2, 3, 3), generator=torch.Generator().manual_seed(0))
    larger = [value.repeat_interleave(4, -1).repeat_interleave(4, -2) for value in (student, teacher, target)]
    expected = float(distillation_loss(student, teacher, target, params))
    assert distillation_loss(*larger, params) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
def test_trap_2_the_class_axis_is_1(loss, standardise):
    """A map of logits gives what its pixels, as a list of samples, give."""
    params = settings(loss=loss, standardise=standardise)
    student, teacher = logits(2, 5, 3, 4, seed=12), logits(2, 5, 3, 4, seed=13)
    target = torch.randint(0, 5, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    listed = [value.permute(0, 2, 3, 1).reshape(-1, 5) for value in (student, teacher)]
    expected = distillation_loss(*listed, target.reshape(-1), params)
    assert distillation_loss(student, teacher, target, params) == pytest.approx(float(expected), rel=1e-5)


def test_trap_2_the_number_of_classes_changes_nothing():
    """Classes that both sides hold impossible add nothing."""
    student, teacher = logits(4, 3, seed=14), logits(4, 3, seed=15)
    wider = [torch.cat([value, torch.full((4, 50), -60.0)], 1) for value in (student, teacher)]
    target = torch.tensor([0, 1, 2, 0])
    found = distillation_loss(*wider, target, settings())
    assert found == pytest.approx(float(distillation_loss(student, teacher, target, settings())), rel=1e-5)


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
def test_trap_3_ignored_positions_change_nothing(loss, standardise):
    params = settings(loss=loss, standardise=standardise)
    student, teacher = logits(2, 4, 5, 5, seed=16), logits(2, 4, 5, 5, seed=17)
    target = torch.randint(0, 4, (2, 5, 5), generator=torch.Generator().manual_seed(2))
    target[:, :2] = IGNORED
    other = student.clone()
    other[:, :, :2] = 99 * torch.rand(2, 4, 2, 5)
    assert distillation_loss(student, teacher, target, params) == distillation_loss(other, teacher, target, params)
    assert cross_entropy_loss(student, target, 0.1) == cross_entropy_loss(other, target, 0.1)
    nothing = torch.full_like(target, IGNORED)
    assert distillation_loss(student, teacher, nothing, params) == 0
    assert cross_entropy_loss(student, nothing, 0.1) == 0


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_trap_7_half_precision_logits_stay_finite(loss, standardise, kind):
    """log(softmax(x)) is −inf in half precision from a gap of 18 on; gaps here are 60."""
    student = torch.tensor([[60.0, 0.0, -60.0], [0.0, 60.0, 3.0]], dtype=kind).requires_grad_()
    teacher = torch.tensor([[-60.0, 0.0, 60.0], [60.0, 0.0, 1.0]], dtype=kind)
    params = settings(loss=loss, standardise=standardise)
    found = distillation_loss(student, teacher, torch.tensor([0, 1]), params)
    found.backward()
    assert found.isfinite() and found > 0
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_unlabelled_images_are_taught_but_have_no_cross_entropy(loss):
    student, teacher = logits(3, 4, seed=18), logits(3, 4, seed=19)
    unlabelled = torch.full((3,), UNLABELLED)
    assert distillation_loss(student, teacher, unlabelled, settings(loss=loss)) > 0
    assert cross_entropy_loss(student, unlabelled, 0.0) == 0
    mixed = torch.tensor([2, UNLABELLED, UNLABELLED])
    assert cross_entropy_loss(student, mixed, 0.0) == cross_entropy_loss(student[:1], mixed[:1], 0.0)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_student_that_answers_as_its_teacher_has_nothing_to_learn(loss):
    student = logits(6, 5, seed=20).requires_grad_()
    found = distillation_loss(student, student.detach().clone(), torch.arange(5).repeat(2)[:6], settings(loss=loss))
    found.backward()
    assert found.detach() == pytest.approx(0, abs=1e-5)
    assert student.grad.abs().max() < 1e-4


@pytest.mark.parametrize(("changes", "said"), [
    ({"loss": "kld"}, "distill.loss"), ({"temperature": 0.0}, "distill.temperature"),
    ({"kd_weight": -1.0}, "kd_weight"), ({"kd_weight": 0.0}, "baseline"),
    ({"loss": "dist", "standardise": True}, "standardise")])
def test_senseless_settings_are_refused_in_one_line(changes, said):
    with pytest.raises(Fault, match=said):
        parse(DistillParams, BASE | changes, "params.yaml: distill")
