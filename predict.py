"""Says what pictures show, or draws masks over them, by a model made here. In: pictures. Out: a record for each.

One file, to be copied to a device beside the model: it needs onnxruntime, numpy and Pillow, and nothing of ours. That
is why it is long: decoding, cutting, masks and formats all have to be in one file.

    python predict.py photo.jpg folder/ "more/*.png"        # the student, student.int8.onnx beside this file
    find . -name "*.jpg" | python predict.py - --format csv --output answers.csv
    python predict.py folder/ --compare teacher.onnx

A record of a picture: {"path", "width", "height" (upright), "top": [{"class", "probability"}, …]}. By a segmentation
model: {"path", "width", "height", "mask", "shares": [{"class", "colour", "share"}, …]}; a share is in % of the pixels
as the model saw them, the largest first. The mask is a PNG of the picture's own size, each pixel's index its class, in
the model's colours (legend.png beside it); with resize "crop" what lies outside the square is index 255, transparent.
With --compare also "compare": {"model", "top", "same"}; for masks {"model", "shares", "agreement"}, in % of the pixels.
What can't be read is {"path", "error"}.

Exit status: 0; 1 if a picture couldn't be read; 2 if it couldn't go on, with one line on stderr; 130 interrupted; 141
the reader closed the pipe.
"""

import argparse
import contextlib
import csv
import glob
import hashlib
import io
import itertools
import json
import logging
import math
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path, PurePath
from typing import IO

try:
    import numpy as np
    from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps, PngImagePlugin, UnidentifiedImageError, features
except ImportError as error:
    print(f"predict: {error}; run: pip install onnxruntime numpy pillow", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)

MODEL = "student.int8.onnx"
LITTER = {"__macosx", "thumbs.db", "desktop.ini"}  # what file managers leave; names with a leading dot are skipped too
REFUSED = {"EPS"}  # would start Ghostscript, a program that runs what the file says
PIXELLESS = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow opens them, and can't decode what is inside
MOST_BYTES = 2**31  # of a file: more than any picture has that Pillow doesn't refuse for its pixels
STRIP = 2**20  # pixels that are converted at a time
OUTSIDE = 255  # in a mask: the model saw nothing of it
HALVES = itertools.count()  # numbers for half-written files: in one folder, masks and --output may be open at a time

Image.preinit()  # the common formats first: they are tried in this order
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # from 179 million pixels on it is refused
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what it logs


class UserError(Exception):
    """It can't go on: the message says what was wrong, where, and what to do."""


class Unreadable(Exception):
    """Bytes that are no whole picture; says why."""


# ── The model ──

@dataclass(frozen=True)
class Card:
    """What an ONNX file says of itself in its metadata, as far as it is needed here."""

    classes: list[str]
    image_size: int  # height and width of the squares that the model sees
    resize: str  # squash: both sides to that | crop: the square in the middle | tiles: squares that cover the picture
    scale: float  # tiles: the picture is brought to this share of its size first
    overlap: int  # tiles: pixels that neighbours share at least
    task: str
    colours: list[list[int]]  # segmentation: (red, green, blue) of each class

    @classmethod
    def read(cls, texts: dict[str, str], path: str) -> "Card":
        """Raises UserError where a field is missing or makes no sense."""
        texts = {"colours": "[]"} | texts
        try:
            card = cls(**{field.name: texts[field.name] if field.type is str else json.loads(texts[field.name])
                          for field in fields(cls)})
            odd = card._odd()
        except KeyError as error:
            odd = f"no {error.args[0]}"
        except (TypeError, ValueError) as error:
            odd = one_line(error)
        if odd:
            raise UserError(f"{path} doesn't describe itself ({odd}), so it wasn't made here; take a file that dvc repro "
                        "has put into models/")
        return card

    def _odd(self) -> str:
        masks = self.task == "segmentation"
        colours = np.array(self.colours) if masks else None
        sensible = {
            "classes": self.classes and all(isinstance(name, str) for name in self.classes),
            "image_size": isinstance(self.image_size, int) and self.image_size > 0,
            "resize": self.resize in ("squash", "crop", "tiles") and (masks or self.resize != "tiles"),
            "scale": 0 < self.scale <= 1, "overlap": 0 <= self.overlap < self.image_size,
            "task": self.task in ("classification", "segmentation"),
            "number of classes: a mask has room for 255": not masks or len(self.classes) <= OUTSIDE,
            "colours": not masks or (colours.shape == (len(self.classes), 3) and colours.dtype.kind == "i"
                                     and (colours >= 0).all() and (colours <= 255).all())}
        return ", ".join(f"odd {name}" for name, good in sensible.items() if not good)

    def sees_as(self, other: "Card") -> bool:
        """Whether both get the same squares and answer with the same classes."""
        return all(getattr(self, field.name) == getattr(other, field.name) for field in fields(self)
                   if field.name != "colours")


