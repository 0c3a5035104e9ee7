"""Views that are computed on a device are those of stages/data/augmentation.py."""

import numpy as np
import pytest
import torch
from training_data import CPU, recipe

from stages.data import augmentation
from stages.data.augmentation import Augment, ImageArrays
from stages.training import batches
from stages.training.device_images import DeviceImages

NOTHING = {"crop": "none", "padding": 0, "min_area": 1.0, "flip": False, "turns": False, "colour": 0.0}
EXACT = {"nothing": {}, "pad": {"crop": "pad", "padding": 5, "flip": True},
         "resized": {"crop": "resized", "min_area": 0.2, "flip": True}, "turns": {"turns": True, "flip": True}}


@pytest.fixture
def images() -> ImageArrays:
    draw = np.random.default_rng(0)
    return ImageArrays(*(draw.integers(0, 256, (count, 24, 24, 3), np.uint8) for count in (30, 20)))


@pytest.mark.parametrize("room", [0, 10**9], ids=["sent", "stored"])
@pytest.mark.parametrize("changes", EXACT.values(), ids=EXACT)
def test_moved_and_interpolated_pixels_are_the_same_to_the_bit(images, changes, room):
    augment, samples = Augment(**NOTHING | changes), np.random.default_rng(1).permutation(50)[:33]
    own = DeviceImages(images, CPU, room)
    assert (own.stored is not None) == bool(room)
    computed = own.view(samples, augment, 3, 7)
    assert computed.dtype == torch.uint8
    assert (computed.numpy() == augmentation.view(images, samples, augment, 3, 7)).all()


def test_colours_differ_by_one_level_at_most_and_seldom(images):
    augment, samples = Augment(**NOTHING | {"crop": "resized", "min_area": 0.5, "colour": 0.4}), np.arange(50)
    computed = DeviceImages(images, CPU, 10**9).view(samples, augment, 0, 1).numpy().astype(int)
    difference = np.abs(computed - augmentation.view(images, samples, augment, 0, 1))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.005


def test_the_stored_images_are_brought_over_piece_by_piece(images, monkeypatch):
    monkeypatch.setattr("stages.training.device_images.COPIED", 24 * 24 * 3 * 7)
    stored = DeviceImages(images, CPU, 10**9).stored.numpy()
    assert (stored == augmentation.unaugmented(images, np.arange(50))).all()


def test_batches_are_those_of_the_processor(prepared_folder):
    """Of images, labels and order alike; the GPU's part played by the processor."""
    own, other = (batches.ImageBatches(recipe(), 5, CPU) for _ in range(2))
    other.on_gpu = DeviceImages(other.images, CPU, 10**9)
    for one, two in zip(own.epoch(2), other.epoch(2), strict=True):
        assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
        assert one.images.stride() == two.images.stride()
