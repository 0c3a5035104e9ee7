"""Networks that answer for each pixel: their shapes and sizes, the weights they take over, the files they become."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import to_int8
from torchvision import models

from stages.core.errors import UserError
from stages.deployment import export
from stages.models import factory
from stages.training.losses import cross_entropy_loss

LRASPP, DEEPLAB, FCN = "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"


def unet(depth: int, width: int, upsampling: str = "nearest", weights: str = "none") -> factory.NetworkParams:
    return factory.NetworkParams(model="unet", weights=weights,
                                 options={"depth": depth, "width": width, "upsampling": upsampling})


def torchvision(architecture: str, weights: str = "none") -> factory.NetworkParams:
    return factory.NetworkParams(model="torchvision_segmentation", weights=weights,
                                 options={"architecture": architecture})


def built(params: factory.NetworkParams, classes: int = 4, size: int = 64, seed: int = 0) -> factory.Normalised:
    return factory.build(params, classes, (size, size), seed)


def trained(params: factory.NetworkParams, size: int, steps: int = 40) -> factory.Normalised:
    """Of three classes: noise, and a disc and a square brighter than it."""
    net = built(params, 3, size).train()
    optimizer = torch.optim.AdamW(net.parameters(), 0.01)
    for step in range(steps):
        images, target = scenes(8, size, seed=step)
        optimizer.zero_grad()
        cross_entropy_loss(net(torch.from_numpy(images).permute(0, 3, 1, 2)), torch.from_numpy(target), 0.0).backward()
        optimizer.step()
    return factory.freeze(net)


def scenes(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N,H,W,3), int64 (N,H,W)."""
    chance = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    target = np.zeros((count, size, size), np.int64)
    for one in target:
        top, left, middle, centre = chance.integers(size // 4, size // 2, 4)
        one[(rows - middle)**2 + (columns - size + centre)**2 < (size // 6)**2] = 1
        one[top:top + size // 4, left - size // 5:left] = 2
    level = np.array([60, 120, 180])[target] + chance.normal(0, 30, target.shape)
    return np.repeat(level.clip(0, 255).astype(np.uint8)[..., None], 3, 3), target


def answer(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


@pytest.mark.slow
@pytest.mark.parametrize("params", [unet(1, 2), unet(4, 2, "bilinear"), torchvision(LRASPP), torchvision(DEEPLAB),
                                    torchvision(FCN)], ids=lambda params: "-".join(map(str, params.options.values())))
def test_an_answer_for_each_pixel_at_odd_sizes_too(params):
    net = factory.freeze(built(params))
    with torch.inference_mode():
        for height, width in ((64, 64), (33, 47)):
            assert net(torch.zeros(2, 3, height, width, dtype=torch.uint8)).shape == (2, 4, height, width)


@pytest.mark.parametrize(("width", "parameters"), [(24, 4.416702e6), (4, 0.123386e6)])
def test_the_size_of_a_unet(width, parameters):
    # Levels of w, 2w, 4w, 8w, 16w channels; 9·(3w + w²) + 4w at the top, 9·(3w·w + w²) + 4w at its way up, and so on.
    widths = [width * 2**level for level in range(5)]
    down = sum(9 * (i * o + o * o) + 4 * o for i, o in zip([3, *widths], widths, strict=False))
    up = sum(9 * (3 * o * o + o * o) + 4 * o for o in widths[:-1])
    assert factory.count(built(unet(4, width), classes=4)) == down + up + 4 * (width + 1)
    assert down + up + 4 * (width + 1) == pytest.approx(parameters, rel=1e-3)


def test_a_unet_sees_across_the_image_and_keeps_its_edges():
    """A pixel's answer depends on one 20 pixels away (the way down) and on itself most (the skip)."""
    net = factory.freeze(built(unet(3, 4)))
    images = torch.full((1, 3, 64, 64), 128.0, requires_grad=True)
    net.net(images)[0, 0, 32, 32].backward()
    seen = images.grad[0].abs().sum(0)
    assert seen[32, 52] > 0 and seen.argmax() // 64 in range(30, 35)


@pytest.mark.parametrize(("params", "said"), [
    (unet(5, 2), "can't take images of 16×16"), (unet(7, 2), "depth is 7"), (unet(2, 0), "width is 0"),
    (unet(2, 2, "cubic"), "upsampling is 'cubic'"),
    (torchvision("resnet18"), f"is no segmentation network of torchvision; known: .*{LRASPP}")])
def test_what_can_not_be_built_is_one_line(params, said):
    with pytest.raises(UserError, match=said):
        built(params, size=16)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [LRASPP, DEEPLAB, FCN])
def test_torchvisions_own_weights_fit_and_give_its_own_answer(architecture):
    theirs = models.get_model(architecture, weights=None, weights_backbone=None, num_classes=4).eval()
    ours = built(torchvision(architecture)).net.eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 40, 52)
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs(images)["out"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "backbone"), [(LRASPP, "mobilenet_v3_large"), (FCN, "resnet50")])
def test_imagenet_weights_are_those_of_the_backbone(architecture, backbone, monkeypatch):
    theirs, asked = models.get_model(backbone, weights=None).state_dict(), []

    def download(weights, **how):
        asked.append((type(weights).__name__, how["check_hash"], how["weights_only"]))
        return theirs

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", download)
    net = built(torchvision(architecture, "imagenet"))
    assert [(name.lower(), *how) for name, *how in asked] == [(f"{backbone}_weights", True, True)]
    for key, value in net.net.backbone.state_dict().items():
        assert torch.equal(value, theirs[key if "resnet" in backbone else f"features.{key}"]), key
    assert torch.allclose(net.mean, torch.tensor(factory.IMAGENET[0]))
    again = built(torchvision(architecture, "imagenet")).net.classifier.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in net.net.classifier.state_dict().items())


def test_imagenet_weights_that_can_not_be_downloaded_are_one_line(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"weights of mobilenet_v3_large can't be downloaded \(no route to host\)"):
        built(torchvision(LRASPP, "imagenet"))
    with pytest.raises(UserError, match="unet has none"):
        built(unet(2, 2, weights="imagenet"))


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
    (torchvision(LRASPP), {f"classifier.{level}_classifier.{kind}" for level in ("low", "high")
                           for kind in ("weight", "bias")}),
    (torchvision(DEEPLAB), {"classifier.4.weight", "classifier.4.bias"})], ids=["unet", LRASPP, DEEPLAB])
