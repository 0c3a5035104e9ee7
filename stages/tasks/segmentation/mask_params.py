"""Section `data.masks` of params.yaml: which pixels of a mask stand for which class; and the same as arrays."""

from collections import Counter
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import pydantic

from stages.core import params
from stages.core.errors import UserError
from stages.data.prepared import IGNORED

STORED = "int16"  # dtype of targets.npy
MAX_CLASSES = 30_000  # fits into int16
Code = int | tuple[int, int, int] | str  # an index, a colour, or the label of an outline


def _code(value: object) -> Code:
    """Validates an index, [red, green, blue] or a label."""
    if isinstance(value, str) and not value.startswith("#"):  # as colours are written elsewhere
        return value
    levels, largest = (value, 255) if isinstance(value, list) and len(value) == 3 else ([value], 65535)
    if all(type(level) is int and 0 <= level <= largest for level in levels):
        return tuple(value) if len(levels) == 3 else value
    raise ValueError(f"{value!r} is neither an index (0–65535) nor [red, green, blue] (each 0–255), nor the label of "
                     "an outline (a text)")


def _codes(value: object) -> tuple[Code, ...]:
    """Validates a code, {any: [code, …]}, or null: no code of its own."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        return (_code(value),)
    if list(value) == ["any"] and isinstance(value["any"], list) and value["any"]:
        return tuple(map(_code, value["any"]))
    raise ValueError(f"{value!r} is no code; several for one class are written {{any: [1, 2]}}")


class MaskParams(params.Section):
    """What the pixels of masks stand for. A task without masks leaves `classes` and `ignored` empty."""

    # Class name → index, [red, green, blue] or label of an outline; several as {any: […]}; null: all that stands
    # nowhere else. Classes keep this order.
    classes: dict[str, Annotated[tuple[Code, ...], pydantic.PlainValidator(_codes)]]
    ignored: list[Annotated[Code, pydantic.PlainValidator(_code)]]  # pixels of these are in no loss and no metric
    unknown: Literal["stop", "ignore", "nearest"]  # pixels of any other colour; nearest: see soft_masks.py
    other_size: Literal["stop", "drop", "rescale"]  # a mask whose height or width differs from its image's
    same_iou: float = pydantic.Field(gt=0, le=1)  # two masks of one image with this mean IoU are the same label

    @property
    def codes(self) -> list[Code]:
        return [*(code for codes in self.classes.values() for code in codes), *self.ignored]

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if len({type(code) for code in self.codes}) > 1:
            raise ValueError("classes and ignored mix indices, [red, green, blue] and labels; write all in one way, "
                             "as the masks are stored")
        if repeated := [code for code, times in Counter(self.codes).items() if times > 1]:
            raise ValueError(f"{repeated[0]!r} stands twice in classes and ignored; a pixel has one meaning")
        if len(self.classes) > MAX_CLASSES:
            raise ValueError(f"classes has {len(self.classes)} entries; at most {MAX_CLASSES} are possible")
        if broken := [name for name in self.classes if len(name.splitlines()) != 1]:
            raise ValueError(f"the class name {broken[0]!r} is no single line; rename it")
        rest = [name for name, codes in self.classes.items() if not codes]
        if len(rest) > 1:
            raise ValueError(f"the classes {rest[0]!r} and {rest[1]!r} have no code; one class can be all that stands "
                             "nowhere else")
        if self.unknown == "nearest" and (rest or str in map(type, self.codes)):
            raise ValueError("unknown is nearest, which needs an index or a colour for every class"
                             + (f"; give {rest[0]!r} one" if rest else ""))
        return self


class Table(NamedTuple):
    """`data.masks` as arrays."""

    policy: MaskParams
    names: list[str]
    kind: type  # of the codes: int, tuple or str
    codes: np.ndarray  # int32 (K,), ascending: indices, colours as 24-bit numbers, or 0…K-1 for labels
    levels: np.ndarray  # int32 (K,1) of indices, or (K,3) of colours, in the order of codes
    targets: np.ndarray  # int16 (K,): the class of each code, or IGNORED
    labels: dict[str, int]  # the code of each label, if the codes are labels
    rest: int | None  # the class of all other codes


@lru_cache(maxsize=1)
def table(content: bytes) -> Table:
    """The table of params.yaml with this content; cached, because parsing takes longer than a small mask.

    Raises UserError for fewer than two classes, or none with a code.
    """
    masks = params.load("data.masks", MaskParams)
    if len(masks.classes) < 2:
        raise UserError(f"{params.FILE}: data.masks.classes has {len(masks.classes)} class(es); at least two are "
                        "needed: give each class of the masks the index or the [red, green, blue] of its pixels")
    names, kind = list(masks.classes), type(masks.codes[0]) if masks.codes else int
    targets = [number for number, codes in enumerate(masks.classes.values()) for _ in codes]
    targets = np.array(targets + [IGNORED] * len(masks.ignored), STORED)
    labels = {code: number for number, code in enumerate(masks.codes)} if kind is str else {}
    levels = np.array(list(labels.values()) if labels else masks.codes, np.int32)
    codes = as_numbers(levels, kind)
    order = codes.argsort()
    rest = next((number for number, name in enumerate(names) if not masks.classes[name]), None)
    return Table(masks, names, kind, codes[order], levels.reshape(len(codes), -1)[order], targets[order], labels, rest)


def as_numbers(pixels: np.ndarray, kind: type) -> np.ndarray:
    """int32 (*S): each index of (*S), or each colour of (*S,3) as one number. kind: int, or tuple for colours."""
    if kind is not tuple:
        return pixels.astype(np.int32)
    numbers = pixels[..., 0].astype(np.int32)
    for channel in (1, 2):
        numbers <<= 8
        numbers |= pixels[..., channel].astype(np.int32)
    return numbers
