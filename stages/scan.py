"""Inspects every image; decides nothing. In: data/raw.zip; data/weights/ for a backbone. Out: data/scan.csv, a row per
file, and data/thumbnails.npy, uint8 (N,32,32,3), in the order of the rows, black for unreadable files.

Every image is decoded once, and few are in memory at a time. Then the labels of training images are
checked: each is compared with the prediction of a classifier that was trained on other images. A scan that is killed
goes on where it was (stages/cleaning/inspected.py).
"""

import hashlib
import sys
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Self

import numpy as np
import pydantic
from tqdm import tqdm

from stages.cleaning import features, image_quality, inspected, label_errors, near_duplicates
from stages.cleaning.inspected import Inspection, Row
from stages.core import errors, files, params, plugins, workdir
from stages.core.device import choose_device
from stages.data import leftover, listing, parallel, tiling
from stages.data.annotations.class_names import check_classes
from stages.data.archive import RAW, Raw
from stages.data.decode import Header, Unreadable, decode_with_header
from stages.data.large_pictures import room_for
from stages.data.sample import Sample, target_files

SCAN, THUMBNAILS = Path("data/scan.csv"), Path("data/thumbnails.npy")
THUMBNAIL = (near_duplicates.SIDE, near_duplicates.SIDE, 3)
# label: equal for samples with the same label. pixels: hash of the decoded image. hash, mirror: perceptual hashes.
# issue, reason: `unreadable`, or one of labels.ISSUES about its mask, and why.
COLUMNS = ("path", "split", "source_split", "group", "target", "label", *Header._fields, "width", "height", "bytes",
           "sha256", "pixels", "hash", "mirror", *image_quality.COLUMNS, *label_errors.COLUMNS, "issue", "reason")


class LayoutParams(params.Section):
    """Which files of raw.zip are images, and what their labels are: the keys of `data` that say so."""

    model_config = pydantic.ConfigDict(extra="ignore")

    layout: str  # a module of stages/data/layouts
    layout_options: dict[str, object]  # what that module's Options declare; {}: as the layout recognises the archive
    masks: dict[str, object]  # read by the task's labels.py


class ScanParams(params.Section):
    """How labels are checked. Nothing else about the scan is configurable."""

    backbone: str = pydantic.Field(min_length=1)  # none (pixel features) | torchvision's name | tf_efficientnet_lite0
    weights: str = pydantic.Field(min_length=1)  # of it: imagenet | a .safetensors file in data/weights/; else none
    image_size: int = pydantic.Field(ge=32, le=1024)  # height and width in pixels of its input
    folds: int = pydantic.Field(ge=2, le=20)  # of the out-of-fold predictions
    seed: params.Seed  # of the folds

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.backbone == "none") != (self.weights == "none"):
            raise ValueError(f"backbone is {self.backbone} and weights are {self.weights}: a backbone needs weights, "
                             "and no other way; set both, or both to none")
        return self


def main() -> None:
    _opened.cache_clear()  # where one process scans several archives, on one core
    choice, task = params.load("scan", ScanParams), params.load_word("data.task")
    labels = plugins.module("tasks/*/labels", task, "data.task")
    has_classes = not labels.shape((1, 1))  # masks are not checked
    data = params.load("data", LayoutParams)
    samples, skipped = _samples(data)
    if has_classes:
        check_classes(samples)
    backbone = (features.backbone(choice.backbone, choice.weights, choice.image_size, choose_device("scan"))
                if has_classes and choice.backbone != "none" else None)
    deep = inspected.BatchedFeatures(backbone) if backbone else None
    look = partial(inspect, task=task, size=choice.image_size if backbone else 0)
    read = [RAW, *([features.WEIGHTS / choice.weights] if backbone else [])]
    with workdir.folder("scan", [data, task, choice], read) as folder:
        found = inspected.Inspected(folder, len(samples))
        inspections = parallel.map_in_processes(look, samples[found.done:])
        found.add(tqdm(inspections, "scan", len(samples), initial=found.done, unit=" images", disable=None), deep)
        files.write_array(THUMBNAILS, (len(samples), *THUMBNAIL), "uint8", found.thumbnails())
        label_scores, summary, rows = {}, "no class labels to check", found.rows()
        if has_classes:
            label_scores, summary = label_errors.find_label_errors(
                rows, files.read_array(THUMBNAILS, "uint8", 4), found.features if deep else None, choice.folds,
                choice.seed, folder)
            rows = found.rows()
        else:
            rows = [*rows]
            labels.unite_labels(rows, _opened(task)[0].read)
        files.write_csv(SCAN, COLUMNS, (row | label_scores.get(number, {}) for number, row in enumerate(rows)))
        unreadable = sum(row["issue"] == "unreadable" for row in found.rows())
    print(f"scan: {len(samples)} images, {unreadable} unreadable; {'; '.join(filter(None, (summary, skipped)))}",
          file=sys.stderr)


def inspect(sample: Sample, task: str, size: int) -> Inspection:
    """size: of the backbone's input, which labelled training images have; 0 without a backbone."""
    raw, labels = _opened(task)
    with room_for(raw, sample.path, *target_files(sample.target)):
        content = raw.read(sample.path)
        row = dict.fromkeys(COLUMNS, "")
        row |= sample._asdict() | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return _inspected(row, content, raw, labels, size)


def _inspected(row: Row, content: bytes, raw: Raw, labels: ModuleType, size: int) -> Inspection:
    """row: COLUMNS, those filled that need no decoding."""
    try:
        image, header = decode_with_header(content)
    except Unreadable as error:
        return Inspection(row | {"issue": "unreadable", "reason": str(error)}, np.zeros(THUMBNAIL, np.uint8), None)
    height, width = image.shape[:2]
    row |= header._asdict() | {"width": width, "height": height}
    row["label"], row["issue"], row["reason"] = labels.examine(row["target"], raw.read, (height, width))
    pixels = hashlib.sha256(b"%dx%d " % (width, height))  # 2×8 and 4×4 pixels may be the same bytes
    pixels.update(np.ascontiguousarray(image))
    row["pixels"] = pixels.hexdigest()
    thumbnail = near_duplicates.thumbnail(image)
    row["hash"], row["mirror"] = near_duplicates.fingerprints(thumbnail)  # equal to those of the image
    row |= {name: f"{value:.6g}" for name, value in image_quality.measure(image).items()}
    if not size or not label_errors.is_labelled_training(row):
        return Inspection(row, thumbnail, None)
    sizing = tiling.Sizing(size, size, "squash", scale=1.0, overlap=0)
    return Inspection(row, thumbnail, tiling.cut_image(image, sizing)[0])


def _samples(data: LayoutParams) -> tuple[list[Sample], str]:
    """The samples, and a sentence on the files of the archive that are none."""
    module = plugins.module("data/layouts/*", data.layout, "data.layout")
    with Raw() as raw:
        names = raw.namelist()
        samples = listing.list_samples(module, names, raw.read, data.layout_options)
    return samples, leftover.summary(names, [
        name for sample in samples for name in (sample.path, *target_files(sample.target))])


@cache
def _opened(task: str) -> tuple[Raw, ModuleType]:
    """raw.zip, opened once per process, and the task's labels module."""
    return Raw(), plugins.module("tasks/*/labels", task, "data.task")


if __name__ == "__main__":
    errors.run(main)
