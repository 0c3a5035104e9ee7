"""Classifies pictures, or draws masks over them, with a model made here. In: pictures. Out: a record for each.

One file, to be copied to a device beside the model: it needs onnxruntime, numpy and Pillow, and nothing of ours.

    python predict.py photo.jpg folder/ "more/*.png"        # the student, student.int8.onnx beside this file
    find . -name "*.jpg" | python predict.py - --format csv --output answers.csv
    curl https://example.org/photo.jpg | python predict.py --stdin
    python predict.py folder/ --compare teacher.onnx

Or in a program, which gets the same without the path, and a mask as an array of class numbers:

    import predict
    predict.Model("student.int8.onnx").answer(bytes_of_a_file)    # or uint8 (H,W,3), RGB

A record of a picture: {"path", "width", "height" (upright), "top": [{"class", "probability"}, …]}. By a segmentation
model: {"path", "width", "height", "mask", "shares": [{"class", "colour", "share"}, …]}; a share is in % of the pixels
as the model saw them, the largest first. The mask is a PNG of the picture's own size, each pixel's index its class, in
the model's colours (legend.png beside it); with resize "crop" what lies outside the middle is index 255, transparent.
With --compare also "compare": {"model", "top", "same"}; for masks {"model", "shares", "agreement"}, in % of the pixels.
What can't be read is {"path", "error"}.

Exit status: 0; 1 if a picture couldn't be read; 2 if it couldn't go on, with one line on stderr; 130 interrupted; 141
the reader closed the pipe.
"""

# Generated from predict/ and stages/ by `python -m tools.build_predict`: edit the files named below, not this one.

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # while it loads: libraries may swallow an exception
if __name__ == "__main__" and sys.version_info < (3, 9):
    print("predict: Python 3.9 or newer is needed, and this is " + sys.version.split()[0], file=sys.stderr)
    sys.exit(2)

try:
    import argparse
    import contextlib
    import csv
    import glob
    import hashlib
    import inspect
    import io
    import itertools
    import json
    import logging
    import math
    import re
    import time
    import unicodedata
    import warnings
    from collections import Counter, deque
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import dataclass, fields
    from functools import cache
    from pathlib import Path, PurePath
    from typing import IO, Literal, NamedTuple, TypeVar

    import numpy as np
    import PIL
    from PIL import Image, ImageCms, ImageDraw, ImageFont, PngImagePlugin, UnidentifiedImageError, features

    if tuple(map(int, PIL.__version__.split(".")[:2])) < (9, 4):
        raise ImportError(f"Pillow {PIL.__version__} is too old, 9.4 or newer is needed")
except ImportError as error:
    if __name__ != "__main__":
        raise
    said = " ".join(str(error).split())
    print(f"predict: {said}; run: pip install --upgrade onnxruntime numpy pillow", file=sys.stderr)
    sys.exit(2)


# ── stages/core/cells.py ──

FORMULA = re.compile(r"'*[=+\-@\t\r]")


def as_cell(value: object) -> object:
    """A text that would be a formula behind an apostrophe; a number, and any other text, as it is."""
    if not isinstance(value, str) or not FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ── stages/core/errors.py ──

# From version 1.29 on, onnxruntime tells its maker which models it runs, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class UserError(Exception):
    """An error that the user can mend. The message says, in one line, what is wrong, where, and what to do."""


def one_line(error: BaseException) -> str:
    """The message of an exception, with line breaks and runs of spaces as one space; its type where it has none."""
    return printable(" ".join(str(error).split()) or type(error).__name__)


