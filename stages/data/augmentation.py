"""Augmented views of stored images, a whole batch at a time. In: uint8 arrays and a counter. Out: uint8 (B,H,W,3).

A view is fixed by (seed, sample, view number) alone: a teacher run today and a student trained tomorrow see the same,
and a mask moves as its image does. Geometry is separable, a source row for each row and a source column for each
column; so one gather crops, pads by reflection and mirrors. A quarter turn is that and an exchange of rows and columns.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data import rng
from stages.data.image_size import pixels_text

# Luma of ITU-R BT.601, what Pillow's "L" uses.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
CHUNK_PIXELS = 2**16  # that are worked on at a time: what is computed of them stays in a processor's cache
DRAWS = 9  # top, left, mirror, area, aspect, brightness, contrast, saturation, turn


class Augment(Section):
    """How training images are varied."""

    crop: Literal["none", "pad", "resized"]  # pad: reflect-pad, then crop; resized: a random area, brought to size
    padding: int = pydantic.Field(ge=0, le=4096)  # pixels on each side, for pad
    min_area: float = pydantic.Field(gt=0, le=1)  # smallest share of the area, for resized
    flip: bool  # mirror half of the images left to right
    turns: bool  # turn by 0, 90, 180 or 270 degrees: for pictures without an up, as from the air
    colour: float = pydantic.Field(ge=0, lt=1)  # up to ± this share in brightness, contrast and saturation


class Geometry(NamedTuple):
    """From where each pixel of the view comes, in pixels of the stored image."""

    rows: np.ndarray  # (B,H), float where it falls between pixels
    columns: np.ndarray  # (B,W)
    turned: np.ndarray  # bool (B,): rows and columns change places afterwards


class ImageArrays:
    """Several stored arrays of one image size, addressed as one: first those of the first array, and so on."""

    def __init__(self, *parts: np.ndarray):
        self.parts = [part for part in parts if len(part)]
        self.starts = np.cumsum([0, *map(len, self.parts)])
        self.size = parts[0].shape[1:3]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def gather(self, samples: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """uint8 (B,H,W,3): pixel (i, y, x) is that of image samples[i] at (rows[i, y], columns[i, x]), all integers."""
        if len(self.parts) == 1:
            return _gather(self.parts[0], samples, rows, columns)
        batch = np.empty((len(samples), rows.shape[1], columns.shape[1], 3), np.uint8)
        for part, start, end in zip(self.parts, self.starts, self.starts[1:], strict=False):
            here = (samples >= start) & (samples < end)
            batch[here] = _gather(part, samples[here] - start, rows[here], columns[here])
        return batch


def unaugmented(images: ImageArrays, samples: np.ndarray, mirror: bool = False) -> np.ndarray:
    """The images as stored, or their mirror images. uint8 (B,H,W,3)."""
    rows, columns = (np.tile(np.arange(side), (len(samples), 1)) for side in images.size)
    return images.gather(samples, rows, columns[:, ::-1] if mirror else columns)


def view(images: ImageArrays, samples: np.ndarray, augment: Augment, seed: int, number: int) -> np.ndarray:
    """View `number` of each image. uint8 (B,H,W,3)."""
    draws = rng.uniform(seed, samples, number, DRAWS)
    rows, columns, turned = geometry(augment, images.size, draws)
    if augment.crop != "resized" and not augment.colour:  # pixels are moved, nothing is computed of them
        return _turn(images.gather(samples, rows, columns), turned)
    change = augment.colour * (2 * draws[:, 5:8] - 1)
    step = max(1, CHUNK_PIXELS // math.prod(images.size))
    views = np.empty((len(samples), *images.size, 3), np.uint8)
    work = np.empty((3, step, *images.size, 3), np.float32)  # of all chunks: new memory costs more than the sums
    for start in range(0, len(samples), step):
        here = slice(start, start + step)
        batch, floats = views[here], work[:, :len(samples) - start]
        if augment.crop == "resized":
            _stretch(images, samples[here], rows[here], columns[here], batch, floats)
        else:
            batch[...] = images.gather(samples[here], rows[here], columns[here])
        _turn(batch, turned[here])
        if augment.colour:
            _colour(batch, change[here], floats)
    return views


def transform_targets(targets: np.ndarray, samples: np.ndarray, augment: Augment, seed: int, number: int) -> np.ndarray:
    """The targets (N,*S) of these samples as view `number` shows them, (B,*S): masks move along, to the nearest pixel.

    A class of a whole image stays.
    """
    if targets.ndim == 1:
        return targets[samples]
    rows, columns, turned = geometry(augment, targets.shape[1:], rng.uniform(seed, samples, number, DRAWS))
    nearest = (np.floor(part + 0.5).astype(int) for part in (rows, columns))
    return _turn(_gather(targets, samples, *nearest), turned)


def is_flipped(samples: np.ndarray, augment: Augment, seed: int, number: int) -> np.ndarray:
    """bool (B,): which of these views are mirrored."""
    return augment.flip & (rng.uniform(seed, samples, number, 3)[:, 2] < 0.5)


def check_turns(augment: Augment, size: Sequence[int], where: str = "augment") -> None:
    """size: (H, W) of the images. Raises UserError for quarter turns of images that are no squares."""
    height, width = size
    if augment.turns and height != width:
        raise UserError(f"params.yaml: {where}.turns is true, but images of {pixels_text(size)} can't be turned by 90 "
                        "degrees; set it to false, or split.image_size to one number, for squares")


def geometry(augment: Augment, size: Sequence[int], draws: np.ndarray) -> Geometry:
    """Of views of images (H, W). draws: float64 (B,DRAWS) in [0, 1). Raises UserError as `check_turns`."""
    check_turns(augment, size)
    height, width = size
    rows, columns = np.tile(np.arange(height), (len(draws), 1)), np.tile(np.arange(width), (len(draws), 1))
    if augment.crop == "pad":
        span = 2 * augment.padding + 1
        rows = _reflected(rows + (draws[:, :1] * span).astype(int) - augment.padding, height)
        columns = _reflected(columns + (draws[:, 1:2] * span).astype(int) - augment.padding, width)
    elif augment.crop == "resized":
        # Area and aspect ratio as in Szegedy et al., "Going Deeper with Convolutions", 2015, section 6.
        area = augment.min_area + (1 - augment.min_area) * draws[:, 3:4]
        aspect = (4 / 3) ** (2 * draws[:, 4:5] - 1)
        rows = _stretched(rows, height, np.minimum(1, np.sqrt(area / aspect)), draws[:, :1])
        columns = _stretched(columns, width, np.minimum(1, np.sqrt(area * aspect)), draws[:, 1:2])
    if augment.flip:
        columns = np.where(draws[:, 2:3] < 0.5, columns[:, ::-1], columns)
    # By k quarter turns: the second and third turn the rows round, the first and second the columns; odd ones exchange.
    quarter = (draws[:, 8:9] * 4).astype(int) * augment.turns
    rows = np.where(quarter >= 2, rows[:, ::-1], rows)
    columns = np.where((quarter == 1) | (quarter == 2), columns[:, ::-1], columns)
    return Geometry(rows, columns, quarter[:, 0] % 2 == 1)


def _reflected(position: np.ndarray, side: int) -> np.ndarray:
    """Reflection without repeating the border pixel, for positions less than `side` outside."""
    position = np.abs(position)
    return np.clip(np.where(position >= side, 2 * side - 2 - position, position), 0, side - 1)


def _stretched(position: np.ndarray, side: int, share: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Pixel centres of a window of `share` of the side that begins at `start` of what is left, as float positions."""
    return np.clip((position + 0.5) * share + start * side * (1 - share) - 0.5, 0, side - 1)