class Model:
    """A file opened in onnxruntime on the CPU."""

    def __init__(self, path: Path, threads: int):
        """Raises UserError where the file is missing, broken, or none of ours."""
        if not path.is_file():
            raise UserError(f"there is no model {path}; name one with --model")
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{error}; run: pip install onnxruntime numpy pillow") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors only
        # Waiting threads would otherwise spin, and take the cores from the decoder and from the other model.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no base but this one
            raise UserError(f"{path} is no readable ONNX model ({one_line(error)}); copy it again") from None
        self.name, self.seconds = path.name, 0.0
        self.card = Card.read(self.session.get_modelmeta().custom_metadata_map, str(path))
        self._check(path)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N,size,size,3) → float32 logits (N,C) or (N,C,size,size)."""
        start = time.perf_counter()
        try:
            return self.session.run(["logits"], {"image": images})[0]
        except Exception as error:
            todo = "try --batch 1" if len(images) > 1 else "copy the file again"
            raise UserError(f"{self.name} failed on {len(images)} picture(s) ({one_line(error)}); {todo}") from None
        finally:
            self.seconds += time.perf_counter() - start

    def warm_up(self) -> None:
        """The first run takes longer than all others, and isn't to be counted."""
        self(np.zeros((1, self.card.image_size, self.card.image_size, 3), np.uint8))
        self.seconds = 0.0

    def _check(self, path: Path) -> None:
        """Raises UserError where the graph isn't what the card says."""
        card = self.card
        inputs = self.session.get_inputs()
        taken = inputs[0] if len(inputs) == 1 else None
        given = next((output for output in self.session.get_outputs() if output.name == "logits"), None)
        size = [card.image_size] * 2
        answer = [len(card.classes), *(size if card.task == "segmentation" else [])]
        if not (taken and taken.name == "image" and taken.type == "tensor(uint8)" and taken.shape[1:] == [*size, 3]
                and given and given.type == "tensor(float)" and len(given.shape) == 1 + len(answer)
                and all(side == wanted or not isinstance(side, int)
                        for side, wanted in zip(given.shape[1:], answer, strict=True))):
            raise UserError(f"{path} is no model for {card.task} of {len(card.classes)} classes on {size[0]}×{size[0]} "
                        "uint8 RGB images, though it says so; copy it again, or make it anew with dvc repro")


# ── Bytes to pixels: the rules that the training images were read by ──

def decode(content: bytes) -> Image.Image:
    """The picture as 8-bit RGB: upright, the first frame, 16 bits scaled to 8, other depths stretched to 0–255,
    transparency laid on white, colour profiles not applied. Raises Unreadable.
    """
    if not content:
        raise Unreadable("empty file")
    try:
        image = Image.open(io.BytesIO(content), formats=_formats())
        image.load()
        if image.format in ("JPEG", "MPO") and not _ended(content):
            raise Unreadable("the picture data have no end: the file is cut off, and filled up")
        with contextlib.suppress(Exception):  # a damaged EXIF block says nothing about the picture
            ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image)
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


