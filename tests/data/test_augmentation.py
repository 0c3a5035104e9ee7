"""Augmented views: pixels by hand, and draws that depend on (seed, sample, view) alone."""

import numpy as np
import pytest

from stages.core.errors import UserError
from stages.data import augmentation, rng
from stages.data.augmentation import Augment, ImageArrays

NOTHING = {"crop": "none", "padding": 0, "min_area": 1.0, "flip": False, "turns": False, "colour": 0.0}
KINDS = {
    "pad": Augment(**NOTHING | {"crop": "pad", "padding": 3, "flip": True}),
    "resized": Augment(**NOTHING | {"crop": "resized", "min_area": 0.3, "flip": True}),
    "colour": Augment(**NOTHING | {"colour": 0.4, "flip": True}),
    "turns": Augment(**NOTHING | {"turns": True, "flip": True}),
    "all": Augment(**NOTHING | {"crop": "resized", "min_area": 0.3, "colour": 0.4, "turns": True, "flip": True}),
}


@pytest.fixture
def stored() -> ImageArrays:
    return ImageArrays(np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8))


def test_without_augmentation_images_stay_as_they_are(stored):
    rows = np.array([3, 0, 7])
    assert (augmentation.view(stored, rows, Augment(**NOTHING), 0, 5) == stored.parts[0][rows]).all()
    assert (augmentation.unaugmented(stored, rows, mirror=True) == stored.parts[0][rows, :, ::-1]).all()


def test_padding_reflects_without_repeating_the_border():
    # A row 0 1 2 3, padded by 2, is 2 1 0 1 2 3 2 1: the five crops of width 4 by hand.
    image = np.arange(4, dtype=np.uint8)[None, None, :, None].repeat(4, 1).repeat(3, 3)
    crops = {(2, 1, 0, 1), (1, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 2), (2, 3, 2, 1)}
    many = ImageArrays(image.repeat(200, 0))
    views = augmentation.view(many, np.arange(200), Augment(**NOTHING | {"crop": "pad", "padding": 2}), 0, 0)
    assert {tuple(int(value) for value in row) for row in views[:, 0, :, 0]} == crops


def test_mirror_says_which_views_are_mirrored(stored):
    augment, rows = Augment(**NOTHING | {"flip": True}), np.arange(40)
    mirrored = augmentation.is_flipped(rows, augment, seed=1, number=2)
    assert 8 < mirrored.sum() < 32
    views = augmentation.view(stored, rows, augment, 1, 2)
    assert (views[mirrored] == stored.parts[0][mirrored][:, :, ::-1]).all()
    assert (views[~mirrored] == stored.parts[0][~mirrored]).all()
    assert not augmentation.is_flipped(rows, Augment(**NOTHING), 1, 2).any()


@pytest.mark.parametrize("augment", KINDS.values(), ids=KINDS)
def test_a_view_depends_on_seed_sample_and_number_alone(stored, augment, monkeypatch):
    rows = np.array([5, 30, 11, 2])
    together = augmentation.view(stored, rows, augment, seed=3, number=4)
    alone = [augmentation.view(stored, rows[[i]], augment, seed=3, number=4)[0] for i in range(4)]
    assert (together == alone).all()
    monkeypatch.setattr(augmentation, "CHUNK_PIXELS", 3 * 8 * 8)  # three images, then the fourth in the same memory
    assert (together == augmentation.view(stored, rows, augment, seed=3, number=4)).all()
    assert (together != augmentation.view(stored, rows, augment, seed=3, number=5)).any()
    assert (together != augmentation.view(stored, rows, augment, seed=4, number=4)).any()


def test_a_resized_view_of_a_ramp_is_a_ramp():
    """Bilinear sampling of a linear picture is linear: steps of the window's share, within rounding."""
    ramp = (np.arange(32) * 8).astype(np.uint8)[None, None, :, None].repeat(32, 1).repeat(3, 3)
    resized = Augment(**NOTHING | {"crop": "resized", "min_area": 0.25})
    views = augmentation.view(ImageArrays(ramp.repeat(50, 0)), np.arange(50), resized, 0, 0)
    inside = views[:, 0, 2:-2, 0].astype(int)
    steps = np.diff(inside, axis=1)
    assert steps.min() >= 2 and steps.max() <= 9  # 8 × share, share from sqrt(0.25 · 3/4) to 1
    assert (steps.max(1) - steps.min(1) <= 2).all()