def printable(text: str) -> str:
    """What a terminal would act on, in names from an archive for example, is written as Python writes it: \\x1b."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


# ── predict/formats.py ──

@dataclass(frozen=True)
class Layout:
    """What the formats need to know besides the records."""

    classes: list[str]
    masks: bool
    compare: bool
    topk: int
    path_width: int  # of the paths' column


def as_text(records: Iterable[dict], layout: Layout) -> Iterator[str]:
    """A line a picture; of masks, the `topk` largest classes that occur."""
    width = min(24, max(len(printable(name)) for name in layout.classes))
    for record in records:
        path = printable(record["path"]).ljust(layout.path_width)
        if "error" in record:
            yield f"{path}  error: {printable(record['error'])}\n"
        elif layout.masks:
            shares = [(entry["class"], entry["share"]) for entry in record["shares"] if entry["share"]][:layout.topk]
            yield f"{path}  {_columns(shares, width)}  mask: {printable(record['mask'])}{_comparison(record)}\n"
        else:
            percents = [(entry["class"], 100 * entry["probability"]) for entry in record["top"]]
            yield f"{path}  {_columns(percents, width)}{_comparison(record)}\n"


def _columns(entries: list[tuple[str, float]], width: int) -> str:
    return "  ".join(f"{printable(name):<{width}} {percent:6.2f} %" for name, percent in entries)


def _comparison(record: dict) -> str:
    other = record.get("compare")
    if not other:
        return ""
    if "agreement" in other:
        return f"  {printable(other['model'])}: {other['agreement']:.2f} % of the pixels alike"
    first = other["top"][0]
    return f"  {'=' if other['same'] else '≠'} {printable(other['model'])}: " + _columns(
        [(first["class"], 100 * first["probability"])], 0)


def as_csv(records: Iterable[dict], layout: Layout) -> Iterator[str]:
    """A row a picture and rank, or a picture and error."""
    entries, value = ("shares", "share") if layout.masks else ("top", "probability")
    columns = ["path", "rank", "class", value, *["mask"] * layout.masks, "error",
               *["compare_class", f"compare_{value}"] * layout.compare]
    yield _csv_row(columns)
    for record in records:
        rows = [{"error": record["error"]}] if "error" in record else []
        others = record.get("compare", {}).get(entries, record.get(entries))
        for rank, (entry, other) in enumerate(zip(record.get(entries, []), others or []), 1):
            rows.append({"rank": rank, "class": entry["class"], value: f"{entry[value]:.6f}",
                         "mask": record.get("mask"),
                         "compare_class": other["class"], f"compare_{value}": f"{other[value]:.6f}"})
        for row in rows:
            yield _csv_row([(row | {"path": record["path"]}).get(column, "") for column in columns])


def _csv_row(values: list) -> str:
    """Texts that a spreadsheet would compute are marked as texts. Ends in a line feed. Were the writer told so, it
    wouldn't quote a carriage return in a name.
    """
    line = io.StringIO()
    csv.writer(line).writerow(map(as_cell, values))
    return line.getvalue().removesuffix("\r\n") + "\n"


def as_json(records: Iterable[dict], _: Layout) -> Iterator[str]:
    before = "[\n"
    for record in records:
        yield before + _dumped(record)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def as_jsonl(records: Iterable[dict], _: Layout) -> Iterator[str]:
    for record in records:
        yield _dumped(record) + "\n"


def _dumped(record: dict) -> str:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path that is no UTF-8: escaped, it still leads to the file
        text = json.dumps(record, allow_nan=False)
    return text


FORMATS = {"text": as_text, "json": as_json, "jsonl": as_jsonl, "csv": as_csv}


# ── stages/data/image_size.py ──

def height_and_width(image_size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W), pixels."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return height, width


def pixels_text(image_size: int | Sequence[int]) -> str:
    """`32×32 pixels`, or `40×24 pixels (width × height)`."""
    height, width = height_and_width(image_size)
    return f"{width}×{height} pixels" + (" (width × height)" if width != height else "")


# ── stages/data/tiling.py ──

class Sizing(NamedTuple):
    """How a picture is brought to tiles; with squash and crop it becomes a single one."""

    height: int  # of a tile, in pixels
    width: int
    # Both sides to a tile's | the largest part in the middle that has a tile's aspect ratio | cut into tiles.
    resize: Literal["squash", "crop", "tiles"]
    scale: float  # tiles: the picture is resized to this share of its size first
    overlap: int  # tiles: pixels that neighbours share at least, to the side and below


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


# ── predict/card.py ──

OUTSIDE = 255  # in a mask: a pixel that the model didn't see
MAX_SIDE = 2**13  # of the tiles that a model sees, in pixels


@dataclass(frozen=True)
class Card:
    """The part of an ONNX file's metadata that is needed here."""

    classes: list[str]
    image_size: int | list[int]  # of the tiles that the model sees, pixels: n for n×n, or [height, width]
    resize: str  # squash: both sides to that | crop: the middle, of that aspect ratio | tiles that cover the picture
    scale: float  # tiles: the picture is resized to this share of its size first
    overlap: int  # tiles: pixels that neighbours share at least
    task: str
    colours: list[list[int]]  # segmentation: (red, green, blue) of each class

    @classmethod
    def read(cls, metadata: dict[str, str], path: str) -> Card:
        """Raises UserError where a field is missing or invalid."""
        metadata = {"colours": "[]"} | metadata
        try:
            card = cls(**{field.name: metadata[field.name] if field.type == "str" else json.loads(metadata[field.name])
                          for field in fields(cls)})
            problem = card._problems()
        except KeyError as error:
            problem = f"no {error.args[0]}"
        except (RecursionError, TypeError, ValueError) as error:
            problem = one_line(error)
        if problem:
            raise UserError(f"{path} doesn't describe itself ({problem}), so it wasn't made here; take a file that dvc "
                            "repro has put into models/")
        return card

    @property
    def masks(self) -> bool:
        """Whether the model draws masks."""
        return self.task == "segmentation"

    @property
    def sizing(self) -> Sizing:
        return Sizing(*self.input_size, self.resize, self.scale, self.overlap)

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the tiles that the model sees."""
        return height_and_width(self.image_size)

    def _problems(self) -> str:
        colours = np.array(self.colours) if self.masks else None
        valid = {
            "classes": self.classes and all(isinstance(name, str) for name in self.classes),
            "image_size": all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in self.input_size),
            "resize": self.resize in ("squash", "crop", "tiles") and (self.masks or self.resize != "tiles"),
            "scale": 0 < self.scale <= 1,
            "overlap": isinstance(self.overlap, int) and 0 <= self.overlap < min(self.input_size),
            "task": self.task in ("classification", "segmentation"),
            "number of classes: a mask has room for 255": not self.masks or len(self.classes) <= OUTSIDE,
            "colours": not self.masks or (colours.shape == (len(self.classes), 3) and colours.dtype.kind == "i"
                                          and (colours >= 0).all() and (colours <= 255).all())}
        return ", ".join(f"odd {name}" for name, is_valid in valid.items() if not is_valid)

    def comparable(self, other: Card) -> bool:
        """Whether both models get the same tiles and answer with the same classes."""
        return all(getattr(self, field.name) == getattr(other, field.name) for field in fields(self)
                   if field.name != "colours")


# ── predict/output.py ──

COUNTER = itertools.count()  # numbers half-written files: in one folder, masks and --output may be open at a time


@contextlib.contextmanager
def atomic_output(path: Path, mode: str = "w"):
    """An open file that appears under `path` only when the block has ended well. Raises UserError where it can't."""
    if path.exists() and not path.is_file():  # a device, a pipe; of a folder, open says so
        with _opened(path, mode, path) as file:
            yield file
        return
    target = path.resolve()
    half = target.with_name(f".{os.getpid()}-{next(COUNTER)}.half")
    try:
        with _opened(half, mode, path) as file:
            yield file
        os.replace(half, target)
    finally:
        with contextlib.suppress(OSError):  # it may be in place, or never have been made
            half.unlink()


