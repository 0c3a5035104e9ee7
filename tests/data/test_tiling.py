"""Pictures to tiles and back: by hand where it can be, and put together again whatever the size."""

import itertools

import numpy as np
import pytest
from PIL import Image

from stages.data import tiling
from stages.data.prepared import IGNORED
from stages.data.tiling import Sizing

RANDOM = np.random.default_rng(0)


def tiles(size: int, overlap: int, scale: float = 1.0) -> Sizing:
    return Sizing(size, size, "tiles", scale, overlap)


def test_places_by_hand():
    # 10 wide, squares of 4 that share at least 1: 0, 3, 6 reach the edge; 4 high needs one row.
    assert [place[1:3] for place in tiling.places(4, 10, 0, tiles(4, 1))] == [(0, 0), (0, 3), (0, 6)]
    assert tiling.places(4, 10, 7, tiles(4, 1))[0] == (7, 0, 0, 4, 10)
    # At half the scale 5 high and 10 wide.
    assert [place[1:] for place in tiling.places(10, 20, 0, tiles(8, 2, 0.5))] == [(0, 0, 5, 10), (0, 2, 5, 10)]


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_one_tile_unless_cut(resize):
    assert tiling.places(100, 37, 3, Sizing(8, 12, resize, 0.5, 4)) == [(3, 0, 0, 8, 12)]


@pytest.mark.parametrize(("shape", "tile", "used"), [
    ((360, 640), (72, 128), (360, 640)),  # the same ratio
    ((480, 640), (72, 128), (360, 640)), ((360, 900), (72, 128), (360, 640)), ((300, 200), (8, 8), (200, 200)),
    ((100, 37), (8, 12), (25, 37)),  # 24.7
    ((1, 50), (12, 8), (1, 1)), ((50, 1), (8, 12), (1, 1))])
def test_a_crop_has_a_tiles_ratio(shape, tile, used):
    assert tiling.used_shape(*shape, Sizing(*tile, "crop", 1.0, 0)) == used
    assert tiling.used_shape(*shape, Sizing(*tile, "squash", 1.0, 0)) == shape


def test_oblong_tiles_by_hand():
    # 10 wide, tiles of 6 that share at least 1: 0, 4; 7 high, tiles of 4: 0, 3.
    assert [place[1:3] for place in tiling.places(7, 10, 0, Sizing(4, 6, "tiles", 1.0, 1))] == [
        (0, 0), (0, 4), (3, 0), (3, 4)]


@pytest.mark.parametrize("tile", [(8, 8), (6, 13)])
@pytest.mark.parametrize(("height", "width"), list(itertools.product((5, 8, 9, 23), (8, 11, 40))))
def test_tiles_cover_every_pixel_share_what_was_asked_and_are_whole_again(height, width, tile):
    sizing, mask = Sizing(*tile, "tiles", 1.0, 3), RANDOM.integers(0, 5, (height, width)).astype(np.int16)
    image = RANDOM.integers(0, 256, (height, width, 3), np.uint8)
    rows = np.array(tiling.places(height, width, 0, sizing))
    for axis in (1, 2):
        starts = np.unique(rows[:, axis])
        assert (np.diff(starts) <= tile[axis - 1] - 3).all()
    for whole, squares in ((image, tiling.cut_image(image, sizing)), (mask, tiling.cut_mask(mask, sizing))):
        assert squares.shape[:3] == (len(rows), *tile)
        assert (tiling.stitch(rows, squares) == whole).all()


def test_a_small_picture_is_continued_by_its_mirror_image_and_its_mask_by_nothing():
    image = np.arange(3, dtype=np.uint8)[None, :, None].repeat(9, 0).repeat(3, 2)  # each row 0 1 2
    mask = np.ones((9, 3), np.int16)
    square, labels = (cut[0] for cut in (tiling.cut_image(image, tiles(9, 0)), tiling.cut_mask(mask, tiles(9, 0))))
    assert square[4, :, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]
    assert (labels[:, :3] == 1).all() and (labels[:, 3:] == IGNORED).all()


SIZINGS = [Sizing(16, 16, "squash", 1.0, 0), Sizing(16, 16, "crop", 1.0, 0), tiles(16, 0), tiles(16, 5, 0.5),
           tiles(16, 15, 0.37), tiles(9, 4), Sizing(7, 20, "squash", 1.0, 0), Sizing(9, 16, "crop", 1.0, 0),
           Sizing(20, 6, "crop", 1.0, 0), Sizing(9, 14, "tiles", 1.0, 4)]


