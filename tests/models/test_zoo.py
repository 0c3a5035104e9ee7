"""Classification networks: depths, parameters and sizes of small_resnet by hand; what is changed in torchvision's."""

import copy
import typing

import pytest
import torch
from torch import nn

from stages.core.errors import UserError
from stages.models.zoo import small_resnet, timm, torchvision

# Blocks in each stage; a block has two convolutions, and the stem and the head make two layers more.
DEPTHS = {8: (1, 1, 1), 10: (1, 1, 1, 1), 14: (2, 2, 2), 18: (2, 2, 2, 2), 20: (3, 3, 3), 26: (3, 3, 3, 3),
          34: (3, 4, 6, 3)}


def resnet(depth: int, width: int = 4, stride: int = 1, classes: int = 3) -> nn.Sequential:
    options = small_resnet.Options(depth=depth, width=width, stride=stride)
    return small_resnet.build(options, classes, pretrained=False)


def architecture(name: str, stem: str = "standard", pretrained: bool = False) -> nn.Module:
    return torchvision.build(torchvision.Options(architecture=name, stem=stem), 3, pretrained)


@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_counts_the_layers_with_weights(depth):
    """Without the 1×1 convolutions of the shortcuts, as in the paper."""
    modules = list(resnet(depth, width=1).modules())
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    assert len(convolutions) + len(linear) == depth
    # One more for the stem; each stage has twice as many channels as the one before.
    expected = [1, *(2**stage for stage, blocks in enumerate(DEPTHS[depth]) for _ in range(2 * blocks))]
    assert [convolution.out_channels for convolution in convolutions] == expected
    assert [(head.in_features, head.out_features) for head in linear] == [(expected[-1], 3)]


def test_every_depth_that_is_allowed_is_tested():
    allowed = typing.get_args(small_resnet.Options.model_fields["depth"].annotation)
    assert set(DEPTHS) == set(small_resnet.BLOCKS) == set(allowed)


def test_the_parameters_of_the_smallest_by_hand():
    # Convolutions have no bias; BatchNorm has two numbers a channel.
    stem = 9 * 3 * 4 + 8
    first = 2 * (9 * 4 * 4 + 8)  # its shortcut is the identity
    second = 9 * 4 * 8 + 16 + 9 * 8 * 8 + 16 + 4 * 8 + 16
    third = 9 * 8 * 16 + 32 + 9 * 16 * 16 + 32 + 8 * 16 + 32
    head = 16 * 3 + 3
    assert stem + first + second + third + head == 5095
    assert sum(parameter.numel() for parameter in resnet(8).parameters()) == 5095


# Of 64 pixels: halved before the second stage and each one after it.
@pytest.mark.parametrize(("depth", "stride", "size"), [
    (8, 1, 16), (8, 2, 8), (8, 4, 4), (10, 1, 8), (10, 2, 4), (10, 4, 2), (14, 4, 4)])
@torch.inference_mode()
def test_sizes_by_hand(depth, stride, size):
    net = resnet(depth, width=2, stride=stride, classes=5).eval()
    images, channels = torch.zeros(2, 3, 64, 64), 2 * 2**(len(DEPTHS[depth]) - 1)
    pooling = next(place for place, layer in enumerate(net) if isinstance(layer, nn.AdaptiveAvgPool2d))
    assert net[:pooling](images).shape == (2, channels, size, size)
    assert net[:2](images).shape == (2, 2, 64 // stride, 64 // stride)  # stem and first block
    assert net(images).shape == (2, 5)


def test_a_block_starts_as_its_shortcut():
    block, x = small_resnet.Block(4, 4, 1).train(), torch.rand(2, 4, 5, 5)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("pretrained", "kernel"), [(False, (3, 3)), (True, (7, 7))])
@torch.inference_mode()
def test_the_small_stem_does_not_shrink_the_image(pretrained, kernel):
    """Of the published weights the kernel is kept, or they wouldn't fit."""
    net = architecture("resnet18", "small", pretrained).eval()
    assert (net.conv1.kernel_size, net.conv1.stride, net.conv1.bias) == (kernel, (1, 1), None)
    assert isinstance(net.maxpool, nn.Identity)
    first = []
    net.layer1.register_forward_hook(lambda module, inputs, output: first.append(output.shape))
    assert net(torch.zeros(1, 3, 16, 16)).shape == (1, 3) and first == [(1, 64, 16, 16)]


def test_the_standard_stem_is_torchvisions():
    net = architecture("resnet18")
    assert (net.conv1.kernel_size, net.conv1.stride) == ((7, 7), (2, 2)) and isinstance(net.maxpool, nn.MaxPool2d)


@pytest.mark.parametrize(("name", "stem", "message"), [
    ("alexnet", "small", "stem: small is not known for alexnet, whose first stride is 4; use stem: standard"),
    ("resnet19", "standard", "architecture 'resnet19' is unknown to torchvision")], ids=["stem", "name"])
def test_what_can_not_be_built_is_refused_in_one_line(name, stem, message):
    with pytest.raises(UserError, match=message) as refusal:
        architecture(name, stem)
    assert "\n" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_googlenet_has_no_auxiliary_heads(monkeypatch):
    """With them it would answer with a tuple in training."""
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda *_, **__: None)  # which takes seconds
    net = architecture("googlenet")
    assert not net.aux_logits and not [name for name, _ in net.named_modules() if name.startswith("aux")]


def test_imagenet_weights_come_without_auxiliary_heads(monkeypatch):
    state = {"conv1.weight": 1, "aux1.fc.weight": 2, "AuxLogits.fc.weight": 3}
    monkeypatch.setattr(torchvision, "imagenet_weights", {"googlenet": state}.get)
    options = torchvision.Options(architecture="googlenet", stem="standard")
    assert torchvision.imagenet(options)[0] == {"conv1.weight": 1}


@pytest.mark.parametrize(("size", "sides"), [(64, (64, 64)), ([64, 96], (64, 96))])
@pytest.mark.parametrize(("zoo", "options"), [
    (torchvision, {"architecture": "resnet18", "stem": "standard"}),
    (small_resnet, {"depth": 8, "width": 4, "stride": 2})], ids=["torchvision", "small_resnet"])
def test_images_are_enlarged_inside_the_network(zoo, options, size, sides):
    """The weights keep their names."""
    plain, enlarged = (zoo.build(zoo.Options(**options, **given), 3, pretrained=False).eval()
                       for given in ({}, {"input_size": size}))
    enlarged.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 32, 48)
    larger = torch.nn.functional.interpolate(images, sides, mode="bilinear")
    assert torch.equal(enlarged(images), plain(larger)) and not torch.allclose(enlarged(images), plain(images))
    assert torch.equal(copy.deepcopy(enlarged)(images), enlarged(images))


@pytest.mark.parametrize("architecture", ["tf_efficientnet_lite0", "mobilenetv4_conv_small"])
def test_a_head_of_few_classes_starts_small(architecture):
    """As torch draws it: large logits at the start would spoil pre-trained weights in the first steps."""
    torch.manual_seed(0)
    net = timm.build(timm.Options(architecture=architecture), 6, pretrained=True)
    head = [module for module in net.modules() if isinstance(module, torch.nn.Linear)][-1]
    assert head.out_features == 6 and head.weight.abs().max() <= head.in_features**-0.5
