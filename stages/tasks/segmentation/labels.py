"""Segmentation labels for the data stages: one class per pixel, S = (H,W), from a mask in raw.zip.

`data.masks` in params.yaml says which colour or index of the masks stands for which class.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import pydantic

from stages.core import params
from stages.core.errors import UserError
from stages.data.decode import OtherKind, Unreadable, decode_mask
from stages.data.prepared import IGNORED

STORED = "int16"  # dtype of targets.npy
# What `examine` may find, the most serious first, and its consequence: see cleaning/findings.py.
ISSUES = {"unreadable_mask": "unreadable", "mask_size": "drop", "empty_mask": "report", "unknown_colour": "report",
          "one_class_mask": "report"}
MAX_CLASSES = 30_000  # fits into int16
Row = Mapping[str, str]  # of data/manifest.csv


def _colour(value: object) -> int | tuple[int, ...]:
    """Validates an index or [red, green, blue]."""
    levels, largest = (value, 255) if isinstance(value, list) and len(value) == 3 else ([value], 65535)
    if all(type(level) is int and 0 <= level <= largest for level in levels):
        return tuple(value) if len(levels) == 3 else value
    raise ValueError(f"{value!r} is neither an index (0–65535) nor [red, green, blue] (each 0–255)")


Colour = Annotated[int | tuple[int, ...], pydantic.PlainValidator(_colour)]


class MaskParams(params.Section):
    """What the pixels of masks stand for. A task without masks leaves `classes` and `ignored` empty."""

    classes: dict[str, Colour]  # class name → index or [red, green, blue] of its pixels; classes keep this order
    ignored: list[Colour]  # pixels of these are excluded from all losses and metrics
    unknown: Literal["stop", "ignore"]  # pixels of any other colour
    other_size: Literal["stop", "drop"]  # a mask whose height or width differs from its image's

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        colours = [*self.classes.values(), *self.ignored]
        if len({type(colour) for colour in colours}) > 1:
            raise ValueError("classes and ignored mix indices and [red, green, blue]; write all in one way, "
                             "as the masks are stored")
        if repeated := [colour for colour, times in Counter(colours).items() if times > 1]:
            raise ValueError(f"{repeated[0]} stands twice in classes and ignored; a pixel has one meaning")
        if len(self.classes) > MAX_CLASSES:
            raise ValueError(f"classes has {len(self.classes)} entries; at most {MAX_CLASSES} are possible")
        if broken := [name for name in self.classes if len(name.splitlines()) != 1]:
            raise ValueError(f"the class name {broken[0]!r} is no single line; rename it")
        return self


class Table(NamedTuple):
    """`data.masks` as arrays."""

    policy: MaskParams
    names: list[str]
    has_colours: bool  # or indices
    codes: np.ndarray  # int32 (K,), ascending: indices, or colours as 24-bit numbers
    targets: np.ndarray  # int16 (K,): the class of each code, or IGNORED


def examine(target: str, read: Callable[[str], bytes], size: tuple[int, int]) -> tuple[str, str, str]:
    """Identity (equal for equal labels), issue ("", or one of ISSUES) and the reason for it.

    target: the mask's name in raw.zip, "" without one; read: the content of a file there; size: (H, W) of the image.
    Raises UserError for an unknown colour and for a size other than the image's if params.yaml says stop.
    """
    if not target:
        return "", "", ""
    table = _table(params.FILE.read_bytes())
    try:
        pixels = _pixels(target, read, table)
    except Unreadable as error:
        return "", "unreadable_mask", f"its mask {target!r}: {error}"
    if pixels.shape[:2] != size:
        mask, image = (f"{width}×{height}" for height, width in (pixels.shape[:2], size))
        if table.policy.other_size == "drop":
            return "", "mask_size", f"the mask is {mask}, its image {image}"
        raise UserError(f"data/raw.zip: the mask {target!r} is {mask} pixels, its image {image} (turned "
                        "as its EXIF data say); replace one of them, or set data.masks.other_size to drop")
    mask, unknown = _classes(target, pixels, table)
    return hashlib.sha256(b"%dx%d " % size + mask.tobytes()).hexdigest(), *_issue(mask, unknown, table)


def stratum(row: Row) -> str:
    """Splits are not stratified: a picture shows several classes."""
    return ""


def classes(rows: Sequence[Row]) -> list[str]:
    """The class names, in the order of params.yaml. Raises UserError for fewer than two."""
    return _table(params.FILE.read_bytes()).names


def shape(size: int) -> tuple[int, ...]:
    """S for images of size × size."""
    return size, size


def target(row: Row, names: list[str], read: Callable[[str], bytes]) -> np.ndarray:
    """int16 (H,W), in the mask's own size: the class of each pixel, or IGNORED. read: as in `examine`."""
    table = _table(params.FILE.read_bytes())
    return _classes(row["target"], _pixels(row["target"], read, table), table)[0]


