"""Segmentation networks as ONNX files: they agree with torch, and int8 with float, pixel by pixel."""

import numpy as np
import onnx
import pytest
import torch
from conftest import to_int8
from exported_networks import answers
from training_data import LRASPP, build, torchvision_segmentation, unet, unet_torchvision

from stages.deployment import export, opset
from stages.models import factory
from stages.training.losses import cross_entropy_loss

pytestmark = pytest.mark.slow


def trained(params: factory.NetworkParams, size: int, steps: int = 40) -> factory.Normalised:
    """Of three classes: noise, and a disc and a square brighter than it."""
    net = build(params, 3, size).train()
    optimizer = torch.optim.AdamW(net.parameters(), 0.01)
    for step in range(steps):
        images, target = scenes(8, size, seed=step)
        optimizer.zero_grad()
        cross_entropy_loss(net(torch.from_numpy(images).permute(0, 3, 1, 2)), torch.from_numpy(target), 0.0).backward()
        optimizer.step()
    return factory.freeze(net)


def scenes(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N,H,W,3), int64 (N,H,W)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    target = np.zeros((count, size, size), np.int64)
    for mask in target:
        top, left, middle, centre = rng.integers(size // 4, size // 2, 4)
        mask[(rows - middle)**2 + (columns - size + centre)**2 < (size // 6)**2] = 1
        mask[top:top + size // 4, left - size // 5:left] = 2
    level = np.array([60, 120, 180])[target] + rng.normal(0, 30, target.shape)
    return np.repeat(level.clip(0, 255).astype(np.uint8)[..., None], 3, 3), target


def agrees(net: factory.Normalised, model: onnx.ModelProto, size: int) -> None:
    onnx.checker.check_model(model, full_check=True)
    for batch in (1, 3):
        images, _ = scenes(batch, size, seed=batch)
        expected = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
        assert np.abs(answers(model, images) - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_the_exported_unet_agrees_with_torch(upsampling):
    """At 36 pixels: levels of 36, 18, 9 and 4."""
    net = trained(unet(3, 3, upsampling), 36, steps=3)
    agrees(net, export.to_onnx(net, (36, 36)), 36)


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_int8_agrees_with_float_pixel_by_pixel(upsampling):
    net = trained(unet(2, 4, upsampling), 32)
    model = export.to_onnx(net, (32, 32))
    small = to_int8(model, scenes(32, 32, seed=100)[0], centred=True, per_channel=True)
    onnx.checker.check_model(small, full_check=True)
    images, target = scenes(16, 32, seed=200)
    floats, quantised = answers(model, images), answers(small, images)
    right = (floats.argmax(1) == target).mean()
    assert right > 0.9
    assert (floats.argmax(1) == quantised.argmax(1)).mean() > 0.98
    assert (quantised.argmax(1) == target).mean() > right - 0.01
    # Not in 256 steps, in which classes would tie.
    assert len(np.unique(quantised)) > 1000
    kinds = [node.op_type for node in small.graph.node]
    assert kinds[-1] == "Conv" and kinds.count("Conv") == 11 and "Cast" not in kinds


def test_a_unet_on_an_encoder_is_exported_as_the_other_is():
    net = trained(unet_torchvision(2, 4), 36, steps=15)
    model = export.to_onnx(net, (36, 36))
    agrees(net, model, 36)
    assert opset.operator_set(model) == 15
    small = to_int8(model, scenes(32, 36, seed=100)[0], centred=True, per_channel=True)
    onnx.checker.check_model(small, full_check=True)
    images, target = scenes(16, 36, seed=200)
    floats, quantised = answers(model, images), answers(small, images)
    assert (floats.argmax(1) == target).mean() > 0.9
    assert (floats.argmax(1) == quantised.argmax(1)).mean() > 0.97


def test_an_exported_network_of_torchvision_whose_logits_are_added_and_resized():
    net = trained(torchvision_segmentation(LRASPP), 64, steps=3)
    model = export.to_onnx(net, (64, 64))
    agrees(net, model, 64)
    small = to_int8(model, scenes(16, 64, seed=0)[0], centred=True, per_channel=True)
    made = {name: node for node in small.graph.node for name in node.output}
    resized = made["logits"]
    added = made[resized.input[0]]
    assert (resized.op_type, added.op_type) == ("Resize", "Add")
    assert [made[name].op_type for name in added.input] == ["Conv", "Conv"]
    onnx.checker.check_model(small, full_check=True)
    assert answers(small, scenes(4, 64, seed=1)[0]).shape == (4, 3, 64, 64)