def _opened(path: Path, mode: str, named: Path) -> IO:
    """named: the path that an error names."""
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    try:
        return open(path, mode, **text)
    except OSError as error:
        raise UserError(f"{named} can't be written ({error.strerror}); name a file in a folder that is there and may "
                        "be written to") from None


# ── stages/data/colour.py ──

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


# ── stages/data/jpeg.py ──

SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # a marker that ends a scan's data; FF00, FFD0–FFD8 do not
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
END, SCAN = 0xD9, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of any coding; the others are tables
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
COEFFICIENTS = 64  # of a block
SMALL = 2**18  # pixels: 16×16 of them, which may share their data, are 0.1 %
MORE = bytes(range(254, 0, -1))  # scan data that mean anything at all, but not the zeros that libjpeg makes up


class JpegScans(NamedTuple):
    """What the scans of a JPEG's first picture hold together."""

    count: int
    is_complete: bool  # each bit of each coefficient of each component is sent by one of them
    start: int  # of the last one's data
    end: int  # the first byte behind them: a marker's


def jpeg_scans(jpeg: bytes) -> JpegScans:
    """Of a file that a decoder has read."""
    progressive, missing, count, start, end = False, {}, 0, len(jpeg), len(jpeg)
    for marker, at in _segments(jpeg):
        if marker in FRAMES:
            progressive = marker in PROGRESSIVE
            ids = jpeg[at + 8:at + 8 + 3 * jpeg[at + 7]:3]
            missing = {component: set(range(COEFFICIENTS)) for component in ids}
        elif marker == SCAN:
            count += 1
            header = jpeg[at + 2:at + int.from_bytes(jpeg[at:at + 2], "big")]
            first, last, bits = header[-3:] if progressive else (0, COEFFICIENTS - 1, 0)
            for component in header[1:-3:2]:
                if not bits & 15:  # else the lowest bits follow in another scan
                    missing.get(component, set()).difference_update(range(first, last + 1))
            start = at + 2 + len(header)
            end = _end_of_data(jpeg, start)
            if not (progressive or any(missing.values())):
                break
    return JpegScans(count, not any(missing.values()), start, end)


def with_more_data(jpeg: bytes, scans: JpegScans) -> bytes:
    """The file with further data in its last scan, before and behind a restart marker: no effect on a whole picture."""
    restart = b"\xff%c" % (0xD0 + len(RESTART.findall(jpeg, scans.start, scans.end)) % 8)
    return jpeg[:scans.end] + MORE + restart + MORE + jpeg[scans.end:]


def may_be_cut(image: Image.Image, scans: JpegScans) -> bool:
    """False where the picture is large, has one scan, and its last block more than one colour: what libjpeg makes up
    has no detail, and less than that block is too little to decode all again for.
    """
    width, height = image.size
    # Without the block's first row and column, whose colour is blended with that of the blocks before.
    left, top = (width - 1) // 8 * 8 + 1, (height - 1) // 8 * 8 + 1
    if scans.count > 1 or width * height <= SMALL or left == width or top == height:
        return True
    return all(len(set(band.getextrema())) == 1 for band in image.crop((left, top, width, height)).split())


def _segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where its length stands) of each segment up to the end of the first picture."""
    at = 2  # behind the start marker
    while (match := SEGMENT.search(jpeg, at)) and match[0][1] != END:
        yield match[0][1], match.end()
        at = match.end() + int.from_bytes(jpeg[match.end():match.end() + 2], "big")


def _end_of_data(jpeg: bytes, at: int) -> int:
    match = SEGMENT.search(jpeg, at)
    end = match.start() if match else len(jpeg)
    while end > at and jpeg[end - 1] == 0xFF:  # any number of these may stand before a marker
        end -= 1
    return end


# ── stages/data/decode.py ──

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


def decode_image(content: bytes) -> Image.Image:
    """8-bit RGB, rotated as EXIF says. Raises Unreadable.

    The first frame of animations; 16 bits scaled to 8, not clipped; other depths stretched to 0–255; transparency laid
    on white; grey, palette, CMYK and LAB converted to RGB; colour profiles not applied.
    """
    return _read(content, upright_rgb)


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


def _init() -> None:
    """All of Pillow's formats, and HEIC where pi-heif is installed, which a device may lack."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()


# ── predict/sources.py ──

LITTER = {"__macosx", "thumbs.db", "desktop.ini"}  # of file managers; names with a leading dot are skipped too
PIXELLESS = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow opens them, and can't decode what is inside
MAX_BYTES = 2**31  # of a file: no picture has more that Pillow wouldn't refuse for its number of pixels