def _rgb(image: Image.Image) -> Image.Image:
    """Strip by strip, so that no second copy of a large picture is needed on the way."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    convert, whole = _conversion(image), Image.new("RGB", image.size)
    for top, part in _strips(image):
        whole.paste(convert(part), (0, top))
    return whole


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What makes a part of this image RGB."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):  # Pillow scales PGM to 65535
        tags = image.tag_v2 if image.format == "TIFF" else {}
        full = 2 ** tags.get(258, (16,))[0] - 1  # 4095 in TIFFs of 12 bits
        # Pillow turns TIFFs in which white is 0 over only where they are of 8 bits or less.
        turned = (lambda values: 255 - values) if tags.get(262) == 0 else lambda values: values
        return lambda part: _grey(turned(_eight_bits(np.asarray(part), full)))
    if mode in ("I", "F"):
        low, full = _range(image)
        return lambda part: _grey(_eight_bits(_numbers(part) - low, full))
    if mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(*profiles, "LAB", "RGB")
        return lambda part: ImageCms.applyTransform(part, transform)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white
    return lambda part: part.convert("RGB")


def _on_white(part: Image.Image) -> Image.Image:
    colour = (part.convert("LA") if part.mode == "La" else part).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")


def _range(image: Image.Image) -> tuple[float, float]:
    """What is black, and how far above it white: the first of 0–1 (floats), 0–255, 0–65535 that holds all numbers, or
    theirs.
    """
    ends = [(numbers.min(), numbers.max()) for numbers in (_numbers(part) for _, part in _strips(image))]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    scales = [1, 255, 65535] if image.mode == "F" else [255, 65535]
    fitting = [scale for scale in scales if low >= 0 and high <= scale]
    return (0, fitting[0]) if fitting else (low, max(high - low, 1e-9))


def _numbers(part: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(part).astype(np.float64), posinf=0, neginf=0)


def _eight_bits(values: np.ndarray, full: float) -> np.ndarray:
    return np.rint(values * (255 / full)).astype(np.uint8)


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values).convert("RGB")


@cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in Image.ID if name not in REFUSED]


@cache
def _suffixes() -> frozenset[str]:
    """Of the formats that can be decoded: Pillow lists some that it only saves or only identifies, as PDF and MPEG."""
    decoded = {*_formats(), "MPO"} - PIXELLESS  # an MPO is opened as a JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in decoded)


# ── Pixels to squares, and answers back to a whole picture ──

def scaled(image: Image.Image, card: Card) -> Image.Image:
    """The picture in the size that the model sees it. Pillow's bilinear filter averages when it shrinks."""
    width, height = image.size
    box = (0, 0, width, height)
    if card.resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    height, width = seen(height, width, card)
    if box == (0, 0, width, height):
        return image  # and no copy of it
    return image.resize((width, height), Image.Resampling.BILINEAR, box)


def squares(image: Image.Image, card: Card) -> Iterator[tuple[int, int, np.ndarray]]:
    """Top, left and pixels, uint8 (size,size,3), of each square of a scaled picture, row by row.

    A picture smaller than a square is continued by its mirror image.
    """
    (width, height), size = image.size, card.image_size
    for top in _starts(height, card):
        band = np.asarray(image.crop((0, top, width, min(top + size, height))))
        rows = _mirrored(np.arange(top, top + size), height) - top
        for left in _starts(width, card):
            yield top, left, band[np.ix_(rows, _mirrored(np.arange(left, left + size), width))]


def seen(height: int, width: int, card: Card) -> tuple[int, int]:
    """A picture's size as the model sees it."""
    if card.resize != "tiles":
        return card.image_size, card.image_size
    return tuple(max(1, math.floor(side * card.scale + 0.5)) for side in (height, width))


def _starts(side: int, card: Card) -> list[int]:
    """Where squares begin: at even distances from edge to edge, as few as the overlap allows."""
    beyond = max(0, side - card.image_size)
    steps = math.ceil(beyond / (card.image_size - card.overlap))
    return [round(beyond * step / steps) for step in range(steps + 1)] if steps else [0]


def _mirrored(position: np.ndarray, side: int) -> np.ndarray:
    """Reflection, the border pixel not repeated, as often as it takes."""
    period = max(1, 2 * (side - 1))
    position = position % period
    return np.minimum(position, period - position) if side > 1 else np.zeros_like(position)


