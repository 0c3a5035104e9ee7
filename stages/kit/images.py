"""The one place where bytes become RGB, or a mask's numbers. In: a file's bytes. Out: uint8 (H,W,3); integers (H,W).

The rules of `decode`: turned as EXIF says; the first frame of animations; 16 bits scaled to 8, not clipped; other
depths stretched to 0–255; transparency laid on white; grey, palette, CMYK and LAB turned to RGB; colour profiles not
applied. A mask's pixels are names, not light: `stored` does none of this to them.
"""

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from stages.kit.faults import one_line

# EPS would start Ghostscript, a program that runs what the file says.
REFUSED = {"EPS"}
WORKERS = min(16, os.cpu_count() or 1)
Item, Result = TypeVar("Item"), TypeVar("Result")

# Pillow refuses 179 million pixels and more, and warns from half of that on.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")


class Unreadable(Exception):
    """Bytes that are no whole image; says why."""


class OtherKind(Unreadable):
    """A whole mask that holds colours where indices were asked for, or the other way round."""


def decode(content: bytes) -> np.ndarray:
    """uint8 (H,W,3), RGB, by the rules above. Raises Unreadable."""
    return _read(content, _light)


def stored(content: bytes, colours: bool) -> np.ndarray:
    """A mask as it is stored: nothing turned, stretched or blended. Raises Unreadable, and its OtherKind.

    colours: uint8 (H,W,3), RGB, an index through its palette. Otherwise the integers of a grey or palette image (H,W):
    grey of 2 or 4 bits as the levels of 255 that it means, as Pillow reads it.
    """
    return _read(content, _colours if colours else _indices)


def named(path: str) -> bool:
    """Whether a file's name ends as images' names do: .jpg, .png, .webp and all others that Pillow knows."""
    return PurePosixPath(path).suffix.lower() in _suffixes()


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """function(item) for each item, in their order, on all cores, with few of them in memory at a time.

    Threads: Pillow and hashlib let go of the interpreter while they decode, resize and hash.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(content: bytes, pixels: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """pixels(image) of the whole image in `content`. Raises Unreadable."""
    if not content:
        raise Unreadable("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            image.load()
            return pixels(image)
    except (MemoryError, OtherKind):
        raise
    except UnidentifiedImageError:
        raise Unreadable("no image in a format that Pillow reads") from None
    except Exception as error:  # damaged files make Pillow raise nearly everything
        raise Unreadable(one_line(error)) from None


def _light(image: Image.Image) -> np.ndarray:
    _turn_upright(image)
    return np.asarray(_rgb(image))


def _indices(image: Image.Image) -> np.ndarray:
    if image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16"):
        return np.asarray(image)
    raise OtherKind(f"stored as colours (mode {image.mode}), not as indices")


def _colours(image: Image.Image) -> np.ndarray:
    if image.mode[0] not in "IF":  # Pillow would clip these to 255
        return np.asarray(image.convert("RGB"))
    raise OtherKind(f"stored as numbers (mode {image.mode}), not as colours")


def _turn_upright(image: Image.Image) -> None:
    with suppress(Exception):  # a damaged EXIF block says nothing about the picture
        ImageOps.exif_transpose(image, in_place=True)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image), 65535)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretched(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab())
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        colour = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def _stretched(values: np.ndarray) -> np.ndarray:
    """uint8 from numbers of unknown range: the first of 0–1 (fractions), 0–255, 0–65535 that holds all, or theirs."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    scales = [1, 255, 65535] if (values % 1).any() else [255, 65535]
    fitting = [scale for scale in scales if low >= 0 and high <= scale]
    return _eight_bits(values, fitting[0]) if fitting else _eight_bits(values - low, max(high - low, 1e-9))


def _eight_bits(values: np.ndarray, full: float) -> np.ndarray:
    return np.rint(values * (255 / full)).astype(np.uint8)


@cache
def _lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


@cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in Image.ID if name not in REFUSED]


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(Image.registered_extensions())
