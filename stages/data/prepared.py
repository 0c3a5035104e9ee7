"""The arrays that `split` prepares, as every later stage reads them: memory-mapped, never loaded whole.

`data/prepared/<split>/images.npy`   uint8 (N,H,W,3), RGB
`data/prepared/<split>/targets.npy`  integers (N,*S): a class, or a class a pixel; absent for `unlabelled`
`data/prepared/<split>/windows.npy`  int32 (N,5): where each image lies in its picture, as data/tiling.py has it
`data/prepared/index.csv`            split, row, windows, path, sha256, target: a picture's first row, and how many
`data/prepared/classes.txt`          a class name a line; the line's number is the class
"""

from pathlib import Path

import numpy as np

FOLDER = Path("data/prepared")
SPLITS = ("train", "val", "test", "unlabelled")
# Targets below 0 are no class.
UNLABELLED = -1  # no label here: no cross-entropy, but a teacher's answer counts
IGNORED = -100  # nothing here counts, in no loss and no metric


def images(split: str) -> np.ndarray:
    """uint8 (N,H,W,3), mapped from the file."""
    return np.load(FOLDER / split / "images.npy", mmap_mode="r")


def targets(split: str) -> np.ndarray:
    """Integers (N,*S), mapped from the file."""
    return np.load(FOLDER / split / "targets.npy", mmap_mode="r")


def windows(split: str) -> np.ndarray:
    """int32 (N,5): picture, top, left, height, width, as data/tiling.py has them."""
    return np.load(FOLDER / split / "windows.npy")


def class_counts(number: int, split: str = "train") -> np.ndarray:
    """int64 (C,): how many images of the split, or pixels of them, each of `number` classes has."""
    known, total = targets(split), np.zeros(number, np.int64)
    step = max(1, 2**20 // max(1, known[:1].size))  # so that memory stays small, however many there are
    for start in range(0, len(known), step):
        part = known[start:start + step]
        total += np.bincount(part[part >= 0], minlength=number)
    return total


def image_size() -> tuple[int, int]:
    """(H, W) of every image."""
    return images("train").shape[1:3]


def labelled_count() -> int:
    """How many training images there are: the length of an epoch."""
    return len(targets("train"))


def classes() -> list[str]:
    return (FOLDER / "classes.txt").read_text(encoding="utf-8").splitlines()
