"""How pixels as a file stores them become upright RGB of 8 bits: depths, palettes, transparency, colour spaces, and how
the camera was held. In: a loaded Pillow image. predict.py is built from it too.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageCms

STRIP = 2**20  # pixels of a picture that are worked on at a time
ORIENTATION = 0x0112  # EXIF's number for how the camera was held
XMP = b"http://ns.adobe.com/xap/1.0/\0"  # how a JPEG's segment of XMP data begins
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # a value of it → what makes the picture upright


def upright_rgb(image: Image.Image) -> Image.Image:
    """Rotated as EXIF or XMP says; what else `decode.decode_image` says of colours."""
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
        rgb.paste(convert(cut(image, rows)), (0, rows.start))
    return rgb


def strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture in pieces of about STRIP pixels: what is computed of one takes little memory."""
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def cut(image: Image.Image, rows: slice) -> Image.Image:
    """One of its `strips`."""
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
    extremes = [(values.min(), values.max()) for values in (_finite(cut(image, rows)) for rows in
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
