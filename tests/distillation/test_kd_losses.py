"""The losses of a teacher against values worked out by hand, and against mistakes that real projects made."""

import math

import numpy as np
import pytest
import torch
from training_data import ignored_changes_nothing, logits

from stages.core.errors import UserError
from stages.core.params import parse
from stages.data.prepared import IGNORED, UNLABELLED
from stages.distillation.kd_losses import LOSSES, DistillParams, distillation_loss

BASE = {"loss": "kd", "temperature": 1.0, "kd_weight": 0.9, "ce_weight": 0.1, "standardise": False, "dkd_beta": 4.0,
        "debias": 0.0, "feature_weight": 0.0, "unlabelled": True}
EVERY = [(loss, standardise) for loss in LOSSES for standardise in (False, True)
         if not standardise or loss in ("kd", "dkd")]


def settings(**changes) -> DistillParams:
    return DistillParams(**(BASE | changes))


def test_kd_by_hand():
    # softmax([ln 3, 0]) = (3/4, 1/4) against (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2)
    teacher, student = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    loss = distillation_loss(student, teacher, torch.tensor([0]), settings())
    assert loss == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)


def test_kd_by_hand_at_temperature_two():
    # Logits (2 ln 3, 0) at T = 2 are (ln 3, 0) again; the divergence is scaled by T² = 4.
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    loss = distillation_loss(student, teacher, torch.tensor([0]), settings(temperature=2.0))
    assert loss == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), abs=1e-6)


def test_dkd_by_hand():
    # Probabilities (1/2, 1/3, 1/6) against thirds, target 0. Pairs: (1/2, 1/2) against (1/3, 2/3);
    # the rest among themselves: (2/3, 1/3) against (1/2, 1/2).
    teacher, student = torch.log(torch.tensor([[1 / 2, 1 / 3, 1 / 6]])), torch.zeros(1, 3)
    pair = 0.5 * math.log(0.5 * 3) + 0.5 * math.log(0.5 * 1.5)
    rest = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    loss = distillation_loss(student, teacher, torch.tensor([0]), settings(loss="dkd", dkd_beta=8.0))
    assert loss == pytest.approx(pair + 8 * rest, abs=1e-6)


def test_dkds_target_is_the_label_and_not_the_teachers_top_class():
    # Probabilities (1/3, 1/2, 1/6) against thirds, target 0: pairs are equal; the rest is (3/4, 1/4) against halves.
    teacher, student = torch.log(torch.tensor([[1 / 3, 1 / 2, 1 / 6]])), torch.zeros(1, 3)
    loss = distillation_loss(student, teacher, torch.tensor([0]), settings(loss="dkd", dkd_beta=2.0))
    assert loss == pytest.approx(2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), abs=1e-6)


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
    student, teacher = logits(5, 3, seed=4), logits(5, 3, seed=5)
    s, t = student.softmax(1).numpy(), teacher.softmax(1).numpy()
    correlation = lambda a, b: np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])  # noqa: E731
    expected = 2 - correlation(s, t) - correlation(s.T, t.T)
    loss = distillation_loss(student, teacher, torch.zeros(5, dtype=torch.long), settings(loss="dist"))
    assert loss == pytest.approx(expected, abs=1e-5)


# Of one image the softmax over two places: (3/4, 1/4) against (1/2, 1/2) for class 0, nothing to learn for class 1.
CWD = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


def places(**changes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, DistillParams]:
    teacher = torch.tensor([[[math.log(3), 0.0], [5.0, 5.0]]])  # (1,2,2): image, class, place
    return torch.zeros(1, 2, 2), teacher, torch.zeros(1, 2, dtype=torch.long), settings(loss="cwd", **changes)


def test_cwd_by_hand():
    student, teacher, target, params = places()
    assert distillation_loss(student, teacher, target, params) == pytest.approx(CWD / 2, abs=1e-6)
    # As for kd: logits twice as large at T = 2 are the same, the divergence is scaled by T² = 4.
    params = settings(loss="cwd", temperature=2.0)
    assert distillation_loss(student, 2 * teacher, target, params) == pytest.approx(4 * CWD / 2, abs=1e-6)