class ClassMap:
    """The class of each pixel, uint8 (H,W) as the model saw the picture, from the logits of its squares.

    Where squares overlap, their mean counts, the less the nearer to a square's border: linearly, and never nothing.
    Logits are held for one row of squares only.
    """

    def __init__(self, height: int, width: int, card: Card):
        self.classes, self.top = np.empty((height, width), np.uint8), 0
        self.counts = np.zeros(len(card.classes), np.int64)
        size = card.image_size
        ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5).astype(np.float32)
        self.weight = np.outer(ramp, ramp)
        self.total = np.zeros((len(card.classes), size, max(width, size)), np.float32)
        self.weights = np.zeros(self.total.shape[1:], np.float32)

    def add(self, top: int, left: int, logits: np.ndarray) -> None:
        """logits: float32 (C,size,size) of the next square, row by row."""
        if top > self.top:
            self._settle(top - self.top)
        columns = slice(left, left + len(self.weight))
        self.total[:, :, columns] += self.weight * logits
        self.weights[:, columns] += self.weight

    def done(self) -> np.ndarray:
        self._settle(len(self.weight))
        return self.classes

    def _settle(self, rows: int) -> None:
        """No other square reaches the first `rows` rows."""
        part = self.classes[self.top:self.top + rows]
        height, width = part.shape
        part[:] = (self.total[:, :height, :width] / self.weights[:height, :width]).argmax(0)
        self.counts += np.bincount(part.ravel(), minlength=len(self.counts))
        for kept in (self.total, self.weights):
            kept[..., :kept.shape[-2] - rows, :] = kept[..., rows:, :].copy()
            kept[..., kept.shape[-2] - rows:, :] = 0
        self.top += rows


def enlarged(classes: np.ndarray, height: int, width: int, card: Card) -> np.ndarray:
    """uint8 (height,width): the class of the nearest pixel that the model saw, OUTSIDE where it saw none."""
    mask = classes
    for axis, whole in enumerate((height, width)):
        used = min(height, width) if card.resize == "crop" else whole
        at = np.floor((np.arange(whole) + 0.5 - (whole - used) / 2) * classes.shape[axis] / used).astype(int)
        mask = mask.take(at.clip(0, classes.shape[axis] - 1), axis)
        outside = np.flatnonzero((at < 0) | (at >= classes.shape[axis]))
        mask[(slice(None),) * axis + (outside,)] = OUTSIDE
    return mask


# ── What is to be looked at ──

@dataclass
class Source:
    path: str
    name: str  # of its mask, without the suffix
    error: str = ""


def sources(asked: Iterable[str]) -> Iterator[Source]:
    """Each picture of files, folders, globs, and - for paths on stdin; an error for what holds none."""
    for source in asked:
        if source == "-":
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
            found = (one for line in lines if line for one in _below(line))
        elif os.path.lexists(source) or not glob.has_magic(source):
            found = _below(source)
        else:
            found = _matching(source)
        nothing = True
        for one in found:
            nothing = False
            yield one
        if nothing:
            yield Source(source, "", "no paths on stdin" if source == "-" else "no picture there")


def _matching(pattern: str) -> Iterator[Source]:
    """Each picture once, though ** matches a folder, what is in it, and that again through a link to the folder."""
    given = set()

    def new(path: str) -> bool:
        place, before = Path(path).parent.resolve() / PurePath(path).name, len(given)
        given.add(place)
        return len(given) > before

    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (Path.glob would take no absolute pattern)
    for path in filter(new, found):
        yield from (one for one in _below(path) if one.path == path or new(one.path))


def _below(path: str) -> Iterator[Source]:
    """The file itself, whatever its name; or a folder's images at any depth, links to folders not followed."""
    if not Path(path).is_dir():
        yield Source(path, PurePath(path).stem)
        return
    denied, nothing = [], True
    for folder, folders, files in os.walk(path, onerror=denied.append):
        folders[:] = sorted(name for name in folders if not _litter(name))
        for name in sorted(files):
            if PurePath(name).suffix.lower() in _suffixes() and not _litter(name):
                nothing, found = False, Path(folder, name)
                yield Source(str(found), str(found.relative_to(path).with_suffix("")))
    for error in denied:
        nothing = False
        yield Source(error.filename, "", error.strerror)
    if nothing:
        yield Source(path, "", "no picture in this folder")


