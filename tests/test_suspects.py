"""The judgement on labels, and what it goes by: planted errors come first, and who has learnt an image is no judge."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from stages.cleaning import features, label_errors
from stages.core.device import choose_device
from stages.core.errors import UserError

SIZE = 64
SMALL = "shufflenet_v2_x0_5"


def clusters(*sizes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of classes that lie apart, a cloud each; their labels; groups of one."""
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = 1.5 * chance.standard_normal((len(sizes), 20))
    return ((centres[labels] + chance.standard_normal((len(labels), 20))).astype(np.float32), labels,
            np.arange(len(labels)))


def test_planted_errors_come_first_and_most_are_suspect():
    seen, truth, groups = clusters(100, 100, 100)
    wrong = np.random.default_rng(1).choice(300, 15, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % 3
    found = label_errors.judge(seen, labels, groups, 5, 0)
    assert set(np.argsort(found.score)[:15]) == set(wrong)
    assert set(np.flatnonzero(found.suspect)) <= set(wrong) and found.suspect.sum() >= 10
    assert (found.predicted[wrong] == truth[wrong]).all()
    assert found.score.min() >= 0 and found.score.max() <= 1


def test_right_labels_are_not_suspect_not_even_in_a_long_tail():
    found = label_errors.judge(*clusters(300, 60, 12), 5, 0)
    assert not found.suspect.any()


def test_suspects_are_the_lowest_scores():
    seen, labels, groups = clusters(80, 80)
    labels = np.where(np.random.default_rng(2).random(160) < 0.2, 1 - labels, labels)
    found = label_errors.judge(seen, labels, groups, 4, 0)
    assert found.suspect.any() and found.score[found.suspect].max() < found.score[~found.suspect].min()


def test_who_looks_like_its_own_class_is_not_suspect(monkeypatch):
    """Three of class 0 look like class 1, and one, the lowest score, like nothing much, but like class 0 most.

    Confident learning counts three errors; so the three lowest scores are looked at.
    """
    foretold = np.repeat([[0.9, 0.1, 0], [0.42, 0.58, 0], [0.41, 0.59, 0], [0.4, 0.6, 0], [0.36, 0.32, 0.32],
                          [0.45, 0.55, 0], [0, 0.1, 0.9]], [20, 1, 1, 1, 1, 10, 10], axis=0)
    monkeypatch.setattr(label_errors, "_out_of_fold", lambda columns, labels, fold: foretold)
    found = label_errors.judge(*clusters(24, 10, 10), 2, 0)
    assert list(np.flatnonzero(found.suspect)) == [21, 22]
    assert found.score.argmin() == 23 and found.predicted[23] == 0


def test_labels_are_any_integers_and_the_answer_is_the_same_again():
    seen, labels, groups = clusters(40, 40, 40)
    first, again, renamed = (label_errors.judge(seen, names[labels], groups, 5, 3)
                             for names in (np.arange(3), np.arange(3), np.array([-4, 7, 100])))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.array([-4, 7, 100])[first.predicted], renamed.predicted)
    np.testing.assert_array_equal(first.score, renamed.score)


