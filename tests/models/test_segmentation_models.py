"""Networks that answer for each pixel: their shapes and sizes, and the weights they take over."""

import pytest
import torch
from torchvision import models
from training_data import LRASPP, build, torchvision_segmentation, unet

from stages.core.errors import UserError
from stages.models import factory

DEEPLAB, FCN = "deeplabv3_mobilenet_v3_large", "fcn_resnet50"


@pytest.mark.slow
@pytest.mark.parametrize("params", [unet(1, 2), unet(4, 2, "bilinear"),
                                    *map(torchvision_segmentation, (LRASPP, DEEPLAB, FCN))],
                         ids=lambda params: "-".join(map(str, params.options.values())))
def test_an_answer_for_each_pixel_at_odd_sizes_too(params):
    net = factory.freeze(build(params))
    with torch.inference_mode():
        for height, width in ((64, 64), (33, 47)):
            assert net(torch.zeros(2, 3, height, width, dtype=torch.uint8)).shape == (2, 4, height, width)


@pytest.mark.parametrize(("width", "parameters"), [(24, 4.416702e6), (4, 0.123386e6)])
def test_the_size_of_a_unet(width, parameters):
    # Levels of w, 2w, 4w, 8w, 16w channels; 9·(3w + w²) + 4w at the top, 9·(3w·w + w²) + 4w at its way up, and so on.
    widths = [width * 2**level for level in range(5)]
    down = sum(9 * (i * o + o * o) + 4 * o for i, o in zip([3, *widths], widths, strict=False))
    up = sum(9 * (3 * o * o + o * o) + 4 * o for o in widths[:-1])
    assert factory.count(build(unet(4, width), classes=4)) == down + up + 4 * (width + 1)
    assert down + up + 4 * (width + 1) == pytest.approx(parameters, rel=1e-3)


def test_a_unet_sees_across_the_image_and_keeps_its_edges():
    """A pixel's answer depends on one 20 pixels away (the way down) and on itself most (the skip)."""
    net = factory.freeze(build(unet(3, 4)))
    images = torch.full((1, 3, 64, 64), 128.0, requires_grad=True)
    net.net(images)[0, 0, 32, 32].backward()
    influence = images.grad[0].abs().sum(0)
    assert influence[32, 52] > 0 and influence.argmax() // 64 in range(30, 35)


@pytest.mark.parametrize(("params", "message"), [
    (unet(5, 2), "can't take images of 16×16"), (unet(7, 2), "depth is 7"), (unet(2, 0), "width is 0"),
    (unet(2, 2, "cubic"), "upsampling is 'cubic'"),
    (torchvision_segmentation("resnet18"), f"is no segmentation network of torchvision; known: .*{LRASPP}")])
def test_what_can_not_be_built_is_one_line(params, message):
    with pytest.raises(UserError, match=message):
        build(params, size=16)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [LRASPP, DEEPLAB, FCN])
def test_torchvisions_own_weights_fit_and_give_its_own_answer(architecture):
    theirs = models.get_model(architecture, weights=None, weights_backbone=None, num_classes=4).eval()
    ours = build(torchvision_segmentation(architecture)).net.eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 40, 52)
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs(images)["out"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "backbone"), [(LRASPP, "mobilenet_v3_large"), (FCN, "resnet50")])
def test_imagenet_weights_are_those_of_the_backbone(architecture, backbone, monkeypatch):
    theirs, downloads = models.get_model(backbone, weights=None).state_dict(), []

    def download(weights, **how):
        downloads.append((type(weights).__name__, how["check_hash"], how["weights_only"]))
        return theirs

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", download)
    net = build(torchvision_segmentation(architecture, "imagenet"))
    assert [(name.lower(), *how) for name, *how in downloads] == [(f"{backbone}_weights", True, True)]
    for key, value in net.net.backbone.state_dict().items():
        assert torch.equal(value, theirs[key if "resnet" in backbone else f"features.{key}"]), key
    assert torch.allclose(net.mean, torch.tensor(factory.IMAGENET[0]))
    again = build(torchvision_segmentation(architecture, "imagenet")).net.classifier.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in net.net.classifier.state_dict().items())


def test_imagenet_weights_that_can_not_be_downloaded_are_one_line(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"weights of mobilenet_v3_large can't be downloaded \(no route to host\)"):
        build(torchvision_segmentation(LRASPP, "imagenet"))
    with pytest.raises(UserError, match="unet has none"):
        build(unet(2, 2, weights="imagenet"))


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Puts a network's weights into data/weights/ of a folder of its own; returns their name."""
    monkeypatch.chdir(tmp_path)

    def put(net: factory.Normalised) -> str:
        factory.save(net, factory.WEIGHTS / "other.safetensors")
        return "other.safetensors"

    return put


@pytest.mark.slow
@pytest.mark.parametrize(("params", "heads"), [
    (unet(2, 3), {"head.weight", "head.bias"}),
    (torchvision_segmentation(LRASPP), {f"classifier.{level}_classifier.{kind}" for level in ("low", "high")
                                        for kind in ("weight", "bias")}),
    (torchvision_segmentation(DEEPLAB), {"classifier.4.weight", "classifier.4.bias"})], ids=["unet", LRASPP, DEEPLAB])
def test_another_number_of_classes_takes_all_but_the_heads(params, heads, stored):
    other = build(params, classes=7, seed=1)
    name = stored(other)
    adopted = build(params.model_copy(update={"weights": name})).net.state_dict()
    drawn = build(params).net.state_dict()
    for key, value in other.net.state_dict().items():
        assert torch.equal(adopted[key], drawn[key] if key in heads else value), key
    same = build(params.model_copy(update={"weights": name}), classes=7).net.state_dict()
    assert all(torch.equal(value, same[key]) for key, value in other.net.state_dict().items())


@pytest.mark.parametrize("classes", [4, 6, 8])  # of which 6 and 8 are also widths
def test_weights_of_another_width_are_refused(classes, stored):
    name = stored(build(unet(2, 4), classes))
    with pytest.raises(UserError, match=f"weights {name} don't fit UNet"):
        build(unet(2, 6, weights=name), classes)
    with pytest.raises(UserError, match=f"weights {name} don't fit UNet"):
        build(unet(1, 4, weights=name), classes)


def test_a_frozen_teacher_needs_a_linear_layer():
    with pytest.raises(UserError, match=r"frozen goes with a network that ends in a linear layer.* use mode: finetune"):
        factory.head(build(unet(1, 2)).net)
