"""Networks from files and from params: damaged files are one line, and an outline takes no memory."""

from pathlib import Path

import numpy as np
import pytest
from training_data import NET, build, unet

from stages.core.errors import UserError
from stages.models import factory

DAMAGE = {"empty": lambda content: b"", "cut": lambda content: content[:-9], "short": lambda content: content[:5],
          "zeros": lambda content: bytes(len(content)), "longer": lambda content: content + b"\0",
          "noise": lambda content: np.random.default_rng(0).integers(0, 256, len(content), np.uint8).tobytes(),
          "header": lambda content: content.replace(b'"normalisation":"[[', b'"normalisation":"{{')}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_weights_is_one_line(tmp_path, damage):
    path = tmp_path / "teacher.safetensors"
    factory.save(build(NET, size=16), path)
    whole = path.read_bytes()
    assert factory.load(NET, path, 4)
    path.write_bytes(DAMAGE[damage](whole))
    assert path.read_bytes() != whole
    with pytest.raises(UserError, match=r"teacher.safetensors is no readable safetensors file"):
        factory.load(NET, path, 4)


def test_a_folder_or_nothing_in_the_place_of_weights(tmp_path):
    with pytest.raises(UserError, match="not found"):
        factory.load(NET, tmp_path / "gone.safetensors", 4)
    with pytest.raises(UserError, match="no readable safetensors file"):
        factory.load(NET, tmp_path, 4)


def test_an_outline_has_the_shapes_and_no_memory():
    large = factory.NetworkParams(model="small_resnet", weights="none",
                                  options={"depth": 34, "width": 1024, "stride": 1})  # 21 GB of weights
    network, shape = factory.outline(large, 7, (512, 512))
    assert shape == (2, 7) and all(value.is_meta for value in network.state_dict().values())
    network, shape = factory.outline(large, 7, (64, 64))  # small images are computed, but not by a network like this
    assert shape == (2, 7) and all(value.is_meta for value in network.state_dict().values())
    assert factory.outline(unet(depth=2, width=4), 5, (24, 32))[1] == (2, 5, 24, 32)


def test_small_images_are_really_computed():
    network, shape = factory.outline(NET, 7, (64, 64))
    assert shape == (2, 7) and not any(value.is_meta for value in network.state_dict().values())


def test_an_outline_finds_what_building_would(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for wrong, words in ((unet(depth=6, width=4), "can't take images of 16×16"),
                         (NET.model_copy(update={"weights": "imagenet"}), "small_resnet has none"),
                         (NET.model_copy(update={"weights": "mine.safetensors"}), "mine.safetensors not found"),
                         (NET.model_copy(update={"model": "resnet"}), "model is 'resnet'")):
        with pytest.raises(UserError, match=words):
            factory.outline(wrong, 3, (16, 16))
    with pytest.raises(UserError, match="can't take images of 300×16"):  # of more pixels than are really computed
        factory.outline(unet(depth=6, width=4), 3, (16, 300))
    Path("data/weights").mkdir(parents=True)
    Path("data/weights/mine.safetensors").touch()  # what it holds is read when it is used
    assert factory.outline(NET.model_copy(update={"weights": "mine.safetensors"}), 3, (16, 16))


def test_a_network_that_computes_with_its_weights_has_no_outline():
    regnet = factory.NetworkParams(model="torchvision", weights="none",
                                   options={"architecture": "regnet_x_400mf", "stem": "standard"})
    assert factory.outline(regnet, 3, (64, 96)) is None
