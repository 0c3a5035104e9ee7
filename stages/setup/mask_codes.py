"""Which indices, colours or labels masks hold, and what they may stand for: `data.masks` for a set that says nothing
of it.

In: names of masks, and a function that reads one. Out: `MaskCodes`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from typing import NamedTuple

import numpy as np

from stages.core.errors import UserError
from stages.data.annotations import outlines
from stages.data.decode import OtherKind, Unreadable, decode_mask, palette

LOOKED_AT, SECONDS = 1000, 20.0  # masks at most; fewer, but one, where looking takes longer
BACKGROUND = "background"  # an outline called so is drawn around what has none, too
VOID = 255  # an index that counts nowhere beside several others, as in PASCAL VOC and Cityscapes
MANY = 64  # codes, beyond which most are mixtures of a few: soft edges, or what JPEG made of them
SHARE = 0.002  # of all pixels that a code has at least which is no mixture
PALETTES = 50  # of these masks at most
PEAK, WIDTH = 0.05, 8  # of all pixels, a class of grey masks has at least, with greys so near to it
LEAST_SOFT = 8  # greys between black and white, from which on they are a soft edge
SIDE = 512  # pixels of the picture that outlines are drawn for where they don't state it
Code = int | tuple[int, ...] | str  # an index; red, green and blue; or the label of an outline, "" where there is none
Read = Callable[[str], bytes]


class MaskCodes(NamedTuple):
    """A draft of `data.masks`."""

    classes: dict[str, Code | dict | None]  # None: all that stands nowhere else; {"any": […]}: several
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
        counts, beside, looked_at = _count(drawn, read, colours=_palettes_differ(drawn, read))
    except OtherKind:
        counts, beside, looked_at = _count(drawn, read, colours=True)
    if not counts:
        raise UserError(f"none of the {len(drawn)} masks that were looked at is readable; get the archive again")
    meant = sorted(counts)
    if are_mixed := _are_mixed(counts):
        meant = [code for code in meant if counts[code] >= SHARE * counts.total()]
        if len(meant) > 2 and isinstance(meant[0], int):  # grey: a soft outline
            meant = _peaks(counts) or [meant[0], meant[-1]]
        if len(meant) < 2:
            raise UserError(f"the {looked_at} masks that were looked at hold {len(counts)} codes, of which hardly one "
                            f"is frequent: are they photographs? The first of them: {drawn[0]!r}")
    if len(meant) < 2:
        raise UserError(f"the {looked_at} masks that were looked at hold {meant[0]!r} alone, so there is nothing to "
                        "tell apart; masks need two classes at least")
    if meant == [0, 1, VOID] and (1, VOID) not in beside:  # the foreground is 1 in some masks, and 255 in others
        classes, ignored = {BACKGROUND: 0, "foreground": {"any": [1, VOID]}}, []
    else:
        ignored = [VOID] if VOID in meant and len(meant) > 2 else []
        classes = _named([code for code in meant if code not in ignored])
    codes = {name: code["any"] if isinstance(code, dict) else [code] for name, code in classes.items()}
    rest = counts.keys() - {code for own in codes.values() for code in own}
    shares = {name: sum(counts[code] for code in (rest if own == [None] else own)) / counts.total()
              for name, own in codes.items()}
    return MaskCodes(classes, ignored, shares, looked_at, len(counts), are_mixed, looked_at == len(masks),
                     BACKGROUND in classes and not any(name.startswith("class_") for name in classes))


def _are_mixed(counts: Counter) -> bool:
    """Whether most codes are mixtures: there are very many, or black and white have a soft edge between them."""
    if isinstance(next(iter(counts)), str):
        return False
    between = [code for code in counts if code not in (0, VOID)]
    is_soft = (len(between) >= LEAST_SOFT and isinstance(between[0], int) and min(between) <= VOID / 4
               and max(between) >= VOID * 3 / 4 and {code for code, _ in counts.most_common(2)} == {0, VOID})
    return len(counts) > MANY or is_soft


def _peaks(counts: Counter) -> list[int]:
    """The greys that most others gather around, in rising order; [] where there are fewer than two."""
    found = []
    for code, _ in counts.most_common():
        near = sum(counts[grey] for grey in range(code - WIDTH, code + WIDTH + 1))
        if near >= PEAK * counts.total() and all(abs(code - other) > 3 * WIDTH for other in found):
            found.append(code)
    return sorted(found) if len(found) > 1 else []


def _palettes_differ(masks: Sequence[str], read: Read) -> bool:
    """Whether an index is one colour in a mask and another in the next, and the colours are what repeats: they are the
    labels then.
    """
    used = []
    for name in masks[:PALETTES]:
        if not outlines.is_outlines(name):
            with suppress(Unreadable):
                used.append(palette(read(name)))
    colours = Counter(colour for own in used for colour in own.values())
    pairs = {pair for own in used for pair in own.items()}
    return len(pairs) > len({index for index, _ in pairs}) and len(colours) <= MANY and (
        colours.total() >= 2 * len(colours))


def _count(masks: Sequence[str], read: Read, colours: bool) -> tuple[Counter, set[tuple], int]:
    """Pixels of each code; which codes a mask holds together, where they are few; and how many masks were read. Raises
    OtherKind for a mask that can't be read so.
    """
    counts, end, looked_at, has_bits, beside = Counter(), time.perf_counter() + SECONDS, 0, False, set()
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
        own = {labels[code] if labels else code: count for code, count in _pixel_counts(pixels)}
        counts.update(own)
        if len(own) <= len((0, 1, VOID)):
            beside.update(combinations(sorted(own), 2))
        if time.perf_counter() > end:
            break
    if has_bits and counts.keys() == {0, 1, VOID}:  # masks of one bit among others of eight: white is 255
        counts[VOID] += counts.pop(1)
    return counts, beside, looked_at


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
        return {BACKGROUND: None} | {f"class_{code}" if code.isdigit() else code: code for code in codes
                                     if code and code.lower() != BACKGROUND}
    if len(codes) == 2:
        return dict(zip((BACKGROUND, "foreground"), codes, strict=True))
    return {f"class_{code}" if isinstance(code, int) else "colour_{:02x}{:02x}{:02x}".format(*code): code
            for code in codes}
