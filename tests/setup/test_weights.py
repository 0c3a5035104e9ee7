"""Which weights make new finds: files that fit, torchvision's own where they can be had."""

import contextlib
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stages.models import factory
from stages.setup import rules, weights


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """No network, nothing downloaded before; the folder of the weights."""
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights.urllib.request, "urlopen", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    factory.WEIGHTS.mkdir(parents=True)
    return factory.WEIGHTS


def store(path: Path, architecture: str) -> None:
    from torchvision import models

    save_file(models.get_model(architecture, weights=None).state_dict(), path)


def test_without_a_file_and_a_network_a_package_has_weights(here):
    assert weights.teacher("classification") == rules.Weights("timm", "tf_efficientnet_lite0", "imagenet")
    assert weights.teacher("segmentation") is None
    assert weights.student() == ""


def test_a_file_that_is_named_like_a_network_and_fits(here, capsys):
    store(here / "shufflenet_v2_x0_5-own.safetensors", "shufflenet_v2_x0_5")
    (here / "mobilenet_v2-imagenet.safetensors").write_bytes(b"nothing")
    (here / "mine.safetensors").touch()
    own = rules.Weights("torchvision", "shufflenet_v2_x0_5", "shufflenet_v2_x0_5-own.safetensors")
    assert weights.teacher("classification") == own
    assert "not used: data/weights/mobilenet_v2-imagenet.safetensors is no readable" in capsys.readouterr().err


def test_for_masks_it_has_to_fit_an_encoder(here, capsys):
    store(here / "mobilenet_v2.safetensors", "mobilenet_v2")
    assert weights.teacher("segmentation") == rules.Weights("torchvision", "mobilenet_v2", "mobilenet_v2.safetensors")
    (here / "mobilenet_v2.safetensors").unlink()
    store(here / "shufflenet_v2_x0_5.safetensors", "shufflenet_v2_x0_5")
    assert weights.teacher("segmentation") is None
    assert "architecture 'shufflenet_v2_x0_5' is no network of torchvision that can be" in capsys.readouterr().err


def test_the_first_choice_is_taken_before_others(here):
    store(here / "mobilenet_v2-imagenet.safetensors", "mobilenet_v2")
    store(here / "alexnet.safetensors", "shufflenet_v2_x0_5")  # fits another network
    store(here / "shufflenet_v2_x0_5.safetensors", "shufflenet_v2_x0_5")
    first = rules.Weights("torchvision", "mobilenet_v2", "mobilenet_v2-imagenet.safetensors")
    assert weights.teacher("classification") == first


def test_what_torchvision_has(here, monkeypatch):
    asked = []

    def answer(request, timeout):
        asked.append(request.get_method())
        return contextlib.nullcontext()

    monkeypatch.setattr(weights.urllib.request, "urlopen", answer)
    own = rules.Weights("torchvision", "mobilenet_v2", "imagenet")
    assert weights.teacher("segmentation") == own == weights.teacher("classification") and asked == ["HEAD"] * 2


def test_a_student_to_start_from(here):
    own = factory.NetworkParams(model="small_resnet", options=rules.student_options(96), weights="none")
    factory.save(factory.build(own, 7, (64, 64), seed=0), here / "small_resnet_14_32.safetensors")
    assert weights.student() == "small_resnet_14_32.safetensors"