def _litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def read(path: str) -> bytes:
    """Raises Unreadable."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise Unreadable("not a file")
        with open(path, "rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
                raise Unreadable(f"too large a file: {size / 1e9:.1f} GB")
            return file.read()
    except OSError as error:
        raise Unreadable(error.strerror or one_line(error)) from None
    except ValueError as error:  # a name that no file can have
        raise Unreadable(one_line(error)) from None


# ── Pictures to records ──

class Answered:
    """A picture on its way to a record: what is known of it, and each model's answer so far."""

    def __init__(self, source: Source):
        self.source, self.error, self.answers = source, source.error, []
        self.width = self.height = 0  # upright

    def squares(self, card: Card) -> Iterator[tuple[int, int, np.ndarray]]:
        """Top, left and pixels of each, as `squares` gives them; none where there is an error."""
        try:
            if self.error:
                return
            image = decode(read(self.source.path))
            self.width, self.height = image.size
            image = scaled(image, card)
        except Unreadable as error:
            self.error = one_line(error)
        except MemoryError:
            self.error = "not enough memory for a picture of its size"
        else:
            yield from squares(image, card)

    def add(self, top: int, left: int, logits: list[np.ndarray], card: Card) -> None:
        """logits: of each model, (C,*S)."""
        if not all(np.isfinite(found).all() for found in logits):
            self.error = "the model's answer to it is not finite"
        elif card.task == "classification":
            self.answers = logits
        else:
            self.answers = self.answers or [ClassMap(*seen(self.height, self.width, card), card) for _ in logits]
            for answer, found in zip(self.answers, logits, strict=True):
                answer.add(top, left, found)


def look(pictures: Iterable[Source], models: list[Model], batch: int) -> Iterator[Answered]:
    """Each picture in turn, answered. In memory are one picture, and `batch` squares with their answers."""
    card = models[0].card
    images = []  # squares that wait
    waiting = []  # whose each is, and where it lies there; behind a picture's last one (picture, None)

    def answered() -> Iterator[Answered]:
        logits = zip(*(model(np.stack(images)) for model in models), strict=True) if images else iter(())
        for picture, place in waiting:
            if place:
                picture.add(*place, list(next(logits)), card)
            else:
                yield picture
        images.clear(), waiting.clear()

    for picture in map(Answered, pictures):
        for top, left, square in picture.squares(card):
            images.append(square)
            waiting.append((picture, (top, left)))
            if len(images) == batch:
                yield from answered()
        waiting.append((picture, None))
        if not images or len(waiting) >= 2 * batch:
            yield from answered()
    yield from answered()


class Recorder:
    """Makes records, draws the masks, and keeps count."""

    def __init__(self, models: list[Model], topk: int, masks: Path):
        self.models, self.card, self.topk = models, models[0].card, topk
        self.masks = Masks(masks, self.card) if self.card.task == "segmentation" else None
        self.pictures = self.failed = 0
        self.alike = self.compared = 0  # of two models: pictures, or pixels, of the same class in both; and all

    def record(self, picture: Answered) -> dict:
        self.pictures += 1
        record = {"path": picture.source.path}
        if picture.error:
            self.failed += 1
            return record | {"error": picture.error}
        record |= {"width": picture.width, "height": picture.height}
        return record | (self._masked(picture) if self.masks else self._named(picture))

    def _named(self, picture: Answered) -> dict:
        tops = [top(logits, self.card.classes, self.topk) for logits in picture.answers]
        if len(tops) == 1:
            return {"top": tops[0]}
        same = tops[0][0]["class"] == tops[1][0]["class"]
        self.alike, self.compared = self.alike + same, self.compared + 1
        return {"top": tops[0], "compare": {"model": self.models[1].name, "top": tops[1], "same": same}}

    def _masked(self, picture: Answered) -> dict:
        classes = [answer.done() for answer in picture.answers]
        whole = enlarged(classes[0], picture.height, picture.width, self.card)
        path = self.masks.write(whole, picture.source)
        shares = [self._shares(answer.counts) for answer in picture.answers]
        if len(shares) == 1:
            return {"mask": path, "shares": shares[0]}
        alike, every = int((classes[0] == classes[1]).sum()), classes[0].size
        self.alike, self.compared = self.alike + alike, self.compared + every
        return {"mask": path, "shares": shares[0], "compare": {
            "model": self.models[1].name, "shares": shares[1], "agreement": round(100 * alike / every, 4)}}

    def _shares(self, counts: np.ndarray) -> list[dict]:
        return [{"class": self.card.classes[number], "colour": "#{:02x}{:02x}{:02x}".format(*self.card.colours[number]),
                 "share": round(100 * float(counts[number] / counts.sum()), 4)}
                for number in np.argsort(-counts, kind="stable")]

    def summary(self) -> Iterator[str]:
        """Lines for stderr, or none."""
        if self.failed:
            yield f"{self.failed} of {self.pictures} could not be read"
        if len(self.models) == 2 and (read := self.pictures - self.failed):
            times = ", ".join(f"{model.name} {1e3 * model.seconds / read:.2f} ms" for model in self.models)
            what = "pixels" if self.masks else "pictures"
            share = f"{100 * self.alike / self.compared:.2f} %"
            yield f"both name the same class in {share} of the {what}; {times} a picture"


