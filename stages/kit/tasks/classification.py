"""Image classification, S = (): one class an image. What the data stages and training need to know of the task."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stages.kit.faults import Fault

Row = Mapping[str, str]  # of data/manifest.csv


def stratum(row: Row) -> str:
    """What a draw keeps in proportion."""
    return row["class"]


def classes(rows: Sequence[Row]) -> list[str]:
    """The names of the classes, sorted. Raises Fault where training could not work with them."""
    seen = {split: {row["class"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    names = sorted(seen["train"])
    if len(names) < 2:
        raise Fault(f"data/manifest.csv has {len(names)} class(es) to train on ({', '.join(names) or 'none'}); "
                    "at least two are needed: put images of each into a folder of its own, or check data.layout")
    for split in ("val", "test"):
        if unseen := sorted(seen[split] - seen["train"]):
            raise Fault(f"data/manifest.csv: no training image of {', '.join(map(repr, unseen))}, which {split} has; "
                        f"add training images, or take the folder out of {split} (names must be spelt alike)")
    if broken := [name for name in names if len(name.splitlines()) != 1]:
        raise Fault(f"data/manifest.csv: the class name {broken[0]!r} spans lines; rename its folder")
    return names


def shape(size: int) -> tuple[int, ...]:
    """S, for images of size × size."""
    return ()


def target(row: Row, names: list[str], read: Callable[[str], bytes], size: int, resize: str) -> np.ndarray:
    """int64 (*S): what an image shows. read: the bytes of a file of raw.zip, for tasks whose targets are files."""
    return np.asarray(names.index(row["class"]), dtype=np.int64)


class Score:
    """Top-1 accuracy in %, gathered over batches: what an epoch and a seed are chosen by."""

    primary = "accuracy"

    def __init__(self):
        self.right = self.counted = 0

    def update(self, logits, targets) -> None:
        """logits: float (N,C); targets: int64 (N,), below 0 where there is no label."""
        labelled = targets >= 0
        self.right += int(((logits.argmax(1) == targets) & labelled).sum())
        self.counted += int(labelled.sum())

    def values(self) -> dict[str, float]:
        return {"accuracy": 100 * self.right / max(1, self.counted)}
