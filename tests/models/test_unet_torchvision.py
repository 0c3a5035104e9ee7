"""U-Nets on an encoder of torchvision: its levels, and the weights that they take over."""

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models
from training_data import build, unet_torchvision

from stages.core.errors import UserError
from stages.models import factory
from stages.models.outline import outline

FILE = "mobilenet_v2-imagenet.safetensors"


@pytest.fixture
def theirs(tmp_path, monkeypatch) -> models.MobileNetV2:
    """torchvision's MobileNetV2, with 1000 classes, whose state dict lies in data/weights/ of a folder of its own."""
    monkeypatch.chdir(tmp_path)
    factory._tell_once.cache_clear()
    factory.WEIGHTS.mkdir(parents=True)
    torch.manual_seed(7)
    net = models.mobilenet_v2(weights=None).eval()
    save_file(net.state_dict(), factory.WEIGHTS / FILE)
    return net


@pytest.mark.parametrize(("architecture", "depth"), [("mobilenet_v2", 5), ("mobilenet_v2", 3), ("resnet18", 4)])
def test_an_answer_for_each_pixel_at_odd_sizes_too(architecture, depth):
    net = factory.freeze(build(unet_torchvision(depth, 2, architecture)))
    with torch.inference_mode():
        for height, width in ((64, 64), (33, 47)):
            assert net(torch.zeros(2, 3, height, width, dtype=torch.uint8)).shape == (2, 4, height, width)


def test_a_level_ends_where_the_next_layer_shrinks_the_picture():
    """MobileNetV2's bottlenecks: Sandler et al., CVPR 2018, table 2. ResNet: He et al., CVPR 2016, table 1."""
    for architecture, channels in (("mobilenet_v2", [16, 24, 32, 96, 1280]), ("resnet18", [64, 64, 128, 256, 512])):
        x = torch.zeros(1, 3, 64, 64)
        for number, level in enumerate(build(unet_torchvision(5, 2, architecture)).net.encoder.eval(), 1):
            x = level(x)
            assert x.shape == (1, channels[number - 1], 64 // 2**number, 64 // 2**number)


def test_parameters_by_hand():
    # The first level: 3×3 to 32 channels, 3×3 a channel, 1×1 to 16; a BatchNorm behind each. One block of the way up
    # takes its 16 channels and the image's 3, and the head its 2.
    encoder = 9 * 3 * 32 + 64 + 9 * 32 + 64 + 32 * 16 + 32
    up = 9 * (16 + 3) * 2 + 4 + 9 * 2 * 2 + 4
    assert factory.count(build(unet_torchvision(1, 2), classes=4)) == encoder + up + 2 * 4 + 4


@pytest.mark.parametrize("depth", [2, 5])
def test_the_encoder_is_taken_from_a_classifier_and_the_rest_is_drawn(depth, theirs, capsys):
    net = build(unet_torchvision(depth, 2, weights=FILE))
    build(unet_torchvision(depth, 2, weights=FILE))
    assert capsys.readouterr().err.count("taken for the encoder") == 1
    assert torch.allclose(net.mean, torch.tensor(factory.IMAGENET[0]))
    drawn = build(unet_torchvision(depth, 2))
    assert torch.allclose(drawn.mean, torch.tensor(factory.CENTRED[0])) and not capsys.readouterr().err
    assert all(torch.equal(value, drawn.net.state_dict()[key]) for key, value in net.net.state_dict().items()
               if not key.startswith("encoder."))
    x = features = torch.randn(1, 3, 64, 64)
    for level in net.net.encoder.eval():
        x = level(x)
    for layer in theirs.features[:{2: 4, 5: 19}[depth]]:
        features = layer(features)
    assert torch.allclose(x, features, rtol=1e-3, atol=1e-6)


def test_a_classifier_of_old_counts_no_batches(monkeypatch):
    theirs = {key: value for key, value in models.resnet18(weights=None).state_dict().items()
              if not key.endswith("num_batches_tracked")}
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda weights, **how: theirs)
    state = build(unet_torchvision(5, 2, "resnet18", "imagenet")).net.state_dict()
    assert torch.equal(state["encoder.0.bn1.running_var"], theirs["bn1.running_var"])
    assert torch.equal(state["encoder.0.conv1.weight"], theirs["conv1.weight"])
    assert state["encoder.0.bn1.num_batches_tracked"] == 0


def test_its_own_weights_are_taken_whole_but_for_the_head_of_other_classes(theirs, capsys):
    params = unet_torchvision(2, 2, weights="own.safetensors")
    other = build(unet_torchvision(2, 2), classes=7, seed=1)
    factory.save(other, factory.WEIGHTS / "own.safetensors")
    adopted, drawn = build(params).net.state_dict(), build(unet_torchvision(2, 2)).net.state_dict()
    for key, value in other.net.state_dict().items():
        assert torch.equal(adopted[key], drawn[key] if key.startswith("head.") else value), key
    assert not capsys.readouterr().err


def test_imagenet_weights_are_those_of_the_architecture(theirs, monkeypatch):
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda weights, **how: theirs.state_dict())
    stem = build(unet_torchvision(1, 2, weights="imagenet")).net.encoder[0][0][0].weight
    assert torch.equal(stem, theirs.features[0][0].weight)


@pytest.mark.parametrize(("params", "message"), [
    (unet_torchvision(2, 2, "resnet18", FILE), f"weights {FILE} don't fit UNetTorchvision: .*Missing key"),
    (unet_torchvision(5, 2, "convnext_atto"), "architecture 'convnext_atto' is no network of torchvision that can"),
    (unet_torchvision(5, 2, "shufflenet_v2_x0_5"), "some that can: mobilenet_v2, resnet18"),
    (unet_torchvision(6, 2), "depth is 6"),
    (unet_torchvision(5, 2, "squeezenet1_1"), "params.yaml: options.depth is 5, but .* halves a picture 4 times")])
def test_what_can_not_be_built_is_one_line(params, message, theirs):
    with pytest.raises(UserError, match=message) as refusal:
        build(params)
    assert "\n" not in str(refusal.value)


def test_an_outline_takes_no_memory():
    network, shape = outline(unet_torchvision(5, 8), 3, (64, 96))
    assert shape == (2, 3, 64, 96) and all(value.is_meta for value in network.state_dict().values())