def top(logits: np.ndarray, classes: list[str], count: int) -> list[dict]:
    """The `count` likeliest classes by softmax. logits: float32 (C,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = powers / powers.sum()
    return [{"class": classes[number], "probability": round(float(probabilities[number]), 6)}
            for number in np.argsort(-logits, kind="stable")[:count]]


class Masks:
    """Writes masks into a folder. Only a mask of the same picture is ever written over."""

    def __init__(self, folder: Path, card: Card):
        self.folder, self.tried = folder, Counter()
        self.palette = [level for colour in card.colours for level in colour]
        self.options = {}
        if card.resize == "crop":
            self.palette += [0] * (3 * 256 - len(self.palette))  # as many bits a pixel as OUTSIDE takes
            self.options = {"transparency": OUTSIDE}
        self._save(_legend(card), "legend", json.dumps([card.classes, card.colours]))

    def write(self, mask: np.ndarray, source: Source) -> str:
        """uint8 (H,W) to a path, which is returned."""
        image = Image.fromarray(mask)
        image.putpalette(self.palette)
        return str(self._save(image, source.name, str(Path(source.path).resolve()), **self.options))

    def _save(self, image: Image.Image, name: str, of: str, **options) -> Path:
        # A name of 255 bytes is the longest that a file may have, and may not be UTF-8.
        stem = os.fsencode(PurePath(name).name)[:200].decode("utf-8", "ignore") or "picture"
        name = str(PurePath(name).with_name(stem) if PurePath(name).name else stem)
        mark = hashlib.sha256(os.fsencode(of)).hexdigest()[:16]
        while True:
            self.tried[name] += 1
            number = f"-{self.tried[name]}" if self.tried[name] > 1 else ""
            path = self.folder / f"{name}{number}.png"
            if not os.path.lexists(path) or _mark(path) == mark:
                break
        path.parent.mkdir(parents=True, exist_ok=True)
        note = PngImagePlugin.PngInfo()
        note.add_text("picture", mark)
        with whole(path, "wb") as file:
            image.save(file, "PNG", pnginfo=note, **options)
        return path


def _mark(path: Path) -> str | None:
    """What `Masks` noted in a file, if it wrote it."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("picture")
    except Exception:  # whatever it is, it is none of ours
        return None


