"""The one place where bytes become RGB pixels, or a mask's values. predict.py is built from it too."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from stages.core.errors import one_line
from stages.data.colour import cut, strips, upright_rgb
from stages.data.jpeg import jpeg_scans, may_be_cut, with_more_data

REFUSED = {"EPS"}  # would start Ghostscript, a program that runs what the file says
LARGE = 2**24  # pixels of a picture that is never held twice
Result = TypeVar("Result")

Image.preinit()  # the common formats first: they are tried in this order


def silence_pillow() -> None:
    """For the whole process: what Pillow warns of or logs comes as Unreadable, or doesn't matter.

    It refuses 179 million pixels and more, and warns from half of that on.
    """
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what it logs


if __name__.startswith("stages."):  # whoever imports predict.py has filters of their own
    silence_pillow()


class Unreadable(Exception):
    """The bytes aren't a complete image; the message says why."""


class OtherKind(Unreadable):
    """A complete mask that holds colours where indices were expected, or the other way round."""


class Header(NamedTuple):
    """What a file is before it is converted to RGB."""

    format: str  # Pillow's name for it, whatever the file's own name ends in: JPEG, PNG, …
    mode: str  # Pillow's, of the pixels as stored: L, P, CMYK, I;16, …
    frames: int  # the first one is read; 0: they can't be counted


def decode(content: bytes) -> np.ndarray:
    """uint8 (H,W,3): the pixels of `decode_image`. Raises Unreadable."""
    return np.asarray(decode_image(content))


def decode_image(content: bytes) -> Image.Image:
    """8-bit RGB, rotated as EXIF says. Raises Unreadable.

    The first frame of animations; 16 bits scaled to 8, not clipped; other depths stretched to 0–255; transparency laid
    on white; grey, palette, CMYK and LAB converted to RGB; colour profiles not applied.
    """
    return _read(content, upright_rgb)


def decode_with_header(content: bytes) -> tuple[np.ndarray, Header]:
    """What `decode` returns, and the header. Raises Unreadable."""
    return _read(content, _with_header)


def pixel_count(file: BinaryIO) -> int:
    """How many pixels a picture's header claims, before anything is decoded; 0 where there is none that can be read."""
    try:
        with Image.open(file, formats=readable_formats()) as image:
            return image.width * image.height
    except Exception:  # decoding says what is wrong
        return 0


def decode_mask(content: bytes, colours: bool) -> np.ndarray:
    """A mask as it is stored, its pixels being labels: not rotated, stretched or blended. Raises Unreadable, OtherKind.

    colours: uint8 (H,W,3), RGB, an index through its palette. Otherwise the integers of a grey or palette image (H,W):
    grey of 2 or 4 bits as levels of 255, which is how Pillow reads it; grey stored as RGB is grey.
    """
    return _read(content, _colours if colours else _indices)


def palette(content: bytes) -> dict[int, tuple[int, int, int]]:
    """The colours (red, green, blue) of the indices that a palette image holds; {} of another. Raises Unreadable."""
    def convert(image: Image.Image) -> dict[int, tuple[int, int, int]]:
        if image.mode != "P":
            return {}
        colours = _colours(image).reshape(-1, 3)
        indices, places = np.unique(np.asarray(image).ravel(), return_index=True)
        return {int(index): tuple(colours[place].tolist()) for index, place in zip(indices, places, strict=True)}

    return _read(content, convert)


def has_image_suffix(path: str) -> bool:
    """Whether a file's name ends as images' names do: .jpg, .png, .webp and all others that Pillow knows."""
    return PurePosixPath(path).suffix.lower() in _suffixes()


@cache
def readable_formats() -> list[str]:
    """Pillow's names of the formats that are tried."""
    _init()
    return [name for name in Image.ID if name not in REFUSED]


