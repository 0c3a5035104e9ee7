"""The teacher's features: kept behind its logits, learnt by the student in training, and gone when it is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_data import CPU, NET, recipe

from stages.core.errors import UserError
from stages.core.files import sha256, write_json
from stages.data import augmentation, prepared
from stages.distillation import feature_heads, features, student, teacher_logits
from stages.distillation.kd_losses import DistillParams
from stages.distillation.objective import DistillationLoss
from stages.distillation.teacher import Teacher
from stages.models import factory
from stages.models.zoo import timm
from stages.tasks.classification.metric import Score
from stages.training.batches import Batch
from stages.training.trainer import Trainer

WIDTH = 16  # features of NET: four times its first stage
DISTILL = DistillParams(loss="kd", temperature=2.0, kd_weight=0.5, ce_weight=0.5, standardise=False, dkd_beta=4.0,
                        debias=0.0, feature_weight=3.0, unlabelled=True)
TARGETS = teacher_logits.TargetParams(mode="clean", views=1, seed=0, features=True, stride=1, batch_size=16,
                                      precision="fp32")


@pytest.fixture
def teacher(prepared_folder) -> factory.Normalised:
    network = factory.build(NET, 3, (16, 16), seed=1)
    factory.save(network, prepared_folder / factory.TEACHER)
    return factory.freeze(network)


def answers(network: factory.Normalised, targets: teacher_logits.TargetParams = TARGETS) -> np.ndarray:
    images = augmentation.ImageArrays(prepared.images("train"), prepared.images("unlabelled"))
    return np.array([np.concatenate(list(teacher_logits.logits(network, images, np.arange(68), targets,
                                                               recipe().augment, number))) for number in (0, 1)])


def test_a_teacher_tells_what_its_last_layer_is_given(teacher):
    plain = answers(teacher)
    pooled = []
    teacher.net[-1].register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    feature_heads.append_features(teacher)
    both = answers(teacher)
    assert both.shape == (2, 68, 3 + WIDTH) and np.array_equal(both[..., :3], plain)
    assert np.array_equal(both[..., 3:].reshape(-1, WIDTH), torch.cat(pooled).half().numpy())


@pytest.mark.parametrize(("mode", "ema_decay"), [("clean", 0.0), ("clean", 0.9), ("views", 0.0), ("online", 0.0)])
def test_the_student_comes_to_know_them_and_is_the_same_network(teacher, prepared_folder, monkeypatch, mode, ema_decay):
    feature_heads.append_features(teacher)
    targets = TARGETS.model_copy(update={"mode": mode, "views": 2})
    np.save(teacher_logits.LOGITS, np.zeros((0, 68, 3), np.float16) if mode == "online" else answers(teacher, targets))
    monkeypatch.setattr(student, "load_teacher", lambda *_: Teacher(
        lambda: teacher, augmentation.ImageArrays(prepared.images("train"), prepared.images("unlabelled")), targets,
        recipe().augment, prepared_folder, 3, with_features=True))
    own = student.Settings(NET, recipe(epochs=6, ema_decay=ema_decay), DISTILL, targets, Score)
    (prepared_folder / "whole").mkdir()
    network, history = student.train(own, CPU, 0, prepared_folder / "whole")
    distances = [row["feature_distance"] for row in history]
    assert 0.8 < distances[0] < 1.2 and distances[-1] < distances[0] - 0.2
    assert all(0 <= row["train_accuracy"] <= 100 for row in history) and history[-1]["val_accuracy"] > 40
    assert network.state_dict().keys() == factory.build(NET, 3, (16, 16), 0).state_dict().keys()
    factory.save(network, prepared_folder / "student.safetensors")
    loaded, images = factory.load(NET, prepared_folder / "student.safetensors", 3), torch.zeros(2, 3, 16, 16)
    assert torch.equal(loaded(images.byte()), network(images.byte()))
    resumed, _ = student.train(own, CPU, 0, stopped_after(4, own, prepared_folder))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in resumed.state_dict().items())


def stopped_after(epochs: int, own: student.Settings, folder: Path) -> Path:
    """A folder with the checkpoint of a training that was killed."""
    stopped = folder / "stopped"
    stopped.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_is_done", lambda _, history: len(history) == epochs)
        student.train(own, CPU, 0, stopped)
    return stopped


@pytest.mark.parametrize(("weight", "columns"), [(0.0, 3), (1.0, 3 + WIDTH)])
def test_without_a_weight_the_logits_alone_are_read(teacher, prepared_folder, monkeypatch, weight, columns):
    feature_heads.append_features(teacher)
    np.save(teacher_logits.LOGITS, answers(teacher))
    monkeypatch.setattr(student.params, "load", lambda *_: factory.TeacherParams(
        **NET.model_dump(), mode="scratch"))
    own = student.Settings(NET, recipe(), DISTILL.model_copy(update={"feature_weight": weight}), TARGETS, Score)
    loaded = student.load_teacher(own, CPU, prepared_folder)
    assert loaded.logits(np.arange(8), 0, 0).shape == (8, columns)
    assert loaded.network(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).shape == (2, 3 + WIDTH)


def test_the_loss_by_hand():
    """Of two images: own features (1, 0) and (0, 2), the teacher's, standardised, (3, 0) and (1, 0): cosines 1, 0."""
    params, logits, labels = DISTILL, torch.randn(2, 3), torch.tensor([0, 2])
    kd = DistillationLoss(recipe(), params, 1, None)
    sample = np.array([[3, 5.5], [-1, 4.5]], np.float16)  # means 1 and 5, deviations 2 and ½
    loss = features.FeatureLoss(kd, 3.0, 3, features.Distance(sample))
    teacher = torch.randn(2, 3)
    shown = torch.cat([teacher, torch.tensor([[7.0, 5.0], [3.0, 5.0]])], 1)
    output = torch.cat([logits, torch.tensor([[1.0, 0.0], [0.0, 2.0]])], 1)
    parts = loss(output, Batch(torch.zeros(2), labels, shown))
    alone = kd(logits, Batch(torch.zeros(2), labels, teacher))
    assert parts["feature_distance"] == pytest.approx(0.5)
    assert parts["loss"] == pytest.approx(float(alone["loss"]) + 1.5) and parts["kd"] == alone["kd"]