@dataclass
class Source:
    path: str
    name: str  # of its mask, without the suffix
    error: str = ""
    picture: bytes | np.ndarray | None = None  # itself, where there is nothing to be read at the path

    def subject(self) -> str:
        """What tells it from all other pictures."""
        return str(Path(self.path).resolve()) if self.picture is None else hashlib.sha256(self.picture).hexdigest()


def from_stdin() -> Source:
    """The picture that stdin holds."""
    picture = sys.stdin.buffer.read(MAX_BYTES + 1)
    return Source("-", "stdin", "too large a file" if len(picture) > MAX_BYTES else "", picture)


def find_sources(arguments: Iterable[str]) -> Iterator[Source]:
    """Each picture of files, folders, globs, and - for paths on stdin; an error for an argument that has none."""
    for argument in arguments:
        if argument == "-":
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
            sources = (source for line in lines if line for source in _below(line))
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            sources = _below(argument)
        else:
            sources = _matching(argument)
        none = Source(argument, "", "no paths on stdin" if argument == "-" else "no picture there")
        yield next(sources, none)
        yield from sources


def _matching(pattern: str) -> Iterator[Source]:
    """Each picture once, though ** matches a folder, what is in it, and that again through a link to the folder."""
    places = set()

    def is_new(path: str) -> bool:
        place, before = Path(path).parent.resolve() / PurePath(path).name, len(places)
        places.add(place)
        return len(places) > before

    paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (Path.glob would take no absolute pattern)
    for path in filter(is_new, paths):
        yield from (source for source in _below(path) if source.path == path or is_new(source.path))


def _below(path: str) -> Iterator[Source]:
    """The file itself, whatever its name; or a folder's images at any depth, links to folders not followed."""
    if not Path(path).is_dir():
        yield Source(path, PurePath(path).stem)
        return
    denied, is_empty = [], True
    for folder, folders, files in os.walk(path, onerror=denied.append):
        folders[:] = sorted(name for name in folders if not _is_litter(name))
        for name in sorted(files):
            if PurePath(name).suffix.lower() in decodable_suffixes() and not _is_litter(name):
                is_empty, file = False, Path(folder, name)
                yield Source(str(file), str(file.relative_to(path).with_suffix("")))
    yield from (Source(error.filename, "", error.strerror) for error in denied)
    if is_empty and not denied:
        yield Source(path, "", "no picture in this folder")


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


@cache
def decodable_suffixes() -> frozenset[str]:
    """Of the formats that can be decoded: Pillow lists some that it only saves or only identifies, as PDF and MPEG."""
    formats = {*readable_formats(), "MPO"} - PIXELLESS  # an MPO is opened as a JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def is_picture(path: Path) -> bool:
    """By its name, or by how it begins: also one that is damaged is a picture to whom it belongs."""
    if not path.is_file():
        return False
    if path.suffix.lower() in decodable_suffixes():
        return True
    try:
        Image.open(path, formats=readable_formats()).close()
    except Exception:  # Pillow raises nearly all there are
        return False
    return True


