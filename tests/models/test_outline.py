"""Networks that are described, not built: no memory for weights, and the refusals that building them would meet."""

from pathlib import Path

import pytest
from training_data import NET, unet

from stages.core.errors import UserError
from stages.models import factory
from stages.models.factory import NetworkParams
from stages.models.outline import outline


def test_an_outline_has_the_shapes_and_no_memory():
    large = NetworkParams(model="small_resnet", weights="none",
                                  options={"depth": 34, "width": 1024, "stride": 1})  # 21 GB of weights
    network, shape = outline(large, 7, (512, 512))
    assert shape == (2, 7) and all(value.is_meta for value in network.state_dict().values())
    network, shape = outline(large, 7, (64, 64))  # small images are computed, but not by a network like this
    assert shape == (2, 7) and all(value.is_meta for value in network.state_dict().values())
    assert outline(unet(depth=2, width=4), 5, (24, 32))[1] == (2, 5, 24, 32)


def test_small_images_are_really_computed():
    network, shape = outline(NET, 7, (64, 64))
    assert shape == (2, 7) and not any(value.is_meta for value in network.state_dict().values())


def test_an_outline_finds_what_building_would(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for wrong, words in ((unet(depth=6, width=4), "can't take images of 16×16"),
                         (NET.model_copy(update={"weights": "imagenet"}), "small_resnet has none"),
                         (NET.model_copy(update={"weights": "mine.safetensors"}), "mine.safetensors not found"),
                         (NET.model_copy(update={"model": "resnet"}), "model is 'resnet'")):
        with pytest.raises(UserError, match=words):
            outline(wrong, 3, (16, 16))
    with pytest.raises(UserError, match="can't take images of 300×16"):  # of more pixels than are really computed
        outline(unet(depth=6, width=4), 3, (16, 300))
    Path("data/weights").mkdir(parents=True)
    mine = NET.model_copy(update={"weights": "mine.safetensors"})
    factory.save(factory.build(NET, 5, (16, 16), seed=0), Path("data/weights/mine.safetensors"))
    assert outline(mine, 3, (16, 16)) and outline(mine, 3, (300, 300))  # computed, described: with a head of its own
    wider = mine.model_copy(update={"options": mine.options | {"width": 8}})
    for size in (16, 300):
        with pytest.raises(UserError, match=r"weights mine\.safetensors don't fit"):
            outline(wider, 3, (size, size))


def test_a_network_that_computes_with_its_weights_has_no_outline():
    regnet = NetworkParams(model="torchvision", weights="none",
                                   options={"architecture": "regnet_x_400mf", "stem": "standard"})
    assert outline(regnet, 3, (64, 96)) is None
