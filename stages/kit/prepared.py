"""The arrays that `split` prepares, as every later stage reads them: memory-mapped, never loaded whole.

`data/prepared/<split>/images.npy`   uint8 (N,H,W,3), RGB
`data/prepared/<split>/targets.npy`  int64 (N,*S): a class, or a class a pixel; absent for `unlabelled`
`data/prepared/index.csv`            split, row, path, sha256, class: what stands in each row
`data/prepared/classes.txt`          a class name a line; the line's number is the class
"""

from pathlib import Path

import numpy as np

FOLDER = Path("data/prepared")
SPLITS = ("train", "val", "test", "unlabelled")


def images(split: str) -> np.ndarray:
    """uint8 (N,H,W,3), mapped from the file."""
    return np.load(FOLDER / split / "images.npy", mmap_mode="r")


def targets(split: str) -> np.ndarray:
    """int64 (N,*S), mapped from the file."""
    return np.load(FOLDER / split / "targets.npy", mmap_mode="r")


def size() -> tuple[int, int]:
    """(H, W) of every image."""
    return images("train").shape[1:3]


def labelled() -> int:
    """How many training images there are: the length of an epoch."""
    return len(targets("train"))


def classes() -> list[str]:
    return (FOLDER / "classes.txt").read_text(encoding="utf-8").splitlines()
