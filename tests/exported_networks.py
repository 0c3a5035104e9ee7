"""Small networks as ONNX files."""

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import to_int8

from stages.deployment import export, onnx_model
from stages.models import factory

STUDENT = {"model": "small_resnet", "options": {"depth": 8, "width": 8, "stride": 2}, "weights": "none"}
CLASSES = ("ape", "bee", "cat", "dög")
SIDE = 16
CARD = onnx_model.Card(CLASSES, SIDE, "squash", 1.0, 0, "classification", (128.0,) * 3, (64.0,) * 3, "small_resnet",
                       "student", "int8", (), "0" * 64, "1" * 64)


def net(seed: int = 0) -> factory.Normalised:
    """As after some training: BatchNorm's statistics are not the identity, or nothing would be tested."""
    built = factory.build(factory.NetworkParams(**STUDENT), len(CLASSES), (32, 32), seed)
    torch.manual_seed(seed)
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5), torch.nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2), module.running_var.uniform_(0.5, 1.5)
    return factory.freeze(built)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


@functools.cache
def _float_model() -> bytes:
    return export.to_onnx(net(), (SIDE, SIDE)).SerializeToString()


def float_model() -> onnx.ModelProto:
    """net(), exported; a copy of its own for each call."""
    return onnx.load_from_string(_float_model())


def answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    return onnx_model.session(model.SerializeToString(), 1).run(None, {onnx_model.IMAGE: images})[0]


def write_both(folder: Path) -> None:
    """float.onnx and int8.onnx of one network; also run in another process."""
    model = float_model()
    onnx_model.write(to_int8(model, pictures(40), centred=True, per_channel=True), CARD, folder / "int8.onnx")
    onnx_model.write(model, CARD, folder / "float.onnx")


@functools.cache  # a fixture that several modules import is made anew for each of them
def _exported(folder: Path) -> Path:
    folder.mkdir()
    write_both(folder)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """A folder with float.onnx and int8.onnx, to be read only."""
    return _exported(tmp_path_factory.getbasetemp() / "exported")
