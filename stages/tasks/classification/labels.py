"""One class an image, S = (): the name that the layout found. What the data stages need to know of the labels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stages.core.errors import UserError

STORED = "int64"  # of targets.npy
ISSUES = {}  # what `examine` may find, and what becomes of it: cleaning/decide.py
Row = Mapping[str, str]  # of data/manifest.csv


def examine(target: str, read: Callable[[str], bytes], size: tuple[int, int]) -> tuple[str, str, str]:
    """Identity (what samples of the same label share), issue and reason: a name is its own, and has no issues.

    read: the bytes of a file of raw.zip; size: (H, W) of the image. Both for tasks whose labels are files.
    """
    return target, "", ""


def stratum(row: Row) -> str:
    """What a draw keeps in proportion."""
    return row["target"]


def classes(rows: Sequence[Row]) -> list[str]:
    """The names of the classes, sorted. Raises UserError where training could not work with them."""
    seen = {split: {row["target"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    names = sorted(seen["train"])
    if len(names) < 2:
        raise UserError(f"data/manifest.csv has {len(names)} class(es) to train on ({', '.join(names) or 'none'}); "
                    "at least two are needed: put images of each into a folder of its own, or check data.layout")
    for split in ("val", "test"):
        if unseen := sorted(seen[split] - seen["train"]):
            raise UserError(f"data/manifest.csv: no training image of {', '.join(map(repr, unseen))}, which {split} has; "
                        f"add training images, or take the folder out of {split} (names must be spelt alike)")
    if broken := [name for name in names if len(name.splitlines()) != 1]:
        raise UserError(f"data/manifest.csv: the class name {broken[0]!r} spans lines; rename its folder")
    return names


def shape(size: int) -> tuple[int, ...]:
    """S, for squares of size × size."""
    return ()


def target(row: Row, names: list[str], read: Callable[[str], bytes]) -> np.ndarray:
    """int64 (): what an image shows. read: as `examine` has it."""
    return np.asarray(names.index(row["target"]), dtype=STORED)
