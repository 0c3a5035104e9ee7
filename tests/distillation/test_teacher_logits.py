"""Teacher logits, cached or computed anew, belong to the view that the student is shown; the teacher stays as it is."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from training_data import CPU, NET, labelled, patterns, recipe

from stages.data import augmentation, prepared
from stages.data.rng import permutation
from stages.distillation import teacher_logits
from stages.distillation.kd_losses import DistillParams, distillation_loss
from stages.distillation.objective import DistillationLoss, debias_hint
from stages.distillation.teacher import Teacher
from stages.models import factory
from stages.training.batches import ImageBatches
from stages.training.losses import LabelLoss

DISTILL = {"loss": "kd", "temperature": 2.0, "kd_weight": 0.75, "ce_weight": 0.5, "standardise": False, "dkd_beta": 4.0,
           "debias": 0.0, "feature_weight": 0.0, "unlabelled": True}


@pytest.fixture
def teacher_of(prepared_folder) -> Callable[[str], Teacher]:
    """Makes the targets of a mode in data/, as `teacher_targets` does, and the Teacher that reads them."""
    folder = prepared_folder / "models"
    folder.mkdir()
    factory.save(factory.build(NET, 3, (16, 16), seed=1), folder / "teacher.safetensors")
    network = factory.load(NET, folder / "teacher.safetensors", 3)
    augment = recipe().augment.model_copy(update={"crop": "none"})
    images = augmentation.ImageArrays(prepared.images("train"), prepared.images("unlabelled"))

    def make(mode: str) -> Teacher:
        params = teacher_logits.TargetParams(mode=mode, views=4, seed=7, features=False, stride=1, batch_size=16,
                                             precision="fp32")
        cropped = augment if mode == "clean" else augment.model_copy(update={"crop": "pad"})
        passes = [np.concatenate(list(teacher_logits.logits(network, images, np.arange(68), params, cropped, number)))
                  for number in range(teacher_logits.pass_count(params, cropped))]
        np.save(teacher_logits.LOGITS, np.array(passes or np.zeros((0, 68, 3)), np.float16))
        return Teacher(lambda: network, images, params, cropped, prepared_folder, 3)

    return make


def test_online_the_teacher_answers_for_what_an_epoch_shows(teacher_of, monkeypatch):
    """48 of 68 images, in each epoch others."""
    teacher, asked, compute = teacher_of("online"), [], Teacher._compute
    data = ImageBatches(recipe(augment=teacher.augment.model_dump()), 3, CPU, None, teacher.images, teacher)
    monkeypatch.setattr(Teacher, "_compute", lambda own, samples, number: asked.append(list(samples)) or compute(
        own, samples, number))
    for epoch in range(2):
        list(data.epoch(epoch))
    assert [len(samples) for samples in asked] == [1, 48, 1, 48]
    assert asked[1] == sorted(permutation(3, 0, 68)[:48]) and asked[3] == sorted(permutation(3, 1, 68)[:48])


@pytest.mark.parametrize("mode", ["clean", "views", "online"])
def test_the_logits_are_those_of_the_pixels_that_the_student_sees(teacher_of, mode):
    """In every mode and epoch, mirrored or not, labelled or not. (Clean targets belong to the image and its mirror
    image, so the crop, which they leave out on purpose, is left out here too.)
    """
    teacher = teacher_of(mode)
    data = ImageBatches(recipe(augment=teacher.augment.model_dump()), 3, CPU, None, teacher.images, teacher)
    distinct = set()
    for epoch in range(6):
        batch = next(data.epoch(epoch))
        assert torch.allclose(teacher.network(batch.images), batch.teacher_logits.float(), atol=2e-3), epoch
        samples = permutation(3, epoch, 68)[:8]
        assert batch.labels.tolist() == [sample % 3 if sample < 48 else prepared.UNLABELLED for sample in samples]
        teacher.start_epoch(epoch, np.arange(68))
        distinct.add(teacher.logits(np.arange(68), 3, epoch).tobytes())
    assert len(distinct) == {"clean": 6, "views": 4, "online": 6}[mode]  # a draw of mirrors, a view, an epoch


@pytest.mark.parametrize("mode", ["clean", "views", "online"])
def test_batches_made_together_are_those_made_one_by_one(teacher_of, mode):
    teacher = teacher_of(mode)
    data = ImageBatches(recipe(augment=teacher.augment.model_dump()), 3, CPU, None, teacher.images, teacher)
    assert data.steps_at_once == 64  # of 16×16 pixels, eight in each

    def epoch(together: int) -> list:
        data.steps_at_once = together
        return list(data.epoch(2))

    for one, other in zip(epoch(1), epoch(4), strict=True):  # six batches: four, then two
        assert one.total == other.total == 8 and one.images.stride() == other.images.stride()
        assert all(torch.equal(getattr(one, name), getattr(other, name))
                   for name in ("images", "labels", "teacher_logits"))


def test_the_teacher_stays_as_it_is(prepared_folder):
    """Frozen where it is loaded: no gradients, its BatchNorm and dropout at rest, whatever is done with it."""
    net = factory.build(NET, 3, (16, 16), seed=1)
    net.net.add_module("dropout", nn.Dropout(0.5))
    factory.freeze(net)
    state, images = copy.deepcopy(net.state_dict()), torch.from_numpy(patterns(8, 9)[0]).permute(0, 3, 1, 2)
    first = net(images)
    stored = augmentation.ImageArrays(prepared.images("train"))
    params = teacher_logits.TargetParams(mode="clean", views=1, seed=0, features=False, stride=1, batch_size=16,
                                         precision="fp32")
    for number in (0, 1):
        list(teacher_logits.logits(net, stored, np.arange(48), params, recipe().augment, number))
    assert torch.equal(net(images), first) and not first.requires_grad
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_the_loss_is_the_weighted_sum_of_its_parts(prepared_folder):
    logits, teacher = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).unbind()
    labels, params = torch.tensor([0, 1, 2, prepared.UNLABELLED, 1]), DistillParams(**DISTILL)
    batch = labelled(labels)._replace(teacher_logits=teacher.half())
    parts = DistillationLoss(recipe(), params, 1, None)(logits, batch)
    alone = LabelLoss(recipe(), None)(logits, labelled(labels))["loss"]
    divergence = distillation_loss(logits, teacher.half().float(), labels, params)
    assert parts["cross_entropy"] == alone and parts["kd"] == divergence
    assert float(parts["loss"]) == pytest.approx(0.5 * float(alone) + 0.75 * float(divergence))


def test_the_teacher_counts_where_its_logits_are_kept():
    """Of maps of 4×4 pixels every second row and column, from the middle of each stride."""
    logits, teacher = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    labels, params = torch.zeros(1, 4, 4, dtype=torch.long), DistillParams(**DISTILL)
    kept = teacher[..., 1::2, 1::2]
    parts = DistillationLoss(recipe(), params, 2, None)(logits, labelled(labels)._replace(teacher_logits=kept))
    assert parts["kd"] == distillation_loss(logits[..., 1::2, 1::2], kept, labels[..., 1::2, 1::2], params)


def test_the_divergence_is_of_the_student_from_the_teacher():
    """KL(teacher ‖ student) is not symmetric: of a sure teacher and an even student, and the other way round."""
    sure, even = torch.tensor([[3.0, 0.0, 0.0]]), torch.zeros(1, 3)
    p = np.exp([3, 0, 0]) / np.exp([3, 0, 0]).sum()
    params = DistillParams(**DISTILL | {"temperature": 1.0})
    expected = (p * np.log(3 * p)).sum()
    assert distillation_loss(even, sure, torch.tensor([0]), params) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("places", [(), (2, 3)], ids=["of an image", "of its pixels"])
def test_debias_takes_the_log_class_shares_out_of_the_teachers_logits(places):
    """A teacher that knows what balanced data would tell it, plus the log share of each class: with debias 1 the
    student is taught the first alone, with debias 0 the sum."""
    student, balanced = torch.randn(2, 5, 3, *places, generator=torch.Generator().manual_seed(0))
    shares = torch.log(torch.tensor([0.9, 0.09, 0.01])).view(1, 3, *(1,) * len(places))
    labels, biased = torch.zeros(5, *places, dtype=torch.long), (balanced + shares).half()
    for debias, expected in ((1.0, balanced), (0.0, biased.float())):
        params = DistillParams(**DISTILL | {"debias": debias})
        loss = DistillationLoss(recipe(), params, 1, np.array([90, 9, 1]))
        parts = loss(student, labelled(labels)._replace(teacher_logits=biased))
        divergence = distillation_loss(student, expected, labels, params)
        assert float(parts["kd"]) == pytest.approx(float(divergence), rel=1e-2)


@pytest.mark.parametrize(("student", "teacher", "debias", "fitting"), [
    ("none", "none", 0.0, None), ("balanced_softmax", "none", 1.0, None), ("balanced_softmax", "none", 0.0, 1),
    ("balanced_softmax", "balanced_softmax", 0.0, None), ("none", "class_weight", 0.0, None),
    ("class_weight", "none", 0.0, 0.5), ("none", "none", 1.0, 0),
])
def test_a_teacher_that_prefers_other_classes_is_pointed_out(student, teacher, debias, fitting):
    params = DistillParams(**DISTILL | {"debias": debias})
    hint = debias_hint(recipe(imbalance=student), recipe(imbalance=teacher), params)
    assert (f"distill.debias should be {fitting:g}," in hint) if fitting is not None else not hint
