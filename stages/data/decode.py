"""The one place where bytes become RGB pixels, or a mask's values. predict.py is built from it too."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from stages.core.errors import one_line
from stages.data.jpeg import jpeg_scans, may_be_cut, with_more_data

REFUSED = {"EPS"}  # would start Ghostscript, a program that runs what the file says
LARGE = 2**24  # pixels of a picture that is never held twice
STRIP = 2**20  # pixels of a picture that are worked on at a time
ORIENTATION = 0x0112  # EXIF's number for how the camera was held
XMP = b"http://ns.adobe.com/xap/1.0/\0"  # how a JPEG's segment of XMP data begins
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # a value of it → what makes the picture upright
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
    return _read(content, _upright_rgb)


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
        return any(_cut(first, rows).tobytes() != _cut(other, rows).tobytes()
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
    mode, pixels = image.mode, np.asarray(_upright_rgb(image))  # before the frames are counted, which moves on
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


def _upright_rgb(image: Image.Image) -> Image.Image:
    rgb, turn = _rgb(image), TURNS.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> object:
    """As the file's EXIF data say, or else its XMP data; None where they are damaged."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:  # Pillow's own, nearly all there are; such a block says nothing about the pixels
        return None
    if value is None and (match := re.search(rb'tiff:Orientation(?:="|>)([0-9])', _xmp(image))):
        return int(match[1])  # Pillow itself looks there from version 11 on
    return value


def _xmp(image: Image.Image) -> bytes:
    if isinstance(image.info.get("xmp"), bytes):
        return image.info["xmp"]
    segments = getattr(image, "applist", ())  # of a JPEG: (name, content)
    return next((content for name, content in segments if name == "APP1" and content.startswith(XMP)), b"")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    convert, rgb = _rgb_converter(image), Image.new("RGB", image.size)
    for rows in strips(image.height, image.width):
        rgb.paste(convert(_cut(image, rows)), (0, rows.start))
    return rgb


def strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture in pieces of about STRIP pixels: what is computed of one takes little memory."""
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _cut(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start, image.width, rows.stop))


def _rgb_converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """The function that converts a strip of this image."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):  # Pillow scales PGM to 65535
        tags = image.tag_v2 if image.format == "TIFF" else {}
        white = 2 ** tags.get(258, (16,))[0] - 1  # 4095 in TIFFs of 12 bits
        # Pillow inverts TIFFs in which white is 0 only where they are of 8 bits or less.
        return lambda strip: _grey(np.asarray(strip), white, inverted=tags.get(262) == 0)
    if mode in ("I", "F"):
        low, span = _value_range(image)
        return lambda strip: _grey(_finite(strip) - low, span)
    if mode == "LAB":
        return lambda strip: ImageCms.applyTransform(strip, _lab())
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white
    return lambda strip: strip.convert("RGB")


def _on_white(strip: Image.Image) -> Image.Image:
    rgba = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _value_range(image: Image.Image) -> tuple[float, float]:
    """Black, and how far above it white is: the first of 0–1 (floats), 0–255, 0–65535 that holds all values; where none
    does, the range of the values.
    """
    extremes = [(values.min(), values.max()) for values in (_finite(_cut(image, rows)) for rows in
                                                            strips(image.height, image.width))]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    fitting = [scale for scale in ([1] if image.mode == "F" else []) + [255, 65535] if low >= 0 and high <= scale]
    return (0, fitting[0]) if fitting else (low, max(high - low, 1e-9))


def _finite(strip: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(strip).astype(np.float64), posinf=0, neginf=0)


def _grey(values: np.ndarray, white: float, inverted: bool = False) -> Image.Image:
    """RGB from values of 0 (black) to `white`."""
    levels = np.rint(values * (255 / white)).astype(np.uint8)
    return Image.fromarray(255 - levels if inverted else levels).convert("RGB")


@cache
def _lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


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
