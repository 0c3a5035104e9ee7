"""Classification labels for the data stages: one class per image, S = (), named by the layout."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stages.core.errors import UserError

STORED = "int64"  # dtype of targets.npy
ISSUES = {}  # what `examine` may find, and its consequence: see cleaning/findings.py
Row = Mapping[str, str]  # of data/manifest.csv


def examine(target: str, read: Callable[[str], bytes], size: tuple[int, int]) -> tuple[str, str, str]:
    """Identity (equal for equal labels), issue and reason: a class name is its own identity, and has no issues.

    read: the content of a file of raw.zip; size: (H, W) of the image. Both for tasks whose labels are files.
    """
    return target, "", ""


def stratum(row: Row) -> str:
    """Splits are drawn with the same share of each stratum."""
    return row["target"]


def classes(rows: Sequence[Row]) -> list[str]:
    """The class names, sorted. Raises UserError if they can't be trained on."""
    names_in = {split: {row["target"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    names = sorted(names_in["train"])
    if len(names) < 2:
        raise UserError(f"data/manifest.csv has {len(names)} class(es) to train on ({', '.join(names) or 'none'}); "
                        "at least two are needed: put images of each into a folder of its own, or check data.layout")
    for split in ("val", "test"):
        if unseen := sorted(names_in[split] - names_in["train"]):
            raise UserError(f"data/manifest.csv: no training image of {', '.join(map(repr, unseen))}, which {split} has"
                            f"; add training images, or take the folder out of {split} (names must be spelt alike)")
    if broken := [name for name in names if len(name.splitlines()) != 1]:
        raise UserError(f"data/manifest.csv: the class name {broken[0]!r} spans lines; rename its folder")
    return names


def shape(size: tuple[int, int]) -> tuple[int, ...]:
    """S for images of size (H, W)."""
    return ()


def target(row: Row, names: list[str], read: Callable[[str], bytes]) -> np.ndarray:
    """int64 (): the class. read: as in `examine`."""
    return np.asarray(names.index(row["target"]), dtype=STORED)