def _read(content: bytes, convert: Callable[[Image.Image], Result]) -> Result:
    """convert(image) of the complete image in `content`. Raises Unreadable."""
    if not content:
        raise Unreadable("empty file")
    with _loaded(content) as image:
        if image.format in ("JPEG", "MPO"):
            _check_jpeg(content, image)
        try:
            return convert(image)
        except (OSError, ValueError, ImageCms.PyCMSError) as error:  # and no others: they would be ours
            raise Unreadable(one_line(error)) from None


def _loaded(content: bytes) -> Image.Image:
    """Raises Unreadable."""
    try:
        image = Image.open(io.BytesIO(content), formats=readable_formats())
        _check_strips(image)
        image.load()
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise Unreadable("no image in a format that Pillow reads") from None
    except Exception as error:  # damaged files make Pillow raise nearly everything
        raise Unreadable(one_line(error)) from None
    return image


def _check_jpeg(content: bytes, image: Image.Image) -> None:
    """Raises Unreadable where `image`, loaded from `content`, is made up in part."""
    scans = jpeg_scans(content)
    if content.find(b"\xff\xd9", scans.start) < 0:
        raise Unreadable("the picture data have no end: the file is cut off, and filled up")
    if not scans.is_complete:
        raise Unreadable(f"the picture ends after {scans.count} scans, and more belong to it: the file is cut off")
    if may_be_cut(image, scans) and _changes(image, content, with_more_data(content, scans)):
        raise Unreadable("the picture data end too early: the file is cut off, and an end was put to it")


def _changes(image: Image.Image, content: bytes, other_content: bytes) -> bool:
    """Whether the pixels of two JPEGs differ. image: the first, loaded. Large ones are compared at half their size,
    which takes a quarter of the memory.
    """
    is_large = image.width * image.height > LARGE
    first = _halved(content) if is_large else image
    with _halved(other_content) if is_large else _loaded(other_content) as other:
        return any(cut(first, rows).tobytes() != cut(other, rows).tobytes()
                   for rows in strips(first.height, first.width))


def _halved(jpeg: bytes) -> Image.Image:
    """Of a file that has been decoded."""
    image = Image.open(io.BytesIO(jpeg), formats=readable_formats())
    image.draft(None, (image.width // 2, image.height // 2))
    image.load()
    return image


def _check_strips(image: Image.Image) -> None:
    """Raises Unreadable for a TIFF whose strips or tiles end before its pixels: Pillow reads the others as black."""
    if image.format == "TIFF" and image.tile:
        width, height = (max(extents[end] for _, extents, *_ in image.tile) for end in (2, 3))
        if width * height < image.width * image.height:
            raise Unreadable(f"it holds {width}×{height} of its {image.width}×{image.height} pixels")


def _with_header(image: Image.Image) -> tuple[np.ndarray, Header]:
    mode, pixels = image.mode, np.asarray(upright_rgb(image))  # before the frames are counted, which moves on
    return pixels, Header(image.format, mode, _frames(image))


def _frames(image: Image.Image) -> int:
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # damage behind the first frame, which was read
        return 0


def _indices(image: Image.Image) -> np.ndarray:
    if image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16"):
        return np.asarray(image)
    if image.mode in ("LA", "RGB", "RGBA"):
        first, *others = image.split()[:1 if image.mode == "LA" else 3]
        if all(other.tobytes() == first.tobytes() for other in others):
            return np.asarray(first)
    raise OtherKind(f"stored as colours (mode {image.mode}), not as indices")


def _colours(image: Image.Image) -> np.ndarray:
    if image.mode[0] not in "IF":  # Pillow would clip these to 255
        return np.asarray(image.convert("RGB"))
    raise OtherKind(f"stored as numbers (mode {image.mode}), not as colours")


@cache
def _suffixes() -> frozenset[str]:
    _init()
    return frozenset(Image.registered_extensions())


def _init() -> None:
    """All of Pillow's formats, and HEIC where pi-heif is installed, which a device may lack."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()