def test_copies_do_not_vouch_for_each_other():
    """Noise with labels drawn by lot can be foretold from copies alone."""
    chance = np.random.default_rng(0)
    seen = np.repeat(chance.standard_normal((100, 30)), 2, axis=0).astype(np.float32)
    labels = np.repeat(chance.integers(0, 2, 100), 2)
    apart, together = (label_errors.judge(seen, labels, groups, 5, 0).predicted == labels
                       for groups in (np.arange(200), np.arange(200) // 2))
    assert apart.mean() > 0.8 and together.mean() < 0.65


def test_a_group_is_in_one_fold_and_a_class_in_all():
    labels, groups = np.repeat([0, 1], [90, 30]), np.arange(120) // 3
    fold = label_errors._divided(labels, groups, 5, 0)
    assert all(len(set(fold[groups == group])) == 1 for group in groups)
    assert all(set(fold[labels == label]) == set(range(5)) for label in (0, 1))
    assert (label_errors._divided(labels, groups, 5, 1) != fold).any()


def test_an_image_is_not_judged_by_who_has_learnt_its_label():
    seen, labels, groups = clusters(30, 30, 30)
    fold = label_errors._divided(labels, groups, 3, 0)
    changed = labels.copy()
    changed[0] = 2
    one, other = (label_errors._out_of_fold(seen, names, fold) for names in (labels, changed))
    mates = fold == fold[0]
    np.testing.assert_array_equal(one[mates], other[mates])
    assert (one[~mates] != other[~mates]).any(axis=1).all()  # those have learnt it
    np.testing.assert_allclose(one.sum(1), 1, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("few", [1, 2])
def test_a_class_of_few_images_is_not_condemned_for_it(few):
    found = label_errors.judge(*clusters(60, 60, few), 5, 0)
    assert np.isfinite(found.score).all()
    if few == 1:  # who has never seen the class says nothing
        assert found.score[-1] == 1 and not found.suspect[-1] and found.predicted[-1] == 2


def test_shape_and_colour_of_thumbnails():
    thumbnails = np.random.default_rng(0).integers(0, 256, (features.AT_ONCE + 3, 32, 32, 3), np.uint8)
    found = features.pixel_features(thumbnails)
    assert found.shape == (len(thumbnails), 1956) and found.dtype == np.float32 and np.isfinite(found).all()
    for number in (0, features.AT_ONCE, len(thumbnails) - 1):
        np.testing.assert_array_equal(found[number], features.pixel_features(thumbnails[number:number + 1])[0])
    assert features.pixel_features(thumbnails[:0]).shape == (0, 1956)


def test_an_edge_counts_for_its_own_direction():
    upright = np.zeros((1, 32, 32, 3), np.uint8)
    upright[:, :, 16:] = 255
    lying = upright.swapaxes(1, 2)
    edges, colours = np.split(features.pixel_features(np.concatenate([upright, lying, 0 * lying])), [1764], axis=1)
    strength = edges.reshape(3, -1, 9).sum(1)  # of nine directions, 20° each
    assert strength[0, 0] > 0 and not strength[0, 1:].any()
    assert strength[1, 4] == strength[1, 5] > 0 and not np.delete(strength[1], [4, 5]).any()  # 90° is between two
    assert not strength[2].any()
    np.testing.assert_array_equal(colours[0].reshape(8, 8, 3)[:, :, 0], np.tile(np.repeat([0, 1], 4), (8, 1)))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Writes an architecture's random weights to data/weights/, and gives the network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "weights").mkdir(parents=True)

    def written(architecture: str):
        torch.manual_seed(1)
        net = models.get_model(architecture, weights=None)
        save_file(net.state_dict(), tmp_path / "data" / "weights" / f"{architecture}.safetensors")
        return net.eval()

    return written


def backbone(architecture: str, source: str | None = None, size: int = SIZE):
    return features.backbone(architecture, source or f"{architecture}.safetensors", size, choose_device("scan"))


def test_a_backbone_says_what_goes_into_its_head_of_image_and_mirror_image(weights):
    net = weights(SMALL)
    net.fc = torch.nn.Identity()
    images = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    see = backbone(SMALL)
    found = see(images)
    assert found.shape == (5, 1024) and found.dtype == np.float32
    mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    asked = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / deviation
    with torch.no_grad():
        expected = (net(asked) + net(asked.flip(3))) / 2
    close = {"rtol": 1e-3, "atol": 1e-3 * float(expected.abs().max())}
    np.testing.assert_allclose(found, expected, **close)
    np.testing.assert_array_equal(found, see(images))
    np.testing.assert_allclose(found, np.concatenate([see(images[:2]), see(images[2:])]), **close)
    np.testing.assert_allclose(found, see(images[:, :, ::-1]), **close)
    assert np.abs(found[0] - found[1]).max() > 5 * close["atol"]  # else any image would do


@pytest.mark.parametrize("architecture, source, said", [
    ("resnet17", None, "architecture 'resnet17' is unknown to torchvision"),
    (SMALL, "none", "scan.weights is none"),
    (SMALL, "missing.safetensors", "missing.safetensors not found"),
    ("mobilenet_v2", f"{SMALL}.safetensors", "don't fit MobileNetV2"),
    ("squeezenet1_1", None, "scan.backbone is squeezenet1_1, which has no linear layer"),
])
def test_a_backbone_that_cannot_be_had_is_said_at_once(weights, architecture, source, said):
    for written in (SMALL, "squeezenet1_1"):
        weights(written)
    with pytest.raises(UserError, match="^[^\n]*" + said):
        backbone(architecture, source)