def test_another_number_of_classes_takes_all_but_the_heads(params, heads, stored):
    other = built(params, classes=7, seed=1)
    name = stored(other)
    adopted = built(params.model_copy(update={"weights": name})).net.state_dict()
    drawn = built(params).net.state_dict()
    for key, value in other.net.state_dict().items():
        assert torch.equal(adopted[key], drawn[key] if key in heads else value), key
    same = built(params.model_copy(update={"weights": name}), classes=7).net.state_dict()
    assert all(torch.equal(value, same[key]) for key, value in other.net.state_dict().items())


@pytest.mark.parametrize("classes", [4, 6, 8])  # of which 6 and 8 are also widths
def test_weights_of_another_width_are_refused(classes, stored):
    name = stored(built(unet(2, 4), classes))
    with pytest.raises(UserError, match=f"weights {name} don't fit UNet"):
        built(unet(2, 6, weights=name), classes)
    with pytest.raises(UserError, match=f"weights {name} don't fit UNet"):
        built(unet(1, 4, weights=name), classes)


def test_a_frozen_teacher_needs_a_linear_layer():
    with pytest.raises(UserError, match=r"frozen goes with a network that ends in a linear layer.* use mode: finetune"):
        factory.head(built(unet(1, 2)).net)


def agrees(net: factory.Normalised, model: onnx.ModelProto, size: int) -> None:
    onnx.checker.check_model(model, full_check=True)
    for batch in (1, 3):
        images, _ = scenes(batch, size, seed=batch)
        expected = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
        assert np.abs(answer(model, images) - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_the_exported_unet_agrees_with_torch(upsampling):
    """At 36 pixels: levels of 36, 18, 9 and 4."""
    net = trained(unet(3, 3, upsampling), 36, steps=3)
    agrees(net, export.to_onnx(net, 36), 36)


@pytest.mark.slow
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_int8_agrees_with_float_pixel_by_pixel(upsampling):
    net = trained(unet(2, 4, upsampling), 32)
    model = export.to_onnx(net, 32)
    small = to_int8(model, scenes(32, 32, seed=100)[0], centred=True, per_channel=True)
    onnx.checker.check_model(small, full_check=True)
    images, target = scenes(16, 32, seed=200)
    whole, quantised = answer(model, images), answer(small, images)
    right = (whole.argmax(1) == target).mean()
    assert right > 0.9
    assert (whole.argmax(1) == quantised.argmax(1)).mean() > 0.98
    assert (quantised.argmax(1) == target).mean() > right - 0.01
    # Not in 256 steps, in which classes would tie.
    assert len(np.unique(quantised)) > 1000
    kinds = [node.op_type for node in small.graph.node]
    assert kinds[-1] == "Conv" and kinds.count("Conv") == 11 and "Cast" not in kinds


@pytest.mark.slow
def test_an_exported_network_of_torchvision_whose_logits_are_added_and_resized():
    net = trained(torchvision(LRASPP), 64, steps=3)
    model = export.to_onnx(net, 64)
    agrees(net, model, 64)
    small = to_int8(model, scenes(16, 64, seed=0)[0], centred=True, per_channel=True)
    made = {name: node for node in small.graph.node for name in node.output}
    resized = made["logits"]
    added = made[resized.input[0]]
    assert (resized.op_type, added.op_type) == ("Resize", "Add")
    assert [made[name].op_type for name in added.input] == ["Conv", "Conv"]
    onnx.checker.check_model(small, full_check=True)
    assert answer(small, scenes(4, 64, seed=1)[0]).shape == (4, 3, 64, 64)