def _legend(card: Card) -> Image.Image:
    """A patch of its colour before each class's name."""
    font, line = ImageFont.load_default(14) if features.check("freetype2") else ImageFont.load_default(), 26
    names = [name.encode("latin-1", "replace").decode("latin-1") for name in card.classes]  # what the font may have
    image = Image.new("RGB", (52 + math.ceil(max(map(font.getlength, names))), 8 + line * len(names)), "white")
    draw = ImageDraw.Draw(image)
    for number, (name, colour) in enumerate(zip(names, card.colours, strict=True)):
        y = 4 + line * number
        draw.rectangle((8, y + 4, 32, y + line - 4), tuple(colour), "grey")
        draw.text((42, y + line // 2), name, "black", font, "lm" if features.check("freetype2") else None)
    return image


# ── Records to text ──

@dataclass(frozen=True)
class Table:
    """What the formats have to know besides the records."""

    classes: list[str]
    masks: bool
    compare: bool
    topk: int
    width: int  # of the paths' column


def as_text(records: Iterable[dict], table: Table) -> Iterator[str]:
    """A line a picture; of masks, the `topk` largest classes that occur."""
    width, key = min(24, max(len(shown(name)) for name in table.classes)), "share" if table.masks else "top"
    for record in records:
        path = shown(record["path"]).ljust(table.width)
        if "error" in record:
            yield f"{path}  error: {shown(record['error'])}\n"
        elif table.masks:
            said = [(entry["class"], entry["share"]) for entry in record["shares"] if entry["share"]][:table.topk]
            yield f"{path}  {_columns(said, width)}  mask: {shown(record['mask'])}{_compared(record, key)}\n"
        else:
            said = [(entry["class"], 100 * entry["probability"]) for entry in record["top"]]
            yield f"{path}  {_columns(said, width)}{_compared(record, key)}\n"


def _columns(said: list[tuple[str, float]], width: int) -> str:
    return "  ".join(f"{shown(name):<{width}} {percent:6.2f} %" for name, percent in said)


def _compared(record: dict, key: str) -> str:
    other = record.get("compare")
    if not other:
        return ""
    if key == "share":
        return f"  {shown(other['model'])}: {other['agreement']:.2f} % of the pixels alike"
    first = other["top"][0]
    return f"  {'=' if other['same'] else '≠'} {shown(other['model'])}: " + _columns(
        [(first["class"], 100 * first["probability"])], 0)


def shown(text: str) -> str:
    """On one line: what can't be printed, as Python writes it."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def as_csv(records: Iterable[dict], table: Table) -> Iterator[str]:
    """A row a picture and rank, or a picture and error."""
    entries, value = ("shares", "share") if table.masks else ("top", "probability")
    columns = ["path", "rank", "class", value, *["mask"] * table.masks, "error",
               *["compare_class", f"compare_{value}"] * table.compare]
    yield _row(columns)
    for record in records:
        rows = [{"error": record["error"]}] if "error" in record else []
        others = record.get("compare", {}).get(entries, record.get(entries))
        for rank, (one, other) in enumerate(zip(record.get(entries, []), others or [], strict=True), 1):
            rows.append({"rank": rank, "class": one["class"], value: f"{one[value]:.6f}", "mask": record.get("mask"),
                         "compare_class": other["class"], f"compare_{value}": f"{other[value]:.6f}"})
        for row in rows:
            yield _row([(row | {"path": record["path"]}).get(column, "") for column in columns])


def _row(values: list) -> str:
    """With Unix line ends, though told others the writer would let a name's own line end part a row."""
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"


def as_json(records: Iterable[dict], _: Table) -> Iterator[str]:
    before = "[\n"
    for record in records:
        yield before + _dumped(record)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def as_jsonl(records: Iterable[dict], _: Table) -> Iterator[str]:
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


# ── The command ──

class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f"{message}; python predict.py --help says more")


def arguments() -> argparse.Namespace:
    parser = Parser("predict.py", "python predict.py SRC… [options]", __doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+", metavar="SRC", help="a file; a folder, with all below it, hidden files "
                        "left out; a glob, quoted; or - for paths on stdin, one a line")
    parser.add_argument("--model", type=Path, help=f"an ONNX file (default: {MODEL} beside this file, or in models/ "
                        "there)")
    parser.add_argument("--topk", type=_positive, default=5, metavar="N", help="classes to name (default: 5)")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of stdout; written whole or not at all")
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="where masks go (default: masks)")
    parser.add_argument("--batch", type=_positive, default=1, metavar="N", help="pictures, or squares of one, that run "
                        "at a time; on a CPU more need more memory and are hardly faster (default: 1)")
    parser.add_argument("--threads", type=_positive, default=cores(), metavar="N",
                        help="default: the cores that this process may use, %(default)s")
    parser.add_argument("--compare", type=Path, metavar="MODEL", help="a second ONNX file, to be asked the same")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def deployed() -> Path:
    """The student beside this file."""
    here = Path(__file__).resolve().parent
    places = [here / MODEL, here / "models" / MODEL]
    for path in places:
        if path.is_file():
            return path
    raise UserError(f"there is no {MODEL} beside predict.py, nor in models/ there; copy one, or name a model with --model")


