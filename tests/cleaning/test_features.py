"""Features of thumbnails and of a pre-trained network."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from stages.cleaning import features
from stages.core.device import choose_device
from stages.core.errors import UserError

SIZE = 64


SMALL = "shufflenet_v2_x0_5"


def test_shape_and_colour_of_thumbnails():
    thumbnails = np.random.default_rng(0).integers(0, 256, (features.BATCH + 3, 32, 32, 3), np.uint8)
    result = features.pixel_features(thumbnails)
    assert result.shape == (len(thumbnails), 1956) and result.dtype == np.float32 and np.isfinite(result).all()
    for number in (0, features.BATCH, len(thumbnails) - 1):
        np.testing.assert_array_equal(result[number], features.pixel_features(thumbnails[number:number + 1])[0])
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
    """Writes an architecture's random weights to data/weights/, and returns the network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "weights").mkdir(parents=True)

    def write(architecture: str, classes: int = 1000, metadata: dict[str, str] | None = None):
        torch.manual_seed(1)
        net = models.get_model(architecture, weights=None, num_classes=classes)
        save_file(net.state_dict(), tmp_path / "data" / "weights" / f"{architecture}.safetensors", metadata=metadata)
        return net.eval()

    return write


def backbone(architecture: str, source: str | None = None, size: int = SIZE):
    return features.backbone(architecture, source or f"{architecture}.safetensors", size, choose_device("scan"))


def close_to(net, images: np.ndarray, mean: tuple, deviation: tuple) -> tuple[np.ndarray, dict[str, float]]:
    """The mean of the network's output for images and mirror images, on the 0–255 scale, and tolerances for it."""
    mean, deviation = (torch.tensor(part).view(3, 1, 1) for part in (mean, deviation))
    inputs = (torch.from_numpy(images).permute(0, 3, 1, 2) - mean) / deviation
    with torch.no_grad():
        expected = (net(inputs) + net(inputs.flip(3))) / 2
    return expected.numpy(), {"rtol": 1e-3, "atol": 1e-3 * float(expected.abs().max())}


def test_a_backbone_gives_its_heads_input_for_image_and_mirror_image(weights):
    net = weights(SMALL)
    net.fc = torch.nn.Identity()
    images = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    extract = backbone(SMALL)
    result = extract(images)
    assert result.shape == (5, 1024) and result.dtype == np.float32
    mean, deviation = (tuple(255 * level for level in part) for part in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected, close = close_to(net, images, mean, deviation)
    np.testing.assert_allclose(result, expected, **close)
    np.testing.assert_array_equal(result, extract(images))
    np.testing.assert_allclose(result, np.concatenate([extract(images[:2]), extract(images[2:])]), **close)
    np.testing.assert_allclose(result, extract(images[:, :, ::-1]), **close)
    assert np.abs(result[0] - result[1]).max() > 5 * close["atol"]  # images differ by more than the tolerance


def test_weights_of_another_head_with_their_own_normalisation(weights):
    """As the training stages save networks: for 7 classes, with mean and deviation in the metadata."""
    net = weights(SMALL, 7, {"normalisation": "[[128.0, 128.0, 128.0], [64.0, 64.0, 64.0]]"})
    net.fc = torch.nn.Identity()
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    expected, close = close_to(net, images, (128.0,) * 3, (64.0,) * 3)
    np.testing.assert_allclose(backbone(SMALL)(images), expected, **close)


@pytest.mark.parametrize("architecture, source, error", [
    ("resnet17", None, "architecture 'resnet17' is unknown to torchvision"),
    (SMALL, "none", "data/weights/none not found"),
    (SMALL, "missing.safetensors", "missing.safetensors not found"),
    (SMALL, "broken.safetensors", "broken.safetensors is no readable safetensors file"),
    ("mobilenet_v2", f"{SMALL}.safetensors", "don't fit MobileNetV2"),
    ("squeezenet1_1", None, "scan.backbone is squeezenet1_1, which has no linear layer"),
])
def test_an_unusable_backbone_is_refused_before_any_image(weights, tmp_path, architecture, source, error):
    weights(SMALL)
    (tmp_path / "data/weights/broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="^[^\n]*" + error):
        backbone(architecture, source)


def test_a_size_that_the_network_cannot_take_is_refused(weights):
    weights("densenet121")
    with pytest.raises(UserError, match=r"^[^\n]*can't take images of 16×16[^\n]*scan\.image_size"):
        backbone("densenet121", size=16)
