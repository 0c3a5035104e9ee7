"""Looks at every image, and decides nothing. In: data/raw.zip; data/weights/, for a backbone. Out: data/scan.csv, a row
a file, and data/thumbnails.npy, uint8 (N,32,32,3), row by row the same files, black where one is unreadable.

Every image is decoded once, whole, and is in memory only while it is looked at. Then the labels of training images are
judged: a cheap classifier foretells each from other images than the one in question.
"""

import csv
import hashlib
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Self

import numpy as np
import pydantic
from tqdm import tqdm

from stages.cleaning import features, image_quality, label_errors, near_duplicates
from stages.core import errors, files, params, plugins, workdir
from stages.core.device import choose_device
from stages.core.errors import UserError
from stages.data import parallel, tiling
from stages.data.decode import Header, Unreadable, decode_with_header
from stages.data.sample import Sample

RAW, SCAN, THUMBNAILS = Path("data/raw.zip"), Path("data/scan.csv"), Path("data/thumbnails.npy")
THUMBNAIL = (near_duplicates.SIDE, near_duplicates.SIDE, 3)
# label: what samples of the same label share. pixels: a hash of what was decoded. hash, mirror: how it looks, roughly.
# issue, reason: why the image can't be read, or what is odd about its mask: `unreadable`, or one of labels.ISSUES.
SEEN = ("path", "split", "source_split", "group", "target", "label", *Header._fields, "width", "height", "bytes",
        "sha256", "pixels", "hash", "mirror", *image_quality.COLUMNS)
ODD = ("issue", "reason")
COLUMNS = (*SEEN, *label_errors.COLUMNS, *ODD)
Row = dict[str, object]


class ScanParams(params.Section):
    """How labels are judged. In all else that the scan sees there is nothing to choose."""

    backbone: str = pydantic.Field(min_length=1)  # whose features are judged by: none (pixels) | one of torchvision's
    weights: str = pydantic.Field(min_length=1)  # of it: imagenet | a .safetensors file in data/weights/; else none
    image_size: int = pydantic.Field(ge=32, le=1024)  # height and width in pixels of what it sees
    folds: int = pydantic.Field(ge=2, le=20)  # parts; the labels of each are foretold from the others
    seed: int = pydantic.Field(ge=0)  # of the parts

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.backbone == "none") != (self.weights == "none"):
            raise ValueError(f"backbone is {self.backbone} and weights are {self.weights}: a backbone needs weights, "
                             "and no other way; set both, or both to none")
        return self


class Look(NamedTuple):
    """What one look at a file yields."""

    row: Row  # COLUMNS but the judgement
    thumbnail: np.ndarray  # uint8 (32,32,3)
    square: np.ndarray | None  # uint8 (size,size,3), for a backbone


def main() -> None:
    choice, task = params.load("scan", ScanParams), params.load_word("data.task")
    samples = _samples(params.load_word("data.layout"))
    classes = not plugins.module("tasks/*/labels", task, "data.task").shape(1)  # or masks, which nothing here judges
    backbone = _backbone(choice) if classes and choice.backbone != "none" else None
    labelled, counts = label_errors.Labelled(backbone), Counter()
    looks = parallel.map_in_processes(partial(look, task=task, size=choice.image_size if backbone else 0), samples)
    with workdir.folder("scan", [], []) as scratch:
        with files.atomic_write(THUMBNAILS, "wb") as thumbnails:
            files.write_array_header(thumbnails, (len(samples), *THUMBNAIL), "uint8")
            looks = tqdm(looks, "scan", len(samples), unit=" images", disable=None)
            rows = _gathered(looks, thumbnails, labelled if classes else None, counts)
            files.write_csv(scratch / "rows.csv", (*SEEN, *ODD), rows)
        judgements, said = {}, "no classes to judge"
        if classes:
            judgements, said = labelled.judged(np.load(THUMBNAILS, mmap_mode="r"), choice.folds, choice.seed)
        files.write_csv(SCAN, COLUMNS, _joined(scratch / "rows.csv", judgements))
    print(f"scan: {len(samples)} images, {counts['unreadable']} unreadable; {said}", file=sys.stderr)


def look(sample: Sample, task: str, size: int) -> Look:
    """size: of the square for a backbone, 0 without one; only training images with a label have one."""
    raw, labels = _opened(task)
    content = raw.read(sample.path)
    row = dict.fromkeys((*SEEN, *ODD), "")
    row |= sample._asdict() | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        image, header = decode_with_header(content)
    except Unreadable as error:
        return Look(row | {"issue": "unreadable", "reason": str(error)}, np.zeros(THUMBNAIL, np.uint8), None)
    height, width = image.shape[:2]
    row |= header._asdict() | {"width": width, "height": height}
    row["label"], row["issue"], row["reason"] = labels.examine(sample.target, raw.read, (height, width))
    # Width and height belong to the hash: 2×8 and 4×4 may hold the same bytes.
    seen = hashlib.sha256(b"%dx%d " % (width, height))
    seen.update(np.ascontiguousarray(image))
    row["pixels"] = seen.hexdigest()
    thumbnail = near_duplicates.thumbnail(image)
    row["hash"], row["mirror"] = near_duplicates.fingerprints(thumbnail)  # the same as the whole image's
    row |= {name: f"{value:.6g}" for name, value in image_quality.measure(image).items()}
    square = tiling.cut_image(image, tiling.Sizing(size, "squash", 1.0, 0))[0] if size and _teaches(row) else None
    return Look(row, thumbnail, square)


def _samples(layout: str) -> list[Sample]:
    found = plugins.module("data/layouts/*", layout, "data.layout")
    with zipfile.ZipFile(RAW) as raw:
        samples = sorted(found.samples(raw.namelist(), raw.read))
    if not samples:
        raise UserError(f"{RAW} holds no images where the layout {layout} looks for them; "
                    f"see stages/data/layouts/{layout}.py, or choose another data.layout")
    return samples


@cache
def _opened(task: str) -> tuple[zipfile.ZipFile, ModuleType]:
    """raw.zip as this process reads it, and what it knows of labels."""
    return zipfile.ZipFile(RAW), plugins.module("tasks/*/labels", task, "data.task")


def _teaches(row: Row) -> bool:
    """Whether the image is, or may come to be, a training image with a label."""
    return row["split"] in ("train", "") and bool(row["target"])


def _backbone(choice: ScanParams) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 (B,size,size,3) → float32 (B,D). Raises UserError for one that can't be had, before an image is looked at."""
    return features.backbone(choice.backbone, choice.weights, choice.image_size, choose_device("scan"))


def _gathered(looks: Iterable[Look], thumbnails, labelled: label_errors.Labelled | None, counts: Counter) -> Iterator[Row]:
    """The rows. On the way the thumbnails are written, the labelled images remembered, and the issues counted."""
    for number, (row, thumbnail, square) in enumerate(looks):
        thumbnails.write(np.ascontiguousarray(thumbnail))
        counts[row["issue"]] += 1
        if labelled and row["pixels"] and _teaches(row):
            labelled.add(number, row["target"], row["pixels"], square)
        yield row


def _joined(path: Path, judgements: dict[int, Row]) -> Iterator[Row]:
    """The rows of a table, one at a time, with their judgements."""
    with open(path, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield row | judgements.get(number, dict.fromkeys(label_errors.COLUMNS, ""))


if __name__ == "__main__":
    errors.run(main)