def test_cwd_of_an_image_with_ignored_places_and_of_one_that_is_nothing_else():
    student, teacher, target, params = places()
    wild = torch.tensor([[[50.0], [-70.0]]])
    student, teacher = torch.cat([student, wild], 2), torch.cat([teacher, -wild], 2)
    target = torch.tensor([[0, UNLABELLED, IGNORED]])
    assert distillation_loss(student, teacher, target, params) == pytest.approx(CWD / 2, abs=1e-6)
    nothing = torch.full_like(target, IGNORED)
    batch = [torch.cat(pair) for pair in ((student, student - 3), (teacher, teacher), (target, nothing))]
    batch[0].requires_grad_()
    loss = distillation_loss(*batch, params)
    loss.backward()
    assert loss.detach() == pytest.approx(CWD / 2, abs=1e-6)
    assert batch[0].grad.isfinite().all() and not batch[0].grad[1].any() and not batch[0].grad[0, :, 2].any()


def test_cwd_is_blind_to_what_a_class_gets_everywhere():
    student, teacher, target, params = places()
    shift = torch.tensor([3.0, -2.0])[None, :, None]
    assert distillation_loss(student + shift, teacher, target, params) == pytest.approx(CWD / 2, abs=1e-6)


def test_cwd_needs_places_to_compare():
    for shape in ((4, 3), (4, 3, 1, 1)):
        student, teacher = logits(*shape, seed=1), logits(*shape, seed=2)
        with pytest.raises(UserError, match="segmentation; use kd"):
            distillation_loss(student, teacher, torch.zeros(4, *shape[2:], dtype=torch.long), settings(loss="cwd"))


def test_standardised_kd_by_hand():
    # (2, 0) and (0, 4) become (1, −1) and (−1, 1): with p = softmax(1, −1)₁ the divergence is 2p − 2(1 − p).
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    p = 1 / (1 + math.exp(-2))
    loss = distillation_loss(student, teacher, torch.tensor([0]), settings(standardise=True))
    assert loss == pytest.approx(4 * p - 2, abs=1e-5)


def test_standardised_logits_are_blind_to_shift_and_scale():
    student, teacher, target = logits(4, 6, seed=6), logits(4, 6, seed=7), torch.tensor([0, 1, 2, 3])
    for loss in ("kd", "dkd"):
        params = settings(loss=loss, standardise=True, temperature=2.0)
        one = distillation_loss(student, teacher, target, params)
        assert one > 0.01
        other = distillation_loss(3 * student + 1, 7 * teacher - 2, target, params)
        assert other == pytest.approx(float(one), rel=1e-4)


@pytest.mark.parametrize("loss", ["kd", "dkd", "cwd"])
def test_the_gradient_keeps_its_size_at_every_temperature(loss):
    # Small logits, where the softmax is nearly linear, so that T² is exact.
    size = []
    for temperature in (1.0, 2.0, 4.0, 8.0):
        student = logits(2, 10, 2, 2, seed=8, scale=0.01).requires_grad_()
        params, target = settings(loss=loss, temperature=temperature), torch.arange(8).view(2, 2, 2)
        distillation_loss(student, logits(2, 10, 2, 2, seed=9, scale=0.01), target, params).backward()
        size.append(float(student.grad.norm()))
    assert max(size) < 1.02 * min(size)


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
def test_resolution_changes_nothing(loss, standardise):
    params = settings(loss=loss, standardise=standardise, temperature=2.0)
    student, teacher = logits(2, 5, 3, 3, seed=10), logits(2, 5, 3, 3, seed=11)
    target = torch.randint(0, 5, (2, 3, 3), generator=torch.Generator().manual_seed(0))
    larger = [value.repeat_interleave(4, -1).repeat_interleave(4, -2) for value in (student, teacher, target)]
    expected = float(distillation_loss(student, teacher, target, params))
    assert distillation_loss(*larger, params) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("loss", "standardise"), [pair for pair in EVERY if pair[0] != "cwd"])
