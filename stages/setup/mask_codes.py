"""Which indices or colours masks hold, and what they may stand for: `data.masks` for a set that says nothing of it.

In: names of masks, and a function that reads one. Out: `MaskCodes`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from stages.core.errors import UserError
from stages.data.decode import OtherKind, Unreadable, decode_mask

LOOKED_AT, SECONDS = 1000, 20.0  # masks at most; fewer, but one, where looking takes longer
VOID = 255  # an index that counts nowhere beside several others, as in PASCAL VOC and Cityscapes
MANY = 64  # codes, beyond which most are mixtures of a few: soft edges, or what JPEG made of them
SHARE = 0.002  # of all pixels that a code has at least which is no mixture
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
Code = int | tuple[int, ...]  # an index, or red, green and blue


class MaskCodes(NamedTuple):
    """A draft of `data.masks`."""

    classes: dict[str, Code]
    ignored: list[Code]
    shares: dict[Code, float]  # of all pixels looked at, 0–1
    looked_at: int  # masks
    are_mixed: bool  # there are codes between those of the classes

    @property
    def are_named(self) -> bool:
        """Whether the names are more than the codes themselves."""
        return "background" in self.classes


def find(masks: Sequence[str], read: Callable[[str], bytes]) -> MaskCodes:
    """Raises UserError where no mask is readable, or where all show one and the same code."""
    drawn = random.Random(0).sample(list(masks), min(LOOKED_AT, len(masks)))
    try:
        counts, looked_at = _count(drawn, read, colours=False)
    except OtherKind:
        counts, looked_at = _count(drawn, read, colours=True)
    if not counts:
        raise UserError(f"none of the {len(drawn)} masks that were looked at is readable; get the archive again")
    total = counts.total()
    shares = {code: count / total for code, count in sorted(counts.items())}
    are_mixed = len(shares) > MANY
    meant = [code for code, share in shares.items() if not are_mixed or share >= SHARE]
    if are_mixed and isinstance(meant[0], int):
        meant = [meant[0], meant[-1]]  # grey from black to white: a soft outline
    if len(meant) < 2:
        raise UserError(f"the {looked_at} masks that were looked at hold {meant[0]} alone, so there is nothing to "
                        "tell apart; masks need two classes at least")
    ignored = [VOID] if VOID in meant and len(meant) > 2 else []
    return MaskCodes(_named([code for code in meant if code not in ignored]), ignored, shares, looked_at, are_mixed)


def _count(masks: Sequence[str], read: Callable[[str], bytes], colours: bool) -> tuple[Counter, int]:
    """Pixels of each code, and how many masks were read. Raises OtherKind for a mask that can't be read so."""
    counts, started, looked_at = Counter(), time.perf_counter(), 0
    for name in masks:
        try:
            pixels = decode_mask(read(name), colours)
        except OtherKind:
            raise
        except Unreadable:
            continue
        looked_at += 1
        if colours:
            pixels = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
        for code, count in zip(*np.unique(pixels, return_counts=True), strict=True):
            code = int(code)
            counts[(code >> 16, code >> 8 & 255, code & 255) if colours else code] += int(count)
        if time.perf_counter() - started > SECONDS:
            break
    return counts, looked_at


def _named(codes: Sequence[Code]) -> dict[str, Code]:
    """Two codes are background and foreground, the darker first; of more the names are the codes."""
    if len(codes) == 2:
        return dict(zip(("background", "foreground"), codes, strict=True))
    return {f"class_{code}" if isinstance(code, int) else "colour_{:02x}{:02x}{:02x}".format(*code): code
            for code in codes}