def _turn(batch: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Exchanges rows and columns, in place, where `turned` says so, which squares alone have. (B,H,W,…)."""
    if turned.any():
        batch[turned] = batch[turned].swapaxes(1, 2)
    return batch


def _stretch(images: ImageArrays, samples: np.ndarray, rows: np.ndarray, columns: np.ndarray, batch: np.ndarray,
             work: np.ndarray) -> None:
    """Writes into `batch`, uint8 (B,H,W,3), the pixels at `rows` and `columns`, between stored ones by bilinear
    interpolation. work: float32 (3,B,H,W,3), overwritten.
    """
    top, left = (np.floor(part).astype(int) for part in (rows, columns))
    bottom, right = (np.minimum(first + 1, side - 1) for first, side in zip((top, left), images.size, strict=True))
    down = (rows - top).astype(np.float32)[:, :, None]
    across = (columns - left).astype(np.float32).repeat(3, axis=1)[:, None, :]  # of a pixel's three values, (B,1,W·3)
    # Across first, for each stored row once: then whole rows are picked, which is quicker than picking pixels.
    height, width = images.size
    stored = np.tile(np.arange(height), (len(samples), 1))
    lines, upper, lower = work.reshape(3, len(samples), height, width * 3)
    np.multiply(1 - across, images.gather(samples, stored, left).reshape(lines.shape), out=lines)
    lines += np.multiply(across, images.gather(samples, stored, right).reshape(lines.shape), out=upper)
    lines, first = lines.reshape(-1, width * 3), height * np.arange(len(samples))[:, None]
    np.take(lines, first + top, axis=0, out=upper, mode="clip")  # mode: else `out` is written by way of a copy
    np.take(lines, first + bottom, axis=0, out=lower, mode="clip")
    upper *= 1 - down
    lower *= down
    upper += lower
    batch[...] = np.rint(upper, out=upper).reshape(batch.shape)


def _colour(batch: np.ndarray, change: np.ndarray, work: np.ndarray) -> None:
    """In place: brightness, then contrast about the image's mean luma, then saturation about each pixel's. batch: uint8
    (B,H,W,3). change: (B,3). work: float32 (2 or more,B,H,W,3), overwritten.
    """
    bright, contrast, saturation = (1 + change.astype(np.float32)).T[:, :, None, None, None]
    pixels, grey = work[:2]
    np.multiply(batch, bright, out=pixels)
    mean = (pixels @ LUMA).mean(axis=(1, 2))[:, None, None, None]
    _spread(pixels, mean, contrast)
    luma = pixels @ LUMA
    for channel in range(3):
        grey[..., channel] = luma
    _spread(pixels, grey, saturation)
    batch[...] = np.rint(np.clip(pixels, 0, 255, out=pixels), out=pixels)


def _spread(pixels: np.ndarray, centre: np.ndarray, factor: np.ndarray) -> None:
    """In place: each value's distance from `centre` times `factor`."""
    pixels -= centre
    pixels *= factor
    pixels += centre


def _gather(stored: np.ndarray, samples: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """One `take` of whole pixels, (B,H,W,…): three times as fast as indexing with three arrays."""
    height, width, *pixel = stored.shape[1:]
    places = (samples[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
    return np.take(stored.reshape(-1, *pixel), places.ravel(), axis=0).reshape(*places.shape, *pixel)
