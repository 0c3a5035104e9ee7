"""What a scan has found in the images so far, in parts on disk: a killed scan goes on after the last whole part, and
one part at a time is in memory.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.core import files, workdir

PART = 8192  # images: what a kill costs at most, and what is in memory
Row = dict[str, object]  # of data/scan.csv


class Inspection(NamedTuple):
    """What the scan gets from one file."""

    row: Row  # its texts and whole numbers; the columns of label_errors are still empty
    thumbnail: np.ndarray  # uint8 (32,32,3)
    small: np.ndarray | None  # uint8 (size,size,3), the backbone's input


class BatchedFeatures:
    """Features of images that arrive one at a time, computed in batches so that few images are in memory."""

    BATCH = 32  # images per call of the backbone

    def __init__(self, backbone: Callable[[np.ndarray], np.ndarray]):
        """backbone: uint8 (B,size,size,3) → float32 (B,D)."""
        self.backbone, self.images, self.features = backbone, [], []

    def add(self, image: np.ndarray) -> None:
        """image: uint8 (size,size,3)."""
        self.images.append(image)
        if len(self.images) == self.BATCH:
            self._run()

    def take(self) -> np.ndarray:
        """float32 (n,D), of the images that arrived since the last call, in their order; (0,0) where none did."""
        if self.images:
            self._run()
        taken, self.features = self.features, []
        return np.concatenate(taken) if taken else np.empty((0, 0), np.float32)

    def _run(self) -> None:
        self.features.append(self.backbone(np.stack(self.images)))
        self.images = []


class Inspected:
    """The inspections of `count` images in a folder of `workdir`."""

    def __init__(self, folder: Path, count: int):
        self.folder, self.count = folder, count
        self.parts = [folder / f"{start:09}.npz" for start in range(0, count, PART)]
        # Each is looked for and read once, since that takes a hash of its bytes.
        self.whole = len([*takewhile(workdir.sealed, self.parts)])

    @property
    def done(self) -> int:
        """How many images are inspected already, from the first one on."""
        return min(self.count, self.whole * PART)

    def add(self, inspections: Iterable[Inspection], deep: BatchedFeatures | None) -> None:
        """inspections: of all images that are not `done`, in order. deep: what gives these their features."""
        inspections = iter(inspections)
        for path in self.parts[self.whole:]:
            rows, thumbnails = [], []
            for row, thumbnail, small in islice(inspections, PART):
                rows.append(row)
                thumbnails.append(thumbnail)
                if small is not None:
                    deep.add(small)
            with files.atomic_write(path, "wb") as file:
                np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8), thumbnails=np.stack(thumbnails),
                         features=deep.take() if deep else ())
            workdir.seal_whole(path, 0.0)
        next(inspections, None)  # lets a generator end its processes

    def rows(self) -> Iterator[Row]:
        for rows in self._each("rows"):
            yield from json.loads(rows.tobytes())

    def thumbnails(self) -> Iterator[np.ndarray]:
        """uint8 (n,32,32,3), one after the other."""
        return self._each("thumbnails")

    def features(self) -> np.ndarray:
        """float32 (N,D), mapped from a file: of all images that could be read, of which there must be one."""
        found = [features.shape for features in self._each("features") if len(features)]
        path = self.folder / "features.npy"
        files.write_array(path, (sum(count for count, _ in found), found[0][1]), "float32",
                          (features for features in self._each("features") if len(features)))
        return files.read_array(path, "float32", 2)

    def _each(self, name: str) -> Iterator[np.ndarray]:
        for path in self.parts:
            with np.load(path) as part:
                yield part[name]