def test_the_class_axis_is_1(loss, standardise):
    """A map of logits gives what its pixels, as a list of samples, give."""
    params = settings(loss=loss, standardise=standardise)
    student, teacher = logits(2, 5, 3, 4, seed=12), logits(2, 5, 3, 4, seed=13)
    target = torch.randint(0, 5, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    listed = [value.permute(0, 2, 3, 1).reshape(-1, 5) for value in (student, teacher)]
    expected = distillation_loss(*listed, target.reshape(-1), params)
    assert distillation_loss(student, teacher, target, params) == pytest.approx(float(expected), rel=1e-5)


def test_the_number_of_classes_changes_nothing():
    """Classes that both sides hold impossible add nothing."""
    student, teacher = logits(4, 3, seed=14), logits(4, 3, seed=15)
    wider = [torch.cat([value, torch.full((4, 50), -60.0)], 1) for value in (student, teacher)]
    target = torch.tensor([0, 1, 2, 0])
    loss = distillation_loss(*wider, target, settings())
    assert loss == pytest.approx(float(distillation_loss(student, teacher, target, settings())), rel=1e-5)


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
def test_ignored_positions_change_nothing(loss, standardise):
    params = settings(loss=loss, standardise=standardise)
    student, teacher = logits(2, 4, 5, 5, seed=16), logits(2, 4, 5, 5, seed=17)
    target = torch.randint(0, 4, (2, 5, 5), generator=torch.Generator().manual_seed(2))
    target[:, :2] = IGNORED
    ignored_changes_nothing(student, target, lambda *given: distillation_loss(given[0], teacher, given[1], params))


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_logits_stay_finite(loss, standardise, kind):
    """log(softmax(x)) is −inf in half precision from a gap of 18 on; gaps here are 60, between classes and places."""
    student = torch.tensor([[60.0, 0.0, -60.0], [0.0, 60.0, 3.0]], dtype=kind).T[None].requires_grad_()  # (1,3,2)
    teacher = torch.tensor([[-60.0, 0.0, 60.0], [60.0, 0.0, 1.0]], dtype=kind).T[None]
    params = settings(loss=loss, standardise=standardise)
    divergence = distillation_loss(student, teacher, torch.tensor([[0, 1]]), params)
    divergence.backward()
    assert divergence.isfinite() and divergence > 0
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_unlabelled_positions_are_taught(loss):
    student, teacher = logits(3, 4, 2, seed=18).requires_grad_(), logits(3, 4, 2, seed=19)
    unlabelled = torch.full((3, 2), UNLABELLED)
    divergence = distillation_loss(student, teacher, unlabelled, settings(loss=loss))
    divergence.backward()
    assert divergence > 0 and student.grad.flatten(1).any(1).all()
    # And an image of which a part is labelled is taught everywhere.
    student.grad = None
    distillation_loss(student, teacher, torch.tensor([[2, UNLABELLED]] * 3), settings(loss=loss)).backward()
    assert student.grad.abs().sum(1).all()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_student_that_answers_as_its_teacher_has_nothing_to_learn(loss):
    student = logits(3, 5, 2, seed=20).requires_grad_()
    target = torch.tensor([[0, 1], [2, 3], [4, 0]])
    divergence = distillation_loss(student, student.detach().clone(), target, settings(loss=loss))
    divergence.backward()
    assert divergence.detach() == pytest.approx(0, abs=1e-5)
    assert student.grad.abs().max() < 1e-4


@pytest.mark.parametrize(("changes", "message"), [
    ({"loss": "kld"}, "distill.loss"), ({"temperature": 0.0}, "distill.temperature"),
    ({"kd_weight": -1.0}, "kd_weight"), ({"kd_weight": 0.0}, "baseline"),
    ({"loss": "dist", "standardise": True}, "standardise"), ({"loss": "cwd", "standardise": True}, "standardise"),
    ({"loss": "cwd", "debias": 0.5}, "debias")])
def test_senseless_settings_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        parse(DistillParams, BASE | changes, "params.yaml: distill")


def test_features_alone_may_be_distilled():
    assert settings(kd_weight=0.0, feature_weight=1.0).kd_weight == 0
