"""A class a pixel, S = (H,W): a mask, a file of raw.zip, in which a colour or an index stands for a class.

Which stands for which, params.yaml says (`data.masks`). What the data stages need to know of the labels.
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

STORED = "int16"  # of targets.npy
# What `examine` may find, the gravest first, and what becomes of it: cleaning/decide.py.
ISSUES = {"unreadable_mask": "unreadable", "mask_size": "drop", "empty_mask": "report", "unknown_colour": "report",
          "one_class_mask": "report"}
MOST = 30_000  # classes that int16 holds
Row = Mapping[str, str]  # of data/manifest.csv


def _colour(value: object) -> int | tuple[int, ...]:
    if _whole([value], 65535):
        return value
    if isinstance(value, list) and len(value) == 3 and _whole(value, 255):
        return tuple(value)
    raise ValueError(f"{value!r} is neither an index (0–65535) nor [red, green, blue] (each 0–255)")


def _whole(values: Sequence[object], most: int) -> bool:
    return all(type(value) is int and 0 <= value <= most for value in values)


Colour = Annotated[int | tuple[int, ...], pydantic.PlainValidator(_colour)]


class MaskParams(params.Section):
    """What the pixels of masks stand for. A task without masks leaves `classes` and `ignored` empty."""

    classes: dict[str, Colour]  # a name → the index that its pixels hold, or their [red, green, blue]; in their order
    ignored: list[Colour]  # pixels of these count in no loss and no metric
    unknown: Literal["stop", "ignore"]  # pixels of any other
    other_size: Literal["stop", "drop"]  # a mask of another height or width than its image

    @pydantic.model_validator(mode="after")
    def _distinct(self) -> Self:
        colours = [*self.classes.values(), *self.ignored]
        if len({type(colour) for colour in colours}) > 1:
            raise ValueError("classes and ignored mix indices and [red, green, blue]; write all in one way, "
                             "as the masks are stored")
        if twice := [colour for colour, times in Counter(colours).items() if times > 1]:
            raise ValueError(f"{twice[0]} stands twice in classes and ignored; a pixel has one meaning")
        if len(self.classes) > MOST:
            raise ValueError(f"classes has {len(self.classes)} entries; at most {MOST} are possible")
        if broken := [name for name in self.classes if len(name.splitlines()) != 1]:
            raise ValueError(f"the class name {broken[0]!r} is no single line; rename it")
        return self


class Table(NamedTuple):
    """What `data.masks` says, as arrays."""

    policy: MaskParams
    names: list[str]
    colours: bool  # or indices
    codes: np.ndarray  # int32 (K,), ascending: an index, or a colour as one number
    targets: np.ndarray  # int16 (K,): the class of each, or IGNORED


def examine(target: str, read: Callable[[str], bytes], size: tuple[int, int]) -> tuple[str, str, str]:
    """Identity (what samples of the same label share), issue ("", or one of ISSUES) and the reason for it.

    target: the mask's name in raw.zip, "" without one; read: the bytes of a file there; size: (H, W) of the image.
    Raises UserError for an unknown colour and for another size than the image's, where params.yaml says stop.
    """
    if not target:
        return "", "", ""
    table = _table()
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
    indices, unknown = _indices(target, pixels, table)
    issue, reason = _oddity(indices, unknown, table)
    return hashlib.sha256(b"%dx%d " % size + indices.tobytes()).hexdigest(), issue, reason


def stratum(row: Row) -> str:
    """What a draw keeps in proportion: nothing, for a picture holds several classes."""
    return ""


def classes(rows: Sequence[Row]) -> list[str]:
    """The names of the classes, in the order of params.yaml. Raises UserError for fewer than two."""
    return _table().names


def shape(size: int) -> tuple[int, ...]:
    """S, for squares of size × size."""
    return size, size


def target(row: Row, names: list[str], read: Callable[[str], bytes]) -> np.ndarray:
    """int16 (H,W), at the mask's own size: each pixel's class, or IGNORED. read: as `examine` has it."""
    table = _table()
    return _indices(row["target"], _pixels(row["target"], read, table), table)[0]


def _table() -> Table:
    return _made(params.FILE.read_bytes())


@lru_cache(maxsize=1)
def _made(content: bytes) -> Table:
    """The table of a params.yaml that holds `content`: to read it anew takes longer than a small mask."""
    masks = params.load("data.masks", MaskParams)
    if len(masks.classes) < 2:
        raise UserError(f"{params.FILE}: data.masks.classes has {len(masks.classes)} class(es); at least two are needed: "
                    "give each class of the masks the index or the [red, green, blue] of its pixels")
    entries = [*masks.classes.values(), *masks.ignored]
    colours = isinstance(entries[0], tuple)
    codes = _codes(np.array(entries), colours)
    targets = np.array([*range(len(masks.classes)), *[IGNORED] * len(masks.ignored)], STORED)
    order = codes.argsort()
    return Table(masks, list(masks.classes), colours, codes[order], targets[order])


def _pixels(name: str, read: Callable[[str], bytes], table: Table) -> np.ndarray:
    """uint8 (H,W,3) or integers (H,W), as the table has them. Raises Unreadable; UserError for a mask of the other kind."""
    try:
        return decode_mask(read(name), table.colours)
    except OtherKind as error:
        raise UserError(f"data/raw.zip: the mask {name!r} is {error}, as data.masks.classes has them; store all masks in "
                    "one way, and give their classes as they are stored: an index or [red, green, blue]") from None


def _oddity(indices: np.ndarray, unknown: float, table: Table) -> tuple[str, str]:
    """What of ISSUES a whole mask of the right size shows, and the reason; both "" for an ordinary one.

    unknown: share of its pixels, 0–1, that stand for nothing.
    """
    present = np.unique(indices[indices != IGNORED])
    if not present.size:
        return "empty_mask", "no pixel of the mask counts"
    if unknown:
        return "unknown_colour", f"{100 * unknown:.3g} % of the mask's pixels stand for nothing that params.yaml names"
    if present.size == 1:
        return "one_class_mask", f"the mask shows {table.names[present[0]]} alone"
    return "", ""


def _codes(pixels: np.ndarray, colours: bool) -> np.ndarray:
    """int32 (*S): a number for each index of (*S), or for each colour of (*S,3)."""
    pixels = pixels.astype(np.int32)
    return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2] if colours else pixels


def _indices(name: str, pixels: np.ndarray, table: Table) -> tuple[np.ndarray, float]:
    """int16 (H,W), and the share of pixels that stand for nothing. Raises UserError for one where params.yaml says stop."""
    codes = _codes(pixels, table.colours)
    places = np.searchsorted(table.codes, codes).clip(max=len(table.codes) - 1)
    known = table.codes[places] == codes
    if table.policy.unknown == "stop" and not known.all():
        raise _unknown(name, codes[~known], table.colours)
    return np.where(known, table.targets[places], np.int16(IGNORED)), 1 - float(known.mean())


def _unknown(name: str, codes: np.ndarray, colours: bool) -> UserError:
    """Names the most frequent of the unknown."""
    found, counts = np.unique(codes, return_counts=True)
    code = int(found[counts.argmax()])
    which = f"the colour {(code >> 16, code >> 8 & 255, code & 255)}" if colours else f"the index {code}"
    more = f" (and {len(found) - 1} more unknown)" if len(found) > 1 else ""
    return UserError(f"data/raw.zip: the mask {name!r} holds {which} in {counts.max()} pixels{more}, which stands for "
                 "nothing; add it to data.masks.classes or data.masks.ignored, or set data.masks.unknown to ignore")
