"""The scenes of digits that are made here."""

import itertools
import zipfile

import numpy as np
import pytest
from conftest import Project
from PIL import Image
from sklearn import datasets
from sources import done

from stages.data import builtin
from stages.data.decode import decode_mask


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> dict[str, bytes]:
    project = Project(tmp_path_factory.mktemp("scenes"), "digit_scenes")
    done(project.run("fetch"))
    with zipfile.ZipFile(project.folder / "data/raw.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def decoded(scenes: dict[str, bytes], split: str, folder: str) -> np.ndarray:
    names = [name for name in scenes if name.startswith(f"digit_scenes/{split}/{folder}/")]
    return np.stack([decode_mask(scenes[name], colours=folder == "images") for name in names])


@pytest.mark.slow
def test_digit_scenes_are_the_same_bytes_each_time(scenes):
    assert list(scenes) == sorted(scenes) and len(scenes) == 2 * sum(builtin.SCENES.values())
    again = dict(itertools.islice(builtin.digit_scenes(), 400))  # the test split: made in another process before
    assert again == dict(itertools.islice(scenes.items(), 400))
    assert sum(map(len, scenes.values())) < 25e6


@pytest.mark.slow
def test_digit_scenes_show_every_digit_in_every_split(scenes):
    for split, count in builtin.SCENES.items():
        pictures, masks = decoded(scenes, split, "images"), decoded(scenes, split, "masks")
        assert pictures.shape == (count, 64, 64, 3) and masks.shape == (count, 64, 64)
        share = np.bincount(masks.ravel(), minlength=11) / masks.size
        assert len(share) == 11 and 0.8 < share[0] < 0.95 and (share[1:] > 0.004).all(), share
        digits = [len(np.unique(mask[mask > 0])) for mask in masks]
        assert min(digits) >= 1 and max(digits) == 5  # two to five are laid, the same digit perhaps twice


@pytest.mark.slow
def test_no_digit_of_a_scene_can_be_told_from_another_by_brightness(scenes):
    pictures, masks = decoded(scenes, "train", "images").mean(-1), decoded(scenes, "train", "masks")
    ink = [pictures[masks == 1 + digit].mean() for digit in range(10)]
    assert max(ink) - min(ink) < 10 and min(ink) > pictures[masks == 0].mean() + 60


def test_the_digits_are_those_of_the_library():
    digits, (images, labels) = datasets.load_digits(), builtin._source()
    assert (images == np.rint(digits.images * (255 / 16))).all() and (labels == digits.target).all()


@pytest.mark.slow
def test_digits_of_one_split_are_used_in_no_other(monkeypatch):
    images, labels = builtin._source()
    pools = builtin.division(labels)
    assert sorted(np.concatenate(list(pools.values()))) == list(range(1797))
    for name, pool in pools.items():
        share = np.bincount(labels[pool]) / np.bincount(labels)
        assert np.abs(share - {"train": 0.7, "val": 0.1, "test": 0.2}[name]).max() < 0.02
    # With no ink on those of the other splits, a scene still shows all its digits; with no ink on its own, none.
    monkeypatch.setattr(builtin, "SCENES", {"train": 10, "val": 10, "test": 10})
    for split, pool in pools.items():
        for inked in (True, False):
            blank = images.copy()
            blank[np.isin(np.arange(1797), pool) != inked] = 0
            monkeypatch.setattr(builtin, "_source", lambda blank=blank: (blank, labels))
            masks = decoded(dict(builtin.digit_scenes()), split, "masks")
            assert (masks.max((1, 2)) > 0).all() == inked and (masks > 0).any() == inked


def test_a_digit_stays_in_sight():
    canvas = builtin.Canvas(Image.new("RGB", (64, 64)))
    thing, half = (Image.new("L", (64, 64)) for _ in range(2))
    thing.paste(255, (10, 10, 30, 30))
    half.paste(255, (10, 10, 20, 30))
    colour = np.array([1, 2, 3])
    assert canvas.lay(thing, colour, digit=True) and not canvas.lay(half, colour, digit=True)
    half.paste(0, (10, 10, 16, 30))  # now a fifth
    assert canvas.lay(half, colour, digit=False)
    assert (canvas.owner > 0).sum() == 400 - 80 and canvas.picture.getpixel((12, 12)) == (1, 2, 3)