def drawn(monkeypatch, **draws: float) -> None:
    """Draws of a view as given, in place of random ones; 0 for the others."""
    names = ("top", "left", "mirror", "area", "aspect", "brightness", "contrast", "saturation", "turn")
    monkeypatch.setattr(rng, "uniform", lambda *_: np.array([[draws.get(name, 0.0) for name in names]]))


def test_padding_moves_rows_and_columns_each_by_its_own_draw(monkeypatch):
    drawn(monkeypatch, top=0.4, left=0.99)  # of the three places of a padding of 1: the second and the third
    image = np.add.outer(10 * np.arange(4), np.arange(4)).astype(np.uint8)  # the digits of a pixel: its row, its column
    augment = Augment(**NOTHING | {"crop": "pad", "padding": 1})
    view = augmentation.view(ImageArrays(image[None, ..., None].repeat(3, 3)), np.array([0]), augment, 0, 0)
    assert view[0, ..., 0].tolist() == image[np.ix_([0, 1, 2, 3], [1, 2, 3, 2])].tolist()


@pytest.mark.parametrize(("area", "aspect", "shares"), [
    (0.0, 1.0, (0.25**0.5 * (3 / 4)**0.5, 0.25**0.5 * (4 / 3)**0.5)),  # a quarter of the area, 4:3
    (0.0, 0.0, (0.25**0.5 * (4 / 3)**0.5, 0.25**0.5 * (3 / 4)**0.5)),  # the same, 3:4
    (1.0, 1.0, ((3 / 4)**0.5, 1.0))])  # all of the area: no side is longer than the image
def test_a_resized_crop_by_hand(monkeypatch, area, aspect, shares):
    drawn(monkeypatch, top=0.25, left=0.75, area=area, aspect=aspect)
    side = np.arange(32)
    augment = Augment(**NOTHING | {"crop": "resized", "min_area": 0.25})
    for axis, (share, start) in enumerate(zip(shares, (0.25, 0.75), strict=True)):
        ramp = np.broadcast_to(7 * side[:, None] if axis == 0 else 7 * side, (32, 32)).astype(np.uint8)
        view = augmentation.view(ImageArrays(ramp[None, ..., None].repeat(3, 3)), np.array([0]), augment, 0, 0)
        line = view[0, :, 5, 0] if axis == 0 else view[0, 5, :, 0]
        expected = 7 * np.clip((side + 0.5) * share + start * 32 * (1 - share) - 0.5, 0, 31)
        assert np.abs(line - expected).max() <= 0.501


@pytest.mark.parametrize("quarter", range(4))
def test_quarter_turns_by_hand(monkeypatch, stored, quarter):
    drawn(monkeypatch, turn=quarter / 4 + 0.1)
    view = augmentation.view(stored, np.array([3]), Augment(**NOTHING | {"turns": True}), 0, 0)
    assert (view[0] == np.rot90(stored.parts[0][3], quarter)).all()


def test_quarter_turns_are_for_squares():
    oblong = ImageArrays(np.zeros((2, 8, 12, 3), np.uint8))
    with pytest.raises(UserError, match=r"^params.yaml: augment.turns is true, but images of 12×8 pixels"):
        augmentation.view(oblong, np.array([0]), Augment(**NOTHING | {"turns": True}), 0, 0)
    with pytest.raises(UserError, match=r"augment\.turns is true"):
        augmentation.transform_targets(np.zeros((2, 8, 12), int), np.array([0]), Augment(**NOTHING | {"turns": True}),
                                       0, 0)