def test_a_feature_that_hardly_varies_does_not_outweigh_the_others():
    """Three vary by 1, the last not at all in the sample: of a teacher's value 0.5 there, 5 deviations are counted."""
    distance = features.Distance(np.array([[1, 1, 1, 0], [-1, -1, -1, 0]], np.float16))
    own, teacher = torch.tensor([[1.0, 1.0, 1.0, 0.0]]), torch.tensor([[4.0, 4.0, 4.0, 0.5]])
    assert distance(own, teacher) == pytest.approx(1 - 12 / (3 * (48 + 25))**0.5, abs=1e-4)


def test_in_eval_mode_the_head_gives_logits_alone(teacher):
    network = factory.build(NET, 3, (16, 16), seed=0)
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    plain, head = network.eval()(images), network.net[-1]
    with feature_heads.feature_projector(network, 7):
        assert torch.equal(network(images), plain) and network.train()(images).shape == (2, 10)
    assert network.net[-1] is head


def test_what_does_not_go_together_is_one_line():
    without = TARGETS.model_copy(update={"features": False})
    with pytest.raises(UserError, match=r"feature_weight is 3, but targets\.features is false"):
        features.check(without, DISTILL)
    features.check(TARGETS, DISTILL)
    features.check(without, DISTILL.model_copy(update={"feature_weight": 0.0}))
    views = TARGETS.model_copy(update={"mode": "views"})
    with pytest.raises(UserError, match=r"targets\.features goes with classification"):
        teacher_logits.check_places(views, (16, 16))
    for head, wish in ((feature_heads.teachers_head, r"targets\.features"),
                       (feature_heads.students_head, r"distill\.feature_weight")):
        with pytest.raises(UserError, match=f"{wish} goes with a network that ends in a linear layer"):
            head(nn.Sequential(nn.Conv2d(3, 3, 1)))


def test_a_network_that_averages_two_last_layers_is_one_line():
    net = timm.build(timm.Options(architecture="deit_tiny_distilled_patch16_224"), 3, pretrained=False)
    with pytest.raises(UserError, match=r"features goes with a network that ends in one linear layer, and .* two; use"):
        feature_heads.teachers_head(net)


@pytest.mark.parametrize(("spoiled", "name"), [(slice(3), "logits"), (slice(3, None), "features"), (None, None)])
def test_cached_features_are_told_from_cached_logits(teacher, prepared_folder, spoiled, name):
    """Either part is judged by its own spread: the features' must not hide logits that are wrong."""
    feature_heads.append_features(teacher)
    teacher.net[-1].register_forward_hook(lambda *call: call[2] * torch.tensor([1.0] * 3 + [100.0] * WIDTH))
    cached = answers(teacher)
    if spoiled:
        cached[..., spoiled] = cached[:, ::-1, spoiled]
    np.save(teacher_logits.LOGITS, cached)
    write_json(teacher_logits.ABOUT, teacher_logits.about(
        TARGETS, recipe().augment, {"train": 48, "unlabelled": 20}, sha256(factory.TEACHER)))
    images = augmentation.ImageArrays(prepared.images("train"), prepared.images("unlabelled"))
    loaded = Teacher(lambda: teacher, images, TARGETS, recipe().augment, prepared_folder, 3, with_features=True)
    if name is None:
        loaded.check_cache()
    else:
        with pytest.raises(UserError, match=f"doesn't hold the teacher's {name} for these images"):
            loaded.check_cache()