@pytest.mark.parametrize("sizing", SIZINGS, ids=str)
def test_squares_are_parts_of_the_resized_picture_continued_by_reflection(sizing):
    for height, width in itertools.product((2, 9, 16, 40), (3, 15, 16, 71)):
        image = Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), np.uint8))
        rows = tiling.places(height, width, 0, sizing)
        _, _, _, *shape = rows[0]
        # The longest sides, in whole pixels, that have a tile's ratio.
        high, wide = (min(side, round(other * mine / theirs)) for side, other, mine, theirs in (
            (height, width, sizing.height, sizing.width), (width, height, sizing.width, sizing.height)))
        high, wide = max(1, high), max(1, wide)
        middle = ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)
        box = middle if sizing.resize == "crop" else None
        small = np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR, box))
        beyond = [(0, max(0, side - length)) for side, length in zip(sizing[:2], shape, strict=True)]
        padded = np.pad(small, [*beyond, (0, 0)], "reflect")
        expected = [padded[top:top + sizing.height, left:left + sizing.width] for _, top, left, *_ in rows]
        assert np.array_equal(tiling.cut_image(np.asarray(image), sizing), expected)


@pytest.mark.parametrize("sizing", SIZINGS, ids=str)
def test_blending_band_by_band_is_a_weighted_mean_of_all_tiles(sizing):
    for height, width in itertools.product((1, 9, 16, 40), (1, 15, 71)):
        rows = np.array(tiling.places(height, width, 0, sizing))
        logits = RANDOM.normal(size=(len(rows), 4, *sizing[:2])).astype(np.float32)
        steps = [np.arange(side, dtype=np.float32) + 0.5 for side in sizing[:2]]
        down, across = (np.minimum(part, part[::-1]) for part in steps)  # distance to the border
        weight = down[:, None] * across
        total, weights = np.zeros((4, 99, 99), np.float32), np.zeros((99, 99), np.float32)
        for (_, top, left, _, _), square in zip(rows, logits, strict=True):
            total[:, top:top + sizing.height, left:left + sizing.width] += weight * square
            weights[top:top + sizing.height, left:left + sizing.width] += weight
        height, width = rows[0, 3:]
        expected = total[:, :height, :width] / weights[:height, :width]
        assert np.array_equal(tiling.blend(rows, logits), expected)


@pytest.mark.parametrize(("resize", "scale"), [("squash", 1.0), ("crop", 1.0), ("tiles", 0.5), ("tiles", 1.0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_image_and_mask_are_sized_alike(resize, scale, axis):
    """A ramp whose grey is its class: after sizing both are the same ramp still, to half a step and rounding."""
    mask = (2 * np.indices((96, 128))[axis]).astype(np.int16)
    image = mask[:, :, None].repeat(3, 2).astype(np.uint8)
    sizing = Sizing(32, 32, resize, scale, 8)
    pixels, labels = tiling.cut_image(image, sizing), tiling.cut_mask(mask, sizing)
    step = 2 if resize == "tiles" and scale == 1 else 8
    inner = slice(1, -1)  # at the picture's own edge the filter has one side only
    difference = pixels[:, inner, inner, 0].astype(int) - labels[:, inner, inner]
    assert abs(difference.mean()) < 1.5 and np.abs(difference).max() <= step / 2 + 1


def test_blending_is_a_mean_that_trusts_the_middle():
    sizing = tiles(4, 2)
    rows = np.array(tiling.places(4, 6, 0, sizing))
    assert rows[:, 2].tolist() == [0, 2]
    logits = np.stack([np.zeros((1, 4, 4)), np.ones((1, 4, 4))]).astype(np.float32)
    blended = tiling.blend(rows, logits)[0, 0]
    # Column 2 is the third of the first square (weight 1.5) and the first of the second (weight 0.5).
    assert blended.tolist() == pytest.approx([0, 0, 0.25, 0.75, 1, 1])


def test_pictures_are_the_same_whatever_the_batch():
    sizing = tiles(8, 3)
    sizes = [(8, 8), (20, 9), (5, 30)]
    rows = np.array([place for number, size in enumerate(sizes) for place in tiling.places(*size, number, sizing)])
    masks = [RANDOM.integers(0, 3, size).astype(np.int16) for size in sizes]
    targets = np.concatenate([tiling.cut_mask(mask, sizing) for mask in masks])
    logits = RANDOM.normal(size=(len(rows), 2, 8, 8)).astype(np.float32)
    for batch in (1, 3, len(rows)):
        parts = ((logits[start:start + batch], targets[start:start + batch]) for start in range(0, len(rows), batch))
        pictures = list(tiling.assemble_pictures(rows, parts))
        assert len(pictures) == 3
        for number, (size, mask) in enumerate(zip(sizes, masks, strict=True)):
            assert pictures[number][0].shape == (2, *size)
            assert (pictures[number][0] == tiling.blend(rows[rows[:, 0] == number], logits[rows[:, 0] == number])).all()
            assert (pictures[number][1] == mask).all()