def read(path: str) -> bytes:
    """Raises Unreadable."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise Unreadable("not a file")
        with open(path, "rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
                raise Unreadable(f"too large a file: {size / 1e9:.1f} GB")
            return file.read()
    except OSError as error:
        raise Unreadable(error.strerror or one_line(error)) from None
    except ValueError as error:  # a name that no file can have
        raise Unreadable(one_line(error)) from None


# ── predict/masks.py ──

class ClassMap:
    """The class of each pixel, uint8 (H,W), as the model saw the picture, from the logits of its tiles."""

    def __init__(self, height: int, width: int, card: Card):
        self.classes, self.filled = np.empty((height, width), np.uint8), 0  # filled: rows
        self.counts = np.zeros(len(card.classes), np.int64)  # pixels of each class
        self.blender = Blender(len(card.classes), height, width, card.input_size)

    def add(self, top: int, left: int, logits: np.ndarray) -> None:
        """logits: float32 (C,H,W) of the next tile, row by row."""
        self._fill(self.blender.add(top, left, logits))

    def finish(self) -> np.ndarray:
        self._fill(self.blender.rest())
        return self.classes

    def _fill(self, logits: np.ndarray) -> None:
        classes = logits.argmax(0)
        self.counts += np.bincount(classes.ravel(), minlength=len(self.counts))
        self.classes[self.filled:self.filled + len(classes)] = classes
        self.filled += len(classes)


def enlarge(classes: np.ndarray, height: int, width: int, card: Card) -> np.ndarray:
    """uint8 (height,width): the class of the nearest pixel that the model saw, OUTSIDE where it saw none."""
    mask = classes
    for axis, (side, used) in enumerate(zip((height, width), used_shape(height, width, card.sizing))):
        at = np.floor((np.arange(side) + 0.5 - (side - used) / 2) * classes.shape[axis] / used).astype(int)
        mask = mask.take(at.clip(0, classes.shape[axis] - 1), axis)
        outside = np.flatnonzero((at < 0) | (at >= classes.shape[axis]))
        mask[(slice(None),) * axis + (outside,)] = OUTSIDE
    return mask


class MaskFolder:
    """Writes masks into a folder. Only a mask of the same picture is ever overwritten."""

    def __init__(self, folder: Path, card: Card):
        self.folder, self.tried = folder, Counter()
        self.palette = [level for colour in card.colours for level in colour]
        self.options = {}
        if card.resize == "crop":
            self.palette += [0] * (3 * 256 - len(self.palette))  # as many bits a pixel as OUTSIDE takes
            self.options = {"transparency": OUTSIDE}
        self._save(_legend(card), "legend", json.dumps([card.classes, card.colours]))

    def write(self, mask: np.ndarray, source: Source) -> str:
        """mask: uint8 (H,W). → the path of its file."""
        image = Image.fromarray(mask)
        image.putpalette(self.palette)
        return str(self._save(image, source.name, source.subject(), **self.options))

    def _save(self, image: Image.Image, name: str, subject: str, **options) -> Path:
        """subject: what the image is of. Its hash stands in the file, which tells whether it may be overwritten."""
        # A name of 255 bytes is the longest that a file may have, and may not be UTF-8.
        stem = os.fsencode(PurePath(name).name)[:200].decode("utf-8", "ignore") or "picture"
        name = str(PurePath(name).with_name(stem) if PurePath(name).name else stem)
        digest = hashlib.sha256(os.fsencode(subject)).hexdigest()[:16]
        while True:
            self.tried[name] += 1
            number = f"-{self.tried[name]}" if self.tried[name] > 1 else ""
            path = self.folder / f"{name}{number}.png"
            if not os.path.lexists(path) or _stored_digest(path) == digest:
                break
        path.parent.mkdir(parents=True, exist_ok=True)
        info = PngImagePlugin.PngInfo()
        info.add_text("picture", digest)
        with atomic_output(path, "wb") as file:
            image.save(file, "PNG", pnginfo=info, **options)
        return path


def _stored_digest(path: Path) -> str | None:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("picture")
    except Exception:  # whatever it is, it is none of ours
        return None


def _legend(card: Card) -> Image.Image:
    """A patch of its colour before each class's name."""
    is_scalable = features.check("freetype2") and "size" in inspect.signature(ImageFont.load_default).parameters
    font, line = ImageFont.load_default(14) if is_scalable else ImageFont.load_default(), 26
    names = [_in_ascii(name) for name in card.classes]
    image = Image.new("RGB", (52 + math.ceil(max(map(font.getlength, names))), 8 + line * len(names)), "white")
    draw = ImageDraw.Draw(image)
    for number, (name, colour) in enumerate(zip(names, card.colours)):
        y = 4 + line * number
        draw.rectangle((8, y + 4, 32, y + line - 4), tuple(colour), "grey")
        draw.text((42, y + line // 2), name, "black", font, "lm" if is_scalable else None)
    return image


def _in_ascii(name: str) -> str:
    """In the letters that Pillow's own font has: accents left out, and what still is none as Python writes it."""
    letters = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return printable(letters.encode("ascii", "backslashreplace").decode())


# ── predict/answer.py ──

MAX_LOGITS = 2**31  # bytes: of a row of tiles, which is as wide as the picture


class Answer:
    """A picture's size and each model's answer, logits (C,) or a ClassMap; or the error in their place."""

    def __init__(self, source: Source):
        self.source, self.error, self.outputs = source, source.error, []
        self.width = self.height = 0  # upright
        self.image = None  # as the model sees it, until it is cut into tiles

    def load(self, card: Card) -> Answer:
        """Reads the picture, unless there is an error already, or notes why it can't be read."""
        if self.error:
            return self
        try:
            image = _image(self.source)
            self.width, self.height = image.size
            width = resized_shape(self.height, self.width, card.sizing)[1]
            if card.masks and 4 * len(card.classes) * card.input_size[0] * width > MAX_LOGITS:
                raise Unreadable(f"{width} pixels are too wide for a mask of {len(card.classes)} classes")
            self.image = resized(image, card.sizing)
        except Unreadable as error:
            self.error = one_line(error)
        except MemoryError:
            self._lack_memory()
        return self

    def tiles(self, card: Card) -> Iterator[tuple[int, int, np.ndarray]]:
        """Top, left and pixels of each tile; none where there is an error."""
        if self.image:
            yield from tiles(self.image, card.sizing)
            self.image = None

    def add(self, top: int, left: int, logits: list[np.ndarray], card: Card) -> None:
        """logits: of each model, (C,*S), of the tile that lies there."""
        if not all(np.isfinite(values).all() for values in logits):
            self.error = "the model's answer to it is not finite"
        elif not card.masks:
            self.outputs = logits
        elif not self.error:
            try:
                shape = resized_shape(self.height, self.width, card.sizing)
                self.outputs = self.outputs or [ClassMap(*shape, card) for _ in logits]
            except MemoryError:
                self._lack_memory()
            for output, values in zip(self.outputs, logits):
                output.add(top, left, values)

    def _lack_memory(self) -> None:
        self.error, self.image = "not enough memory for a picture of its size", None


def _image(source: Source) -> Image.Image:
    """RGB, upright. Raises Unreadable; UserError for an array that is none of a picture."""
    picture = source.picture
    if picture is None:
        return decode_image(read(source.path))
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return decode_image(bytes(picture))
    if not isinstance(picture, np.ndarray):
        raise UserError(f"no picture: {type(picture).__name__}; give a file's bytes, or uint8 (H,W,3), RGB")
    is_picture = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if not is_picture or picture.dtype != np.uint8 or not picture.size:
        raise UserError(f"no picture: {picture.dtype} {picture.shape}; give uint8 (H,W,3), RGB, or (H,W), grey")
    return Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")


def top_classes(logits: np.ndarray, classes: list[str], count: int) -> list[dict]:
    """The `count` likeliest classes by softmax. logits: float32 (C,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = powers / powers.sum()
    return [{"class": classes[number], "probability": round(float(probabilities[number]), 6)}
            for number in np.argsort(-logits, kind="stable")[:count]]


def class_shares(counts: np.ndarray, card: Card) -> list[dict]:
    """Of every class, in % of the pixels, the largest first. counts: pixels of each class, (C,)."""
    return [{"class": card.classes[number], "colour": "#{:02x}{:02x}{:02x}".format(*card.colours[number]),
             "share": round(100 * float(counts[number] / counts.sum()), 4)}
            for number in np.argsort(-counts, kind="stable")]


# ── stages/deployment/runtime.py ──

def session(model, threads: int, exact: bool = False):
    """An onnxruntime.InferenceSession. model: a file's path, or its bytes.

    exact: int8 sums never saturate on x86, at 1.3 to 4 times the time there.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    # Waiting threads would otherwise spin, and take the cores from the next model that is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


# ── predict/model.py ──

CPUINFO = Path("/proc/cpuinfo")  # of Linux


class Model:
    """A file opened in onnxruntime on the CPU."""

    def __init__(self, path: str | Path, threads: int | None = None):
        """threads: None for as many as there are cores. Raises UserError where the file is missing, broken, or none of
        ours, or onnxruntime is.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"there is no model {path}; name one with --model")
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # where it doesn't fit numpy, that says so in thirty lines
                import onnxruntime  # noqa: F401
        except Exception as error:  # it was built for another numpy, a library of the system is missing, …
            raise UserError(f"onnxruntime can't be loaded ({one_line(error)}); run: pip install --upgrade onnxruntime "
                            "numpy pillow") from None
        try:
            self.session = session(str(path), threads or cores())
            metadata = self.session.get_modelmeta().custom_metadata_map
            if metadata.get("saturates") == "true" and adds_in_16_bits():
                self.session = session(str(path), threads or cores(), exact=True)
        except Exception as error:  # onnxruntime's own classes share no base but this one
            raise UserError(f"{path} is no readable ONNX model ({one_line(error)}); {_advice(path)}") from None
        self.name, self.seconds = path.name, 0.0
        self.card = Card.read(metadata, str(path))
        self._check_graph(path)

    def answer(self, picture: bytes | np.ndarray, topk: int = 5) -> dict:
        """The record of one picture: {"width", "height", "top": [{"class", "probability"}, …]}. By a segmentation model
        {"width", "height", "mask": uint8 (H,W), "shares": [{"class", "colour", "share"}, …]}.

        picture: a file's bytes; or uint8 (H,W,3), RGB, or (H,W), grey. Raises Unreadable where it is no picture,
        UserError where the model fails.
        """
        answer = Answer(Source("", "", picture=picture)).load(self.card)
        for top, left, pixels in answer.tiles(self.card):
            answer.add(top, left, [self(pixels[None])[0]], self.card)
        if answer.error:
            raise Unreadable(answer.error)
        output, size = answer.outputs[0], {"width": answer.width, "height": answer.height}
        if not self.card.masks:
            return size | {"top": top_classes(output, self.card.classes, topk)}
        mask = enlarge(output.finish(), answer.height, answer.width, self.card)
        return size | {"mask": mask, "shares": class_shares(output.counts, self.card)}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N,H,W,3) → float32 logits (N,C) or (N,C,H,W)."""
        start = time.perf_counter()
        try:
            logits = self.session.run(["logits"], {"image": images})[0]
        except Exception as error:
            advice = "try --batch 1" if len(images) > 1 else "copy the file again"
            raise UserError(f"{self.name} failed on {len(images)} picture(s) ({one_line(error)}); {advice}") from None
        finally:
            self.seconds += time.perf_counter() - start
        if logits.shape != (len(images), *self._answer_shape()):
            raise UserError(f"{self.name} answered {len(images)} picture(s) with numbers of shape {logits.shape}, "
                            "which isn't what it says of itself; copy the file again")
        return logits

    def warm_up(self) -> None:
        """The first run takes longer than all others, and isn't timed."""
        self(np.zeros((1, *self.card.input_size, 3), np.uint8))
        self.seconds = 0.0

    def _answer_shape(self) -> tuple[int, ...]:
        """Of the logits of one tile."""
        return (len(self.card.classes), *(self.card.input_size if self.card.masks else ()))

    def _check_graph(self, path: Path) -> None:
        """Raises UserError where inputs and outputs aren't what the card says."""
        card, shape = self.card, self._answer_shape()
        inputs = self.session.get_inputs()
        logits = next((output for output in self.session.get_outputs() if output.name == "logits"), None)
        takes_images = (len(inputs) == 1 and inputs[0].name == "image" and inputs[0].type == "tensor(uint8)"
                        and inputs[0].shape[1:] == [*card.input_size, 3])
        gives_logits = (logits and logits.type == "tensor(float)" and len(logits.shape) == 1 + len(shape)
                        and all(side == expected or not isinstance(side, int)
                                for side, expected in zip(logits.shape[1:], shape)))
        if not (takes_images and gives_logits):
            raise UserError(f"{path} is no model for {card.task} of {len(card.classes)} classes on uint8 RGB "
                            f"images of {pixels_text(card.image_size)}, though it says so; copy it again, or make it "
                            "anew with dvc repro")


def cores() -> int:
    """That this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def adds_in_16_bits() -> bool:
    """Whether this processor adds products of int8 in 16 bits, as x86 with AVX2 and without VNNI does; True where that
    can't be told.
    """
    try:
        words = set(CPUINFO.read_text(encoding="utf-8", errors="replace").split())
    except OSError:  # not Linux
        return True
    return "avx2" in words and not words & {"avx512_vnni", "avx_vnni"}


def _advice(path: Path) -> str:
    """What to do about a file that onnxruntime refuses: it may be too old for it, which the file's metadata tell."""
    import onnxruntime

    needed = re.search(rb"oldest_onnxruntime\x12.(\d+)\.(\d+)", path.read_bytes())
    installed = re.match(r"(\d+)\.(\d+)", onnxruntime.__version__)
    if needed and tuple(map(int, needed.groups())) > tuple(map(int, installed.groups())):
        oldest = b".".join(needed.groups()).decode()
        return (f"it needs onnxruntime {oldest} or newer, and this is {onnxruntime.__version__}: pip install --upgrade "
                "onnxruntime")
    return "copy it again"


# ── predict/records.py ──

def answers(sources: Iterable[Source], models: list[Model], batch: int, decoders: int = 1) -> Iterator[Answer]:
    """Each picture's answer in turn. batch: tiles that run at a time; decoders: pictures that are decoded so."""
    card = models[0].card
    images = []  # tiles that wait
    waiting = []  # (answer, (top, left)) of each of them; behind a picture's last one (answer, None)

    def run_batch() -> Iterator[Answer]:
        logits = zip(*(model(np.stack(images)) for model in models)) if images else iter(())
        for answer, place in waiting:
            if place:
                answer.add(*place, list(next(logits)), card)
            else:
                yield answer
        images.clear(), waiting.clear()

    for answer in _loaded_answers(sources, card, decoders):
        for top, left, pixels in answer.tiles(card):
            images.append(pixels)
            waiting.append((answer, (top, left)))
            if len(images) == batch:
                yield from run_batch()
        waiting.append((answer, None))
        if not images or len(waiting) >= 2 * batch:
            yield from run_batch()
    yield from run_batch()


def _loaded_answers(sources: Iterable[Source], card: Card, decoders: int) -> Iterator[Answer]:
    """In the order of the sources. With more than one decoder sources are taken before their answers are asked for."""
    if decoders == 1:
        yield from (Answer(source).load(card) for source in sources)
        return
    ahead = deque()
    with ThreadPoolExecutor(decoders) as pool:  # Pillow decodes and resizes without the interpreter's lock
        try:
            for source in sources:
                ahead.append(pool.submit(Answer(source).load, card))
                if len(ahead) == decoders:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


class Recorder:
    """Makes records, and counts for the summary."""

    def __init__(self, models: list[Model], topk: int, masks: Path):
        self.models, self.card, self.topk = models, models[0].card, topk
        self.masks = MaskFolder(masks, self.card) if self.card.masks else None
        self.pictures = self.failed = 0
        self.agreed = self.compared = 0  # of two models: pictures, or pixels, of the same class in both; and all

    def record(self, answer: Answer) -> dict:
        self.pictures += 1
        record = {"path": answer.source.path}
        if answer.error:
            self.failed += 1
            return record | {"error": answer.error}
        record |= {"width": answer.width, "height": answer.height}
        return record | (self._mask_record(answer) if self.masks else self._class_record(answer))

    def _class_record(self, answer: Answer) -> dict:
        ranked = [top_classes(logits, self.card.classes, self.topk) for logits in answer.outputs]
        if len(ranked) == 1:
            return {"top": ranked[0]}
        same = ranked[0][0]["class"] == ranked[1][0]["class"]
        self.agreed, self.compared = self.agreed + same, self.compared + 1
        return {"top": ranked[0], "compare": {"model": self.models[1].name, "top": ranked[1], "same": same}}

    def _mask_record(self, answer: Answer) -> dict:
        maps = [output.finish() for output in answer.outputs]
        path = self.masks.write(enlarge(maps[0], answer.height, answer.width, self.card), answer.source)
        shares = [class_shares(output.counts, self.card) for output in answer.outputs]
        if len(shares) == 1:
            return {"mask": path, "shares": shares[0]}
        same, pixels = int((maps[0] == maps[1]).sum()), maps[0].size
        self.agreed, self.compared = self.agreed + same, self.compared + pixels
        return {"mask": path, "shares": shares[0], "compare": {
            "model": self.models[1].name, "shares": shares[1], "agreement": round(100 * same / pixels, 4)}}

    def summary(self) -> Iterator[str]:
        """Lines for stderr, or none."""
        if self.failed:
            yield f"{self.failed} of {self.pictures} could not be read"
        if len(self.models) == 2 and (count := self.pictures - self.failed):
            times = ", ".join(f"{model.name} {1e3 * model.seconds / count:.2f} ms" for model in self.models)
            unit = "pixels" if self.masks else "pictures"
            share = f"{100 * self.agreed / self.compared:.2f} %"
            yield f"both name the same class in {share} of the {unit}; {times} a picture"


# ── predict/cli.py ──

MODEL = "student.int8.onnx"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f"{message}; python predict.py --help says more")


def parse_arguments() -> argparse.Namespace:
    parser = Parser("predict.py", "python predict.py SRC… [options]", __doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="*", metavar="SRC", help="a file; a folder, with all below it, hidden files "
                        "left out; a glob, quoted; or - for paths on stdin, one a line")
    parser.add_argument("--stdin", action="store_true", help="in place of SRC: one picture itself, its bytes, on stdin")
    parser.add_argument("--model", type=Path, help=f"an ONNX file (default: {MODEL} beside this file, or in models/ "
                        "there)")
    parser.add_argument("--topk", type=_positive, default=5, metavar="N", help="classes to name (default: 5)")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of stdout; written whole or not at all, "
                        "and over no picture")
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="where masks go (default: masks)")
    parser.add_argument("--batch", type=_positive, default=1, metavar="N", help="pictures, or tiles of one, that run "
                        "at a time; on a CPU more need more memory and are hardly faster (default: 1)")
    parser.add_argument("--threads", type=_positive, default=cores(), metavar="N",
                        help="that the model runs on, and pictures that are decoded at a time, each in memory of its "
                        "own (default: the cores that this process may use, %(default)s)")
    parser.add_argument("--compare", type=Path, metavar="MODEL", help="a second ONNX file, to be asked the same")
    options = parser.parse_args()
    if bool(options.source) == options.stdin:
        parser.error("name pictures or folders as SRC, or give a picture to --stdin: one of the two is required")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def default_model() -> Path:
    """The student beside this file."""
    here = Path(__file__).resolve().parent
    for path in (here / MODEL, here / "models" / MODEL):
        if path.is_file():
            return path
    raise UserError(f"there is no {MODEL} beside predict.py, nor in models/ there; copy one, or name a model with "
                    "--model")


