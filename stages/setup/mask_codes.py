"""Which indices, colours or labels masks hold, and what they may stand for: `data.masks` for a set that says nothing
of it.

In: names of masks, and a function that reads one. Out: `MaskCodes`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from stages.core.errors import UserError
from stages.data.annotations import outlines
from stages.data.decode import OtherKind, Unreadable, decode_mask

LOOKED_AT, SECONDS = 1000, 20.0  # masks at most; fewer, but one, where looking takes longer
VOID = 255  # an index that counts nowhere beside several others, as in PASCAL VOC and Cityscapes
MANY = 64  # codes, beyond which most are mixtures of a few: soft edges, or what JPEG made of them
SHARE = 0.002  # of all pixels that a code has at least which is no mixture
SIDE = 512  # pixels of the picture that outlines are drawn for where they don't state it
Code = int | tuple[int, ...] | str  # an index; red, green and blue; or the label of an outline, "" where there is none
Read = Callable[[str], bytes]


class MaskCodes(NamedTuple):
    """A draft of `data.masks`."""

    classes: dict[str, Code | None]  # None: all that stands nowhere else
    ignored: list[Code]
    shares: dict[str, float]  # of each class: of all pixels looked at, 0–1
    looked_at: int  # masks
    found: int  # codes
    are_mixed: bool  # most codes are mixtures of those of the classes
    are_all: bool  # no other code can turn up in masks that weren't looked at
    are_named: bool  # the classes have names, and not their codes alone


def find(masks: Sequence[str], read: Read) -> MaskCodes:
    """Raises UserError where no mask is readable, or where all show one and the same code."""
    drawn = random.Random(0).sample(list(masks), min(LOOKED_AT, len(masks)))
    try:
        counts, looked_at = _count(drawn, read, colours=False)
    except OtherKind:
        counts, looked_at = _count(drawn, read, colours=True)
    if not counts:
        raise UserError(f"none of the {len(drawn)} masks that were looked at is readable; get the archive again")
    meant = sorted(counts)
    if are_mixed := len(counts) > MANY and not isinstance(meant[0], str):
        meant = [code for code in meant if counts[code] >= SHARE * counts.total()]
        if len(meant) > 2 and isinstance(meant[0], int):  # grey: a soft outline
            meant = [meant[0], meant[-1]]
        if len(meant) < 2:
            raise UserError(f"the {looked_at} masks that were looked at hold {len(counts)} codes, of which hardly one "
                            f"is frequent: are they photographs? The first of them: {drawn[0]!r}")
    if len(meant) < 2:
        raise UserError(f"the {looked_at} masks that were looked at hold {meant[0]!r} alone, so there is nothing to "
                        "tell apart; masks need two classes at least")
    ignored = [VOID] if VOID in meant and len(meant) > 2 else []
    classes = _named([code for code in meant if code not in ignored])
    shares = {name: counts["" if code is None else code] / counts.total() for name, code in classes.items()}
    return MaskCodes(classes, ignored, shares, looked_at, len(counts), are_mixed, looked_at == len(masks),
                     "background" in classes and not any(name.startswith("class_") for name in classes))


def _count(masks: Sequence[str], read: Read, colours: bool) -> tuple[Counter, int]:
    """Pixels of each code, and how many masks were read. Raises OtherKind for a mask that can't be read so."""
    counts, end, looked_at, has_bits = Counter(), time.perf_counter() + SECONDS, 0, False
    for name in masks:
        try:
            if outlines.is_outlines(name):
                pixels, labels = outlines.draw(name, read, (SIDE, SIDE))
            else:
                pixels, labels = decode_mask(read(name), colours), ()
        except OtherKind:
            raise
        except Unreadable:
            continue
        looked_at, has_bits = looked_at + 1, has_bits or pixels.dtype == bool
        for code, count in _pixel_counts(pixels):
            counts[labels[code] if labels else code] += count
        if time.perf_counter() > end:
            break
    if has_bits and counts.keys() == {0, 1, VOID}:  # masks of one bit among others of eight: white is 255
        counts[VOID] += counts.pop(1)
    return counts, looked_at


def _pixel_counts(pixels: np.ndarray) -> Iterator[tuple[int | tuple[int, ...], int]]:
    """Each index of (H,W), or each colour of (H,W,3), with its pixels."""
    if pixels.ndim == 2:
        yield from ((int(code), int(count)) for code, count in zip(*np.unique(pixels, return_counts=True), strict=True))
        return
    numbers = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
        yield (int(number) >> 16, int(number) >> 8 & 255, int(number) & 255), int(count)


def _named(codes: Sequence[Code]) -> dict[str, Code | None]:
    """Names for the classes: labels that are words; background and foreground for two codes, the darker first; else
    the codes themselves.
    """
    if isinstance(codes[0], str):
        return {"background": None} | {f"class_{code}" if code.isdigit() else code: code for code in codes if code}
    if len(codes) == 2:
        return dict(zip(("background", "foreground"), codes, strict=True))
    return {f"class_{code}" if isinstance(code, int) else "colour_{:02x}{:02x}{:02x}".format(*code): code
            for code in codes}
