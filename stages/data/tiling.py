"""How pictures of any size become tiles of one size, and how the answers to the tiles are put together again.
predict.py is built from it too.

In: a picture or its mask, and a `Sizing`. Out: the tiles, and for each a row of numbers that says where it lies.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from stages.data.prepared import IGNORED


class Sizing(NamedTuple):
    """How a picture is brought to tiles; with squash and crop it becomes a single one."""

    height: int  # of a tile, in pixels
    width: int
    # Both sides to a tile's | the largest part in the middle that has a tile's aspect ratio | cut into tiles.
    resize: Literal["squash", "crop", "tiles"]
    scale: float  # tiles: the picture is resized to this share of its size first
    overlap: int  # tiles: pixels that neighbours share at least, to the side and below


class Place(NamedTuple):
    """Where a tile lies: a row of windows.npy."""

    picture: int  # its number in the split
    top: int
    left: int
    height: int  # of the picture as resized
    width: int


def places(height: int, width: int, picture: int, sizing: Sizing) -> list[Place]:
    """The tiles that cover a picture of this size, row by row; a single one unless it is cut into tiles."""
    height, width = resized_shape(height, width, sizing)
    return [Place(picture, top, left, height, width) for top in _starts(height, sizing.height, sizing.overlap)
            for left in _starts(width, sizing.width, sizing.overlap)]


def resized_shape(height: int, width: int, sizing: Sizing) -> tuple[int, int]:
    """(H, W) of a picture as the model sees it."""
    if sizing.resize != "tiles":
        return sizing.height, sizing.width
    return tuple(max(1, math.floor(side * sizing.scale + 0.5)) for side in (height, width))


def used_shape(height: int, width: int, sizing: Sizing) -> tuple[int, int]:
    """(H, W) of the part of a picture that is used: all of it, or what `crop` takes from its middle, whole pixels."""
    if sizing.resize != "crop":
        return height, width
    return (min(height, max(1, math.floor(width * sizing.height / sizing.width + 0.5))),
            min(width, max(1, math.floor(height * sizing.width / sizing.height + 0.5))))


def resized(image: Image.Image, sizing: Sizing) -> Image.Image:
    """The picture as the model sees it. Pillow's bilinear filter averages when it shrinks.

    The same pixels by every Pillow: which side goes first affects the last bit, and is its choice since version 13.
    """
    left, top, right, bottom = _box(image.height, image.width, sizing)
    height, width = resized_shape(image.height, image.width, sizing)
    if (left, top, right, bottom) == (0, 0, width, height):
        return image  # and no copy of it
    if image.height > height and image.height - height > 2 * (image.width - width):
        image = image.resize((image.width, height), Image.Resampling.BILINEAR, (0, top, image.width, bottom))
        top, bottom = 0, height
    return image.resize((width, height), Image.Resampling.BILINEAR, (left, top, right, bottom))


def tiles(image: Image.Image, sizing: Sizing) -> Iterator[tuple[int, int, np.ndarray]]:
    """Top, left and pixels, uint8 (height,width,3), of each tile of a resized picture, row by row.

    A picture smaller than a tile is continued by its mirror image.
    """
    width, height = image.size
    for top in _starts(height, sizing.height, sizing.overlap):
        band = np.asarray(image.crop((0, top, width, min(top + sizing.height, height))))
        rows = _mirrored(np.arange(top, top + sizing.height), height) - top
        for left in _starts(width, sizing.width, sizing.overlap):
            yield top, left, band[np.ix_(rows, _mirrored(np.arange(left, left + sizing.width), width))]


def cut_image(image: np.ndarray, sizing: Sizing) -> np.ndarray:
    """uint8 (H,W,3) → (K,height,width,3): `tiles` of the picture, in the order of `places`."""
    return np.stack([pixels for *_, pixels in tiles(resized(Image.fromarray(image), sizing), sizing)])


def cut_mask(mask: np.ndarray, sizing: Sizing) -> np.ndarray:
    """Integers (H,W) → (K,height,width): the nearest pixel's, IGNORED beyond the picture's edge."""
    left, top, right, bottom = _box(*mask.shape, sizing)
    height, width = resized_shape(*mask.shape, sizing)
    rows, columns = (np.floor(start + (np.arange(side) + 0.5) * (end - start) / side).astype(int)
                     for start, end, side in ((top, bottom, height), (left, right, width)))
    padded = np.full((max(height, sizing.height), max(width, sizing.width)), IGNORED, mask.dtype)
    padded[:height, :width] = mask[rows[:, None], columns]
    return np.stack([padded[top:top + sizing.height, left:left + sizing.width]
                     for _, top, left, *_ in places(*mask.shape, 0, sizing)])


def stitch(rows: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """The picture (H,W,…) of these rows of windows.npy (K,5) and tiles (K,height,width,…), which agree where they
    overlap.
    """
    (_, _, _, height, width), (high, wide) = rows[0], cut.shape[1:3]
    picture = np.empty((max(height, high), max(width, wide), *cut.shape[3:]), cut.dtype)
    for (_, top, left, _, _), tile in zip(rows, cut, strict=True):
        picture[top:top + high, left:left + wide] = tile
    return picture[:height, :width]


class Blender:
    """The mean of a picture's logits where its tiles overlap, float32 (C,H,W), band by band from the top.

    A tile counts less towards its border, where a network has seen less around a pixel: linearly, and never nothing.
    Logits are held for one row of tiles only.
    """

    def __init__(self, classes: int, height: int, width: int, tile: tuple[int, int]):
        """height, width: of the resized picture. tile: (height, width) of a tile."""
        self.height, self.width, self.top = height, width, 0
        self.weight = np.outer(*(np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5).astype(np.float32)
                                 for side in tile))
        self.total = np.zeros((classes, tile[0], max(width, tile[1])), np.float32)
        self.weights = np.zeros(self.total.shape[1:], np.float32)

    def add(self, top: int, left: int, logits: np.ndarray) -> np.ndarray:
        """logits: float32 (C,height,width) of the next tile, row by row. → (C,R,W): rows that no later one reaches."""
        band = self._finish(top - self.top)
        columns = slice(left, left + self.weight.shape[1])
        self.total[:, :, columns] += self.weight * logits
        self.weights[:, columns] += self.weight
        return band

    def rest(self) -> np.ndarray:
        return self._finish(self.height - self.top)

    def _finish(self, rows: int) -> np.ndarray:
        band = self.total[:, :rows, :self.width] / self.weights[:rows, :self.width]
        if rows:
            for sums in (self.total, self.weights):
                sums[..., :-rows, :] = sums[..., rows:, :].copy()
                sums[..., -rows:, :] = 0
        self.top += rows
        return band


def blend(rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """float32 (C,H,W): what a `Blender` makes of a picture's rows of windows.npy (K,5) and its tiles' logits
    (K,C,height,width).
    """
    blender = Blender(logits.shape[1], *rows[0, 3:], logits.shape[2:])
    bands = [blender.add(top, left, tile) for (_, top, left, _, _), tile in zip(rows, logits, strict=True)]
    return np.concatenate([*bands, blender.rest()], axis=1)


def assemble_pictures(rows: np.ndarray, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[
        tuple[np.ndarray, np.ndarray]]:
    """Logits (C,H,W) and targets (H,W), picture by picture, from batches of tiles in the order of `rows`.

    Only the tiles of one picture and one batch are in memory.
    """
    answered = (pair for batch in batches for pair in zip(*batch, strict=True))
    for own_rows in np.split(rows, np.flatnonzero(np.diff(rows[:, 0])) + 1):
        logits, targets = zip(*itertools.islice(answered, len(own_rows)), strict=True)
        yield blend(own_rows, np.stack(logits)), stitch(own_rows, np.stack(targets))


def _box(height: int, width: int, sizing: Sizing) -> tuple[float, float, float, float]:
    """The part of the picture that is used: left, top, right, bottom."""
    high, wide = used_shape(height, width, sizing)
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of this side begin: at even distances from edge to edge, as few as the overlap allows."""
    beyond = max(0, side - tile)
    steps = math.ceil(beyond / (tile - overlap))
    return [round(beyond * step / steps) for step in range(steps + 1)] if steps else [0]


def _mirrored(positions: np.ndarray, side: int) -> np.ndarray:
    """Reflection, the border pixel not repeated, as often as it takes."""
    period = max(1, 2 * (side - 1))
    positions = positions % period
    return np.minimum(positions, period - positions) if side > 1 else np.zeros_like(positions)
