"""The arrays that `split` prepares, as later stages read them: memory-mapped, never loaded as a whole. Raises UserError
where one of them is missing or broken.

`data/prepared/<split>/images.npy`   uint8 (N,H,W,3), RGB
`data/prepared/<split>/targets.npy`  integers (N,*S): a class per image or per pixel; absent for `unlabelled`
`data/prepared/<split>/windows.npy`  int32 (N,5): where each image lies in its picture, see data/tiling.py
`data/prepared/index.csv`            split, row, windows, path, sha256, target: a picture's first row and row count
`data/prepared/classes.txt`          a class name per line; the class is the line's number
"""

from pathlib import Path

import numpy as np

from stages.core import files

FOLDER = Path("data/prepared")
SPLITS = ("train", "val", "test", "unlabelled")
# Negative targets are no class.
UNLABELLED = -1  # no label: no cross-entropy, but the teacher's loss applies
IGNORED = -100  # excluded from all losses and metrics


def images(split: str) -> np.ndarray:
    """uint8 (N,H,W,3), memory-mapped."""
    return files.read_array(FOLDER / split / "images.npy", "uint8", 4)


def targets(split: str) -> np.ndarray:
    """Integers (N,*S), memory-mapped."""
    return files.read_array(FOLDER / split / "targets.npy", "integer", 1)


def windows(split: str) -> np.ndarray:
    """int32 (N,5): picture, top, left, height, width, as data/tiling.py defines them."""
    return files.read_array(FOLDER / split / "windows.npy", "integer", 2)


def class_counts(number: int, split: str = "train") -> np.ndarray:
    """int64 (C,): images of the split, or pixels of its masks, per class. number: C."""
    labels, counts = targets(split), np.zeros(number, np.int64)
    step = max(1, 2**20 // max(1, labels[:1].size))  # keeps memory small, whatever N is
    for start in range(0, len(labels), step):
        part = labels[start:start + step]
        counts += np.bincount(part[part >= 0], minlength=number)
    return counts


def image_size() -> tuple[int, int]:
    """(H, W) of every image."""
    return images("train").shape[1:3]


def labelled_count() -> int:
    """Number of training images: the length of an epoch."""
    return len(targets("train"))


def classes() -> list[str]:
    def read(path: Path) -> list[str]:
        names = path.read_text(encoding="utf-8").splitlines()
        if len(names) < 2:
            raise ValueError("fewer than two classes")
        return names

    return files.read_output(read, FOLDER / "classes.txt")


def evenly_spaced(total: int, count: int) -> np.ndarray:
    """Indices of `count` of `total` items, first and last included, or of all where there are fewer. int64 (count,).

    Items sorted by class are likely to give every class.
    """
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)