def run(options: argparse.Namespace) -> int:
    """The exit status: 0, or 1 if a picture couldn't be read."""
    if "-" in options.source and sys.stdin is None:
        raise UserError("stdin is closed, so - can't be read; pass the paths to it, one a line, or name them")
    if not options.output and sys.stdout is None:
        raise UserError("stdout is closed; leave it open, or name a file with --output")
    paths = [options.model or deployed(), *([options.compare] if options.compare else [])]
    models = [Model(path, options.threads) for path in paths]
    card = models[0].card
    if not card.sees_as(models[-1].card):
        raise UserError(f"{paths[0]} and {paths[1]} can't be compared: their classes, task or image sizes differ")
    if options.masks and card.task != "segmentation":
        raise UserError(f"{paths[0]} names whole pictures and draws no masks; leave --masks away, or name a model for "
                    "segmentation")
    if options.compare:
        for model in models:
            model.warm_up()
    pictures, total = sources(options.source), None
    if "-" not in options.source:
        pictures = list(pictures)
        total = len(pictures)
    width = min(100, max(len(shown(picture.path)) for picture in pictures)) if total else 0
    table = Table(card.classes, card.task == "segmentation", len(models) == 2, options.topk, width)
    with whole(options.output) if options.output else contextlib.nullcontext(sys.stdout) as out:
        recorder = Recorder(models, options.topk, options.masks or Path("masks"))
        records = map(recorder.record, look(pictures, models, options.batch))
        if sys.stderr.isatty() and not out.isatty():
            records = with_progress(records, total)
        for text in FORMATS[options.format](records, table):
            print(text, end="", file=out, flush=True)
    for line in recorder.summary():
        say(line)
    return 1 if recorder.failed else 0


def with_progress(records: Iterable[dict], total: int | None) -> Iterator[dict]:
    """The same records, and how many on stderr."""
    of, last = f" of {total}" if total else "", time.monotonic()
    try:
        for number, record in enumerate(records, 1):
            yield record
            if time.monotonic() - last > 0.2:
                print(f"\rpredict: {number}{of} pictures", end="", file=sys.stderr, flush=True)
                last = time.monotonic()
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def whole(path: Path, mode: str = "w"):
    """An open file that appears under `path` only when the block has ended well. Raises UserError if it can't be opened."""
    if path.exists() and not path.is_file():  # a device, a pipe; of a folder, open says so
        with _opened(path, mode, path) as file:
            yield file
        return
    there = path.resolve()
    half = there.with_name(f".{os.getpid()}-{next(HALVES)}.half")
    try:
        with _opened(half, mode, path) as file:
            yield file
        os.replace(half, there)
    finally:
        with contextlib.suppress(OSError):  # it may be in place, or never have been made
            half.unlink()


def _opened(path: Path, mode: str, asked: Path) -> IO:
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    try:
        return open(path, mode, **text)
    except OSError as error:
        raise UserError(f"{asked} can't be written ({error.strerror}); name a file in a folder that is there and may be "
                    "written to") from None


def say(message: object) -> None:
    print(f"predict: {message}", file=sys.stderr)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _drop_the_rest() -> None:
    """What is still to be written to stdout: Python would try it once more as it ends, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the last: it was closed from the start
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    if sys.stderr is None:  # closed: print would take stdout in its place
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        if sys.stdout:  # None where it is closed
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        return run(arguments())
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has had enough
        _drop_the_rest()
        return 141
    except UserError as fault:
        say(one_line(fault))
    except MemoryError:
        say("out of memory; lower --batch")
    except OSError as error:
        _drop_the_rest()
        say(f"{error.filename}: {error.strerror}" if error.filename else one_line(error))
    except Exception as error:
        say(f"unexpected {type(error).__name__}: {one_line(error)}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