@lru_cache(maxsize=1)
def _table(content: bytes) -> Table:
    """The table of params.yaml with this content; cached, because parsing takes longer than a small mask."""
    masks = params.load("data.masks", MaskParams)
    if len(masks.classes) < 2:
        raise UserError(f"{params.FILE}: data.masks.classes has {len(masks.classes)} class(es); at least two are "
                        "needed: give each class of the masks the index or the [red, green, blue] of its pixels")
    colours = [*masks.classes.values(), *masks.ignored]
    has_colours = isinstance(colours[0], tuple)
    codes = _codes(np.array(colours), has_colours)
    targets = np.array([*range(len(masks.classes)), *[IGNORED] * len(masks.ignored)], STORED)
    order = codes.argsort()
    return Table(masks, list(masks.classes), has_colours, codes[order], targets[order])


def _pixels(name: str, read: Callable[[str], bytes], table: Table) -> np.ndarray:
    """uint8 (H,W,3) or integers (H,W). Raises Unreadable; UserError for colours instead of indices or vice versa."""
    try:
        return decode_mask(read(name), table.has_colours)
    except OtherKind as error:
        raise UserError(f"data/raw.zip: the mask {name!r} is {error}, as data.masks.classes has them; store all masks "
                        "in one way, and give their classes as they are stored: an index or [red, green, blue]"
                        ) from None


def _codes(pixels: np.ndarray, has_colours: bool) -> np.ndarray:
    """int32 (*S): each index of (*S), or each colour of (*S,3) as one number."""
    pixels = pixels.astype(np.int32)
    return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2] if has_colours else pixels


def _classes(name: str, pixels: np.ndarray, table: Table) -> tuple[np.ndarray, float]:
    """The class of each pixel, int16 (H,W), and the share of unknown ones, 0–1, or UserError if the policy is stop."""
    codes = _codes(pixels, table.has_colours)
    places = np.searchsorted(table.codes, codes).clip(max=len(table.codes) - 1)
    is_known = table.codes[places] == codes
    if table.policy.unknown == "stop" and not is_known.all():
        unknown, counts = np.unique(codes[~is_known], return_counts=True)
        code = int(unknown[counts.argmax()])  # the most frequent one is reported
        which = f"the colour {(code >> 16, code >> 8 & 255, code & 255)}" if table.has_colours else f"the index {code}"
        more = f" (and {len(unknown) - 1} more unknown)" if len(unknown) > 1 else ""
        raise UserError(f"data/raw.zip: the mask {name!r} holds {which} in {counts.max()} pixels{more}, which stands "
                        "for nothing; add it to data.masks.classes or data.masks.ignored, or set data.masks.unknown to "
                        "ignore")
    return np.where(is_known, table.targets[places], np.int16(IGNORED)), 1 - float(is_known.mean())


def _issue(mask: np.ndarray, unknown: float, table: Table) -> tuple[str, str]:
    """The issue of a mask of classes, int16 (H,W), and the reason, or "", "". unknown: share of its pixels."""
    present = np.unique(mask[mask != IGNORED])
    if not present.size:
        return "empty_mask", "no pixel of the mask counts"
    if unknown:
        return "unknown_colour", f"{100 * unknown:.3g} % of the mask's pixels stand for nothing that params.yaml names"
    if present.size == 1:
        return "one_class_mask", f"the mask shows {table.names[present[0]]} alone"
    return "", ""
