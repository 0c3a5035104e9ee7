"""The one place where bytes become RGB, or a mask's numbers. In: a file's bytes. Out: uint8 (H,W,3); integers (H,W).

The rules of `decode`: turned as EXIF says; the first frame of animations; 16 bits scaled to 8, not clipped; other
depths stretched to 0–255; transparency laid on white; grey, palette, CMYK and LAB turned to RGB; colour profiles not
applied. A mask's pixels are names, not light: `decode_mask` does none of this to them.
"""

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from stages.core.errors import one_line

# EPS would start Ghostscript, a program that runs what the file says.
REFUSED = {"EPS"}
Result = TypeVar("Result")

Image.preinit()  # the common formats first: they are tried in this order
# Pillow refuses 179 million pixels and more, and warns from half of that on.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what it logs


class Unreadable(Exception):
    """Bytes that are no whole image; says why."""


class OtherKind(Unreadable):
    """A whole mask that holds colours where indices were asked for, or the other way round."""


class Header(NamedTuple):
    """What a file is, before the rules above make it RGB."""

    format: str  # Pillow's name for it, whatever the file's own name ends in: JPEG, PNG, …
    mode: str  # Pillow's, of the pixels as stored: L, P, CMYK, I;16, …
    frames: int  # the first one is read; 0: they can't be counted


def decode(content: bytes) -> np.ndarray:
    """uint8 (H,W,3), RGB, by the rules above. Raises Unreadable."""
    return _read(content, _light)


def decode_with_header(content: bytes) -> tuple[np.ndarray, Header]:
    """What `decode` gives, and the header. Raises Unreadable."""
    return _read(content, _with_header)


def decode_mask(content: bytes, colours: bool) -> np.ndarray:
    """A mask as it is stored: nothing turned, stretched or blended. Raises Unreadable, and its OtherKind.

    colours: uint8 (H,W,3), RGB, an index through its palette. Otherwise the integers of a grey or palette image (H,W):
    grey of 2 or 4 bits as the levels of 255 that it means, as Pillow reads it.
    """
    return _read(content, _colours if colours else _indices)


def has_image_suffix(path: str) -> bool:
    """Whether a file's name ends as images' names do: .jpg, .png, .webp and all others that Pillow knows."""
    return PurePosixPath(path).suffix.lower() in _suffixes()


def _read(content: bytes, pixels: Callable[[Image.Image], Result]) -> Result:
    """pixels(image) of the whole image in `content`. Raises Unreadable."""
    if not content:
        raise Unreadable("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            image.load()
            if image.format in ("JPEG", "MPO") and not _ended(content):
                raise Unreadable("the picture data have no end: the file is cut off, and filled up")
            return pixels(image)
    except (MemoryError, Unreadable):
        raise
    except UnidentifiedImageError:
        raise Unreadable("no image in a format that Pillow reads") from None
    except Exception as error:  # damaged files make Pillow raise nearly everything
        raise Unreadable(one_line(error)) from None


def _ended(jpeg: bytes) -> bool:
    """Whether the end marker stands behind the start of the picture data: libjpeg makes up what zeros don't hold."""
    at = 2  # behind the start marker; segments, among them thumbnails with ends of their own, are stepped over
    while jpeg[at:at + 1] == b"\xff" and jpeg[at + 1] != 0xDA:
        at += 1 if jpeg[at + 1] == 0xFF else 2 + int.from_bytes(jpeg[at + 2:at + 4], "big")
    return jpeg.find(b"\xff\xd9", at) >= 0


def _light(image: Image.Image) -> np.ndarray:
    _turn_upright(image)
    return np.asarray(_rgb(image))


def _with_header(image: Image.Image) -> tuple[np.ndarray, Header]:
    mode, pixels = image.mode, _light(image)  # both before the frames are counted, which moves on
    return pixels, Header(image.format, mode, _frames(image))


def _frames(image: Image.Image) -> int:
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # damage behind the first frame, which was read
        return 0


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
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # Pillow scales PGM to 65535
        values = _eight_bits(np.asarray(image), _full(image))
        return Image.fromarray(255 - values if _white_is_zero(image) else values).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretched(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab())
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        colour = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def _full(image: Image.Image) -> int:
    """The largest number that can be stored: 4095 in TIFFs of 12 bits."""
    depth = image.tag_v2.get(258, (16,))[0] if image.format == "TIFF" else 16
    return 2 ** depth - 1


def _white_is_zero(image: Image.Image) -> bool:
    """Pillow turns such TIFFs over only where they are of 8 bits or less."""
    return image.format == "TIFF" and image.tag_v2.get(262) == 0


def _stretched(values: np.ndarray) -> np.ndarray:
    """uint8 from numbers of unknown range: the first of 0–1 (floats), 0–255, 0–65535 that holds all, or theirs."""
    scales = [1, 255, 65535] if values.dtype.kind == "f" else [255, 65535]
    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(), values.max()
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
