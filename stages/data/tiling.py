"""How pictures of any size become squares of one size, and how the answers to the squares become whole again.

In: a picture or its mask, and a `Sizing`. Out: the squares, and for each a row of numbers that says where it lies.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from stages.data.prepared import IGNORED


class Sizing(NamedTuple):
    """How a picture is brought to squares."""

    size: int  # height and width of a square, in pixels
    resize: Literal["squash", "crop", "tiles"]  # both sides to size | the square in the middle to size | cut
    scale: float  # tiles: the picture is brought to this share of its size first
    overlap: int  # tiles: pixels that neighbours share at least


class Place(NamedTuple):
    """Where a square lies: a row of windows.npy."""

    picture: int  # its number in the split
    top: int
    left: int
    height: int  # of the whole picture, brought to scale
    width: int


def places(height: int, width: int, picture: int, sizing: Sizing) -> list[Place]:
    """The squares that cover a picture of this size, row by row; one alone unless it is cut into tiles."""
    height, width = _scaled(height, width, sizing)
    return [Place(picture, top, left, height, width) for top in _starts(height, sizing)
            for left in _starts(width, sizing)]


def cut_image(image: np.ndarray, sizing: Sizing) -> np.ndarray:
    """uint8 (H,W,3) → (K,size,size,3), in the order of `places`. Pillow's bilinear filter averages when it shrinks.

    A picture smaller than a square is continued by its mirror image.
    """
    box = _box(*image.shape[:2], sizing)
    height, width = _scaled(*image.shape[:2], sizing)
    image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box))
    rows, columns = (np.arange(max(side, sizing.size)) for side in (height, width))
    return _squares(image[_mirrored(rows, height)][:, _mirrored(columns, width)], sizing)


def cut_mask(mask: np.ndarray, sizing: Sizing) -> np.ndarray:
    """Integers (H,W) → (K,size,size): the nearest pixel's, IGNORED beyond the picture's edge."""
    left, top, right, bottom = _box(*mask.shape, sizing)
    height, width = _scaled(*mask.shape, sizing)
    rows, columns = (np.floor(start + (np.arange(side) + 0.5) * (end - start) / side).astype(int)
                     for start, end, side in ((top, bottom, height), (left, right, width)))
    whole = np.full((max(height, sizing.size), max(width, sizing.size)), IGNORED, mask.dtype)
    whole[:height, :width] = mask[rows[:, None], columns]
    return _squares(whole, sizing)


def stitch(rows: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The picture (H,W,…) of these rows of windows.npy (K,5) and squares (K,size,size,…), which agree where they meet.
    """
    size, (_, _, _, height, width) = squares.shape[1], rows[0]
    picture = np.empty((max(height, size), max(width, size), *squares.shape[3:]), squares.dtype)
    for (_, top, left, _, _), square in zip(rows, squares, strict=True):
        picture[top:top + size, left:left + size] = square
    return picture[:height, :width]


def blend(rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """float32 (C,H,W): the mean of a picture's squares (K,C,size,size) where they overlap.

    A square counts less towards its border, where a network has seen less around a pixel: linearly, and never nothing.
    """
    size, (_, _, _, height, width) = logits.shape[-1], rows[0]
    ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5).astype(np.float32)
    weight = np.outer(ramp, ramp)
    total = np.zeros((logits.shape[1], max(height, size), max(width, size)), np.float32)
    weights = np.zeros(total.shape[1:], np.float32)
    for (_, top, left, _, _), square in zip(rows, logits, strict=True):
        inside = slice(top, top + size), slice(left, left + size)
        total[:, *inside] += weight * square
        weights[inside] += weight
    return (total / weights)[:, :height, :width]


def assemble_pictures(rows: np.ndarray, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[
        tuple[np.ndarray, np.ndarray]]:
    """Whole logits (C,H,W) and targets (H,W), picture by picture, from batches of squares in the order of `rows`.

    Only the squares of one picture and one batch are in memory.
    """
    ends = iter([*np.flatnonzero(np.diff(rows[:, 0])) + 1, len(rows)])
    start, end = 0, next(ends)
    logits, targets = [], []
    for some in batches:
        for one_logits, one_targets in zip(*some, strict=True):
            logits.append(one_logits)
            targets.append(one_targets)
            if start + len(logits) == end:
                yield blend(rows[start:end], np.stack(logits)), stitch(rows[start:end], np.stack(targets))
                logits, targets = [], []
                start, end = end, next(ends, None)


def _box(height: int, width: int, sizing: Sizing) -> tuple[float, float, float, float]:
    """What of the picture is used: left, top, right, bottom."""
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side) if sizing.resize == "crop" else (0, 0, width, height)


def _scaled(height: int, width: int, sizing: Sizing) -> tuple[int, int]:
    if sizing.resize != "tiles":
        return sizing.size, sizing.size
    return tuple(max(1, math.floor(side * sizing.scale + 0.5)) for side in (height, width))


def _starts(side: int, sizing: Sizing) -> list[int]:
    """Where squares begin: at even distances from edge to edge, as few as the overlap allows."""
    beyond = max(0, side - sizing.size)
    steps = math.ceil(beyond / (sizing.size - sizing.overlap))
    return [round(beyond * step / steps) for step in range(steps + 1)] if steps else [0]


def _squares(whole: np.ndarray, sizing: Sizing) -> np.ndarray:
    size = sizing.size
    return np.stack([whole[top:top + size, left:left + size] for top in _starts(whole.shape[0], sizing)
                     for left in _starts(whole.shape[1], sizing)])


def _mirrored(position: np.ndarray, side: int) -> np.ndarray:
    """Reflection, the border pixel not repeated, as often as it takes."""
    period = max(1, 2 * (side - 1))
    position = position % period
    return np.minimum(position, period - position) if side > 1 else np.zeros_like(position)