def predict(options: argparse.Namespace) -> int:
    """The exit status: 0, or 1 if a picture couldn't be read."""
    is_listed = "-" not in options.source  # else paths come one by one, and each is answered before the next is known
    if sys.stdin is None and (options.stdin or not is_listed):
        raise UserError("stdin is closed, so - can't be read; pass the paths to it, one a line, or name them")
    if not options.output and sys.stdout is None:
        raise UserError("stdout is closed; leave it open, or name a file with --output")
    if options.output and is_picture(options.output):
        raise UserError(f"--output {options.output} is a picture, which the answers would overwrite; name another file")
    models = _open_models(options)
    _raise_on_interrupt()
    sources, total, path_width = [from_stdin()] if options.stdin else find_sources(options.source), None, 0
    if is_listed:
        sources = list(sources)
        total = len(sources)
        path_width = min(100, max(len(printable(source.path)) for source in sources))
    card = models[0].card
    layout = Layout(card.classes, card.masks, len(models) == 2, options.topk, path_width)
    with atomic_output(options.output) if options.output else contextlib.nullcontext(sys.stdout) as out:
        recorder = Recorder(models, options.topk, options.masks or Path("masks"))
        decoders = options.threads if is_listed else 1
        records = map(recorder.record, answers(sources, models, options.batch, decoders))
        if sys.stderr.isatty() and not out.isatty():
            records = with_progress(records, total)
        for text in FORMATS[options.format](records, layout):
            print(text, end="", file=out, flush=True)
    for line in recorder.summary():
        say(line)
    return 1 if recorder.failed else 0