@pytest.mark.parametrize("kind", ["pad", "resized"])
def test_views_of_oblong_images_are_those_of_the_square_around_them(kind):
    """Rows and columns are drawn for themselves: an image repeated downwards gives the same columns."""
    images = np.random.default_rng(1).integers(0, 256, (5, 1, 12, 3), np.uint8)
    oblong, square = (ImageArrays(images.repeat(height, 1)) for height in (8, 12))
    augment = KINDS[kind]
    views = [augmentation.view(some, np.arange(5), augment, 0, 3) for some in (oblong, square)]
    assert views[0].shape == (5, 8, 12, 3) and (views[0] == views[1][:, :8]).all()
    assert (views[0] != oblong.parts[0]).any()
    masks = images[..., 0].astype(np.int16)
    moved = [augmentation.transform_targets(masks.repeat(height, 1), np.arange(5), augment, 0, 3)
             for height in (8, 12)]
    assert moved[0].shape == (5, 8, 12) and (moved[0] == moved[1][:, :8]).all()


@pytest.mark.parametrize(("draws", "image", "expected"), [
    # Brightness × 1.5.
    ((1, 0.5, 0.5), [[100, 50, 20]], [[150, 75, 30]]),
    # Contrast × 1.5 about the image's mean luma, 80.
    ((0.5, 1, 0.5), [[120, 120, 120], [40, 40, 40]], [[140, 140, 140], [20, 20, 20]]),
    # Saturation × 0.5 about the pixel's own luma, 0.299 · 100 + 0.587 · 50 + 0.114 · 20 = 61.53.
    ((0.5, 0.5, 0), [[100, 50, 20]], [[81, 56, 41]]),
    # Saturation × 1.5: the last would be −0.8.
    ((0.5, 0.5, 1), [[100, 50, 20]], [[119, 44, 0]]),
    # Each in its turn: 120, 60, 24, less contrast × 0.5 about 73.8 (luma), then saturation × 1.5 about the same.
    ((0.7, 0, 1), [[100, 50, 20]], [[108, 63, 36]])])
def test_colour_by_hand(monkeypatch, draws, image, expected):
    monkeypatch.setattr(rng, "uniform", lambda *_: np.array([[0, 0, 0, 0, 0, *draws, 0]]))
    images = ImageArrays(np.array(image, np.uint8).reshape(1, 1, -1, 3))
    view = augmentation.view(images, np.array([0]), Augment(**NOTHING | {"colour": 0.5}), 0, 0)
    assert view.reshape(-1, 3).tolist() == expected


def test_two_arrays_are_addressed_as_one():
    first, second = (np.random.default_rng(i).integers(0, 256, (n, 4, 4, 3), np.uint8) for i, n in ((0, 3), (1, 5)))
    both = ImageArrays(first, second)
    rows = np.array([7, 0, 3, 2])
    assert len(both) == 8
    assert (augmentation.unaugmented(both, rows) == np.concatenate([first, second])[rows]).all()
    assert len(ImageArrays(first, second[:0])) == 3


def test_turns_are_the_eight_symmetries_of_a_square(stored):
    image = ImageArrays(stored.parts[0][:1].repeat(400, 0))
    views = augmentation.view(image, np.arange(400), KINDS["turns"], 0, 0)
    turned = [np.rot90(side, quarter).tobytes() for quarter in range(4)
              for side in (image.parts[0][0], image.parts[0][0][:, ::-1])]
    counts = {kind: sum(view.tobytes() == kind for view in views) for kind in turned}
    assert sum(counts.values()) == 400 and min(counts.values()) > 25


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("augment", KINDS.values(), ids=KINDS)
def test_a_mask_moves_as_its_image_does(augment, axis):
    """Ramps whose grey is their class: in any view both are the same ramp still, to half a step and rounding."""
    ramp = (6 * np.indices((30, 32, 32))[axis]).astype(np.int16)
    images, rows = ImageArrays(ramp[..., None].repeat(3, 3).astype(np.uint8)), np.array([4, 29, 4, 11])
    views = augmentation.view(images, rows, augment.model_copy(update={"colour": 0.0}), 2, 9)[..., 0].astype(int)
    moved = augmentation.transform_targets(ramp, rows, augment, 2, 9)
    assert moved.dtype == np.int16 and moved.std() > 20
    assert np.abs(views - moved).max() <= (3.5 if augment.crop == "resized" else 0)


def test_a_label_of_a_whole_image_stays():
    labels = np.array([3, 1, 2])
    assert augmentation.transform_targets(labels, np.array([2, 0]), KINDS["turns"], 0, 1).tolist() == [2, 3]
