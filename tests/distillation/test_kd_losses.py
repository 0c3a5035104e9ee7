"""The losses, of labels and of a teacher, against values worked out by hand, and against the traps that real projects
fell into.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_data import labelled

from stages.core.errors import UserError
from stages.core.params import parse
from stages.data.prepared import IGNORED, UNLABELLED
from stages.distillation.kd_losses import LOSSES, DistillParams, distillation_loss
from stages.training.batches import class_weights
from stages.training.losses import LabelLoss, cross_entropy_loss, dice_loss
from stages.training.optim import Recipe

BASE = {"loss": "kd", "temperature": 1.0, "kd_weight": 0.9, "ce_weight": 0.1, "standardise": False, "dkd_beta": 4.0,
        "debias": 0.0, "unlabelled": True}
EVERY = [(loss, standardise) for loss in LOSSES for standardise in (False, True)
         if not standardise or loss in ("kd", "dkd")]
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0])
OF_LABELS = {"cross-entropy": lambda *given: cross_entropy_loss(*given, 0.1),
             "weighted": lambda *given: cross_entropy_loss(*given, 0.1, WEIGHTS), "dice": dice_loss}


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
    found = distillation_loss(student, teacher, torch.zeros(5, dtype=torch.long), settings(loss="dist"))
    assert found == pytest.approx(expected, abs=1e-5)


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
    found = distillation_loss(*batch, params)
    found.backward()
    assert found.detach() == pytest.approx(CWD / 2, abs=1e-6)
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


def test_dice_by_hand():
    # Two pixels, each (1/2, 1/2). Labels 0, 1: 2 · 1/2 / (1 + 1) for either class.
    even = torch.zeros(1, 2, 1, 2)
    assert dice_loss(even, torch.tensor([[[0, 1]]])) == pytest.approx(0.5)
    # Labels 0, 0: 2 · 1 / (1 + 2) for class 0; class 1 isn't there and doesn't count.
    assert dice_loss(even, torch.tensor([[[0, 0]]])) == pytest.approx(1 / 3)
    sure = torch.tensor([[[[99.0, -99.0]], [[-99.0, 99.0]]]])
    assert dice_loss(sure, torch.tensor([[[0, 1]]])) == pytest.approx(0, abs=1e-6)
    assert dice_loss(sure, torch.tensor([[[1, 0]]])) == pytest.approx(1, abs=1e-6)


def test_dice_minds_small_classes_as_much_as_large_ones():
    """Of 100 pixels one is of class 1, and it is missed: class 0 is at 198/199, class 1 at 0."""
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[0, 3, 4] = 1
    missed = torch.stack([torch.full((1, 10, 10), 99.0), torch.full((1, 10, 10), -99.0)], 1)
    assert dice_loss(missed, target) == pytest.approx(1 - 198 / 199 / 2, abs=1e-6)


def test_class_weights_by_hand():
    # Shares 0.81, 0.16, 0.03, and one class that never occurs.
    found = class_weights(np.array([81, 16, 3, 0]), 0.5)
    mean = 0.9 + 0.4 + 0.03**0.5  # Σ share · share^-0.5
    assert found.tolist() == pytest.approx([1 / 0.9 / mean, 1 / 0.4 / mean, 0.03**-0.5 / mean, 1.0])
    assert (found[:3] * torch.tensor([0.81, 0.16, 0.03])).sum() == pytest.approx(1)
    assert class_weights(np.array([75, 25]), 1.0).tolist() == pytest.approx([2 / 3, 2])  # each class half of the sum
    for counts in ([81, 16, 3, 0], [0, 0, 0, 0]):
        assert class_weights(np.array(counts), 0.0).tolist() == [1.0] * 4


def test_weighted_cross_entropy_by_hand():
    # −ln p of the targets: ln 4 and ln 4/3; weights 3 and 1.
    student, target = torch.log(torch.tensor([[0.25, 0.75], [0.25, 0.75]])), torch.tensor([0, 1])
    found = cross_entropy_loss(student, target, 0.0, torch.tensor([3.0, 1.0]))
    assert found == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4)
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


@pytest.mark.parametrize(("changes", "said"), [
    ({"imbalance": "weights"}, "imbalance"), ({"class_weight_power": 0.0}, "class_weight_power"),
    ({"class_weight_power": 1.5}, "class_weight_power"), ({"dice_weight": -1.0}, "dice_weight")])
def test_senseless_recipes_are_refused_in_one_line(project, changes, said):
    with pytest.raises(UserError, match=f"student_training.{said}"):
        parse(Recipe, project.params()["student_training"] | changes, "params.yaml: student_training")


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


@pytest.mark.parametrize("loss", OF_LABELS.values(), ids=list(OF_LABELS))
def test_resolution_changes_nothing_of_what_labels_say(loss):
    student, target = logits(2, 4, 3, 3, seed=10), torch.randint(-1, 4, (2, 3, 3))
    larger = [value.repeat_interleave(4, -1).repeat_interleave(4, -2) for value in (student, target)]
    assert loss(*larger) == pytest.approx(float(loss(student, target)), rel=1e-4)


@pytest.mark.parametrize(("loss", "standardise"), [found for found in EVERY if found[0] != "cwd"])
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
    found = distillation_loss(*wider, target, settings())
    assert found == pytest.approx(float(distillation_loss(student, teacher, target, settings())), rel=1e-5)


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
def test_ignored_positions_change_nothing(loss, standardise):
    params = settings(loss=loss, standardise=standardise)
    student, teacher = logits(2, 4, 5, 5, seed=16), logits(2, 4, 5, 5, seed=17)
    target = torch.randint(0, 4, (2, 5, 5), generator=torch.Generator().manual_seed(2))
    target[:, :2] = IGNORED
    ignored_changes_nothing(student, target, lambda *given: distillation_loss(given[0], teacher, given[1], params))


@pytest.mark.parametrize("loss", OF_LABELS.values(), ids=list(OF_LABELS))
@pytest.mark.parametrize("code", [IGNORED, UNLABELLED])
def test_positions_without_a_label_change_nothing_of_what_labels_say(loss, code):
    student, target = logits(2, 4, 5, 5, seed=16), torch.randint(0, 4, (2, 5, 5))
    target[:, :2] = code
    ignored_changes_nothing(student, target, loss)


def ignored_changes_nothing(student: torch.Tensor, target: torch.Tensor, loss) -> None:
    """Neither loss nor gradient knows what the first two rows hold; a batch of nothing else is worth 0."""
    other = student.clone()
    other[:, :, :2] = 99 * torch.rand(2, 4, 2, 5)
    found = []
    for values in (student, other):
        values = values.clone().requires_grad_()
        found.append(loss(values, target))
        found[-1].backward()
        found.append(values.grad)
    assert found[0] == found[2] > 0 and torch.equal(found[1], found[3])
    assert not found[1][:, :, :2].any() and found[1][:, :, 2:].any()
    values.grad = None
    nothing = loss(values, torch.full_like(target, target[0, 0, 0]))
    nothing.backward()
    assert nothing == 0 and not values.grad.any()


@pytest.mark.parametrize(("loss", "standardise"), EVERY)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_logits_stay_finite(loss, standardise, kind):
    """log(softmax(x)) is −inf in half precision from a gap of 18 on; gaps here are 60, between classes and places."""
    student = torch.tensor([[60.0, 0.0, -60.0], [0.0, 60.0, 3.0]], dtype=kind).T[None].requires_grad_()  # (1,3,2)
    teacher = torch.tensor([[-60.0, 0.0, 60.0], [60.0, 0.0, 1.0]], dtype=kind).T[None]
    params = settings(loss=loss, standardise=standardise)
    found = distillation_loss(student, teacher, torch.tensor([[0, 1]]), params)
    found.backward()
    assert found.isfinite() and found > 0
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_unlabelled_positions_are_taught_but_have_no_cross_entropy(loss):
    student, teacher = logits(3, 4, 2, seed=18).requires_grad_(), logits(3, 4, 2, seed=19)
    unlabelled = torch.full((3, 2), UNLABELLED)
    found = distillation_loss(student, teacher, unlabelled, settings(loss=loss))
    found.backward()
    assert found > 0 and student.grad.flatten(1).any(1).all()
    assert cross_entropy_loss(student, unlabelled, 0.0) == dice_loss(student, unlabelled) == 0
    mixed = torch.tensor([[2, 1], [UNLABELLED, UNLABELLED], [UNLABELLED, UNLABELLED]])
    assert cross_entropy_loss(student, mixed, 0.0) == cross_entropy_loss(student[:1], mixed[:1], 0.0)
    # And an image of which a part is labelled is taught everywhere.
    student.grad = None
    distillation_loss(student, teacher, torch.tensor([[2, UNLABELLED]] * 3), settings(loss=loss)).backward()
    assert student.grad.abs().sum(1).all()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_student_that_answers_as_its_teacher_has_nothing_to_learn(loss):
    student = logits(3, 5, 2, seed=20).requires_grad_()
    target = torch.tensor([[0, 1], [2, 3], [4, 0]])
    found = distillation_loss(student, student.detach().clone(), target, settings(loss=loss))
    found.backward()
    assert found.detach() == pytest.approx(0, abs=1e-5)
    assert student.grad.abs().max() < 1e-4


@pytest.mark.parametrize(("changes", "said"), [
    ({"loss": "kld"}, "distill.loss"), ({"temperature": 0.0}, "distill.temperature"),
    ({"kd_weight": -1.0}, "kd_weight"), ({"kd_weight": 0.0}, "baseline"),
    ({"loss": "dist", "standardise": True}, "standardise"), ({"loss": "cwd", "standardise": True}, "standardise"),
    ({"loss": "cwd", "debias": 0.5}, "debias")])
def test_senseless_settings_are_refused_in_one_line(changes, said):
    with pytest.raises(UserError, match=said):
        parse(DistillParams, BASE | changes, "params.yaml: distill")