def _open_models(options: argparse.Namespace) -> list[Model]:
    """The model, and the one to compare it with. Raises UserError where they don't fit the options."""
    paths = [options.model or default_model(), *([options.compare] if options.compare else [])]
    models = [Model(path, options.threads) for path in paths]
    if not models[0].card.comparable(models[-1].card):
        raise UserError(f"{paths[0]} and {paths[1]} can't be compared: their classes, task or image sizes differ")
    if options.masks and not models[0].card.masks:
        raise UserError(f"{paths[0]} names whole pictures and draws no masks; leave --masks away, or name a model for "
                        "segmentation")
    if options.compare:
        for model in models:
            model.warm_up()
    return models


def with_progress(records: Iterable[dict], total: int | None) -> Iterator[dict]:
    """The same records, and their number on stderr."""
    of, last = f" of {total}" if total else "", time.monotonic()
    try:
        for number, record in enumerate(records, 1):
            yield record
            if time.monotonic() - last > 0.2:
                print(f"\rpredict: {number}{of} pictures", end="", file=sys.stderr, flush=True)
                last = time.monotonic()
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _raise_on_interrupt() -> None:
    """Ctrl-C, which has ended it at once while it was loading, is an exception from here on, and half-written files go.
    """
    if callable(signal.getsignal(signal.SIGINT)):  # not where a shell in the background has it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)


def say(message: object) -> None:
    print(f"predict: {message}", file=sys.stderr)


def _discard_stdout() -> None:
    """Python would try once more to write what is left as it ends, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the last: it was closed from the start
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    if sys.stderr is None:  # closed: print would take stdout in its place
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    silence_pillow()
    try:
        if sys.stdout:  # None where it is closed
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        return predict(parse_arguments())
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has had enough
        _discard_stdout()
        return 141
    except UserError as error:
        say(one_line(error))
    except MemoryError:
        say("out of memory; lower --batch")
    except OSError as error:
        _discard_stdout()
        say(f"{error.filename}: {error.strerror}" if error.filename else one_line(error))
    except Exception as error:
        say(f"unexpected {type(error).__name__}: {one_line(error)}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
