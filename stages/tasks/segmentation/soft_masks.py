"""Masks whose colours are not exact (`data.masks.unknown: nearest`): stored as JPEG, or with soft edges.

Along an outline such a mask blends the colours of both sides, and the blend may be nearest to a third class: between
black and white runs a line of grey. So a pixel near an outline is one of the classes that lie whole beside it, if its
colour is a blend of theirs; any other pixel is of the class whose colour is nearest.
"""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import ndimage

WHOLE = 3  # a class lies whole where a square of so many pixels is nearest to it
REACH = 3  # pixels from there, within which it may be part of a blend
BLEND = 90  # levels that a blend may lie off the line between two colours, by JPEG's noise
FLAT, FAR = 8, 40  # levels: an area that varies by less than the first and is farther from all classes is of none


class Nearest(NamedTuple):
    numbers: np.ndarray  # integers (H,W): the row of `colours` that each pixel stands for
    strange: float  # 0–1: the share of pixels in flat areas of a colour that is near none


def nearest(pixels: np.ndarray, colours: np.ndarray) -> Nearest:
    """pixels: uint8 or uint16 (H,W,D); colours: (K,D), the codes of the classes, D = 1 for indices."""
    pixels, colours = pixels.astype(np.float32), colours.astype(np.float32)
    numbers, distance = _nearest_colours(pixels, colours)
    is_whole = ndimage.minimum_filter(numbers, WHOLE) == ndimage.maximum_filter(numbers, WHOLE)
    window = (WHOLE, WHOLE, 1)
    spread = (ndimage.maximum_filter(pixels, window) - ndimage.minimum_filter(pixels, window)).max(-1)
    strange = float((is_whole & (spread < FLAT) & (distance > FAR)).mean())
    numbers[~is_whole] = _unblended(pixels, colours, numbers, is_whole)
    return Nearest(numbers, strange)


def _nearest_colours(pixels: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the number of the nearest colour, and its Euclidean distance in levels: (H,W) each."""
    numbers, least = np.zeros(pixels.shape[:2], np.int32), np.full(pixels.shape[:2], np.inf, np.float32)
    for number, colour in enumerate(colours):
        distance = ((pixels - colour) ** 2).sum(-1)
        numbers[distance < least] = number
        least = np.minimum(least, distance)
    return numbers, np.sqrt(least)


def _unblended(pixels: np.ndarray, colours: np.ndarray, numbers: np.ndarray, is_whole: np.ndarray) -> np.ndarray:
    """The numbers of the pixels that lie not whole, (M,)."""
    unsure = ~is_whole
    values, result = pixels[unsure], numbers[unsure]
    least = np.full(len(values), BLEND, np.float32)
    beside = {number: ndimage.maximum_filter(is_whole & (numbers == number), 2 * REACH + 1)[unsure]
              for number in np.unique(numbers[is_whole]).tolist()}
    for one, other in itertools.combinations_with_replacement(beside, 2):
        places = np.flatnonzero(beside[one] & beside[other])
        start, way = colours[one], colours[other] - colours[one]
        share = ((values[places] - start) @ way / max(way @ way, 1)).clip(0, 1)  # 0: the one colour, 1: the other
        off = np.sqrt(((values[places] - start - share[:, None] * way) ** 2).sum(-1))
        better = off < least[places]
        least[places[better]] = off[better]
        result[places[better]] = np.where(share[better] < 0.5, one, other)
    return result
