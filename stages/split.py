"""Makes the arrays that every later stage reads. In: data/raw.zip, data/manifest.csv. Out: data/prepared/
(stages/kit/prepared.py says what is in it).

What the source lacks of val and test is drawn from its training images, stratified. Which image is drawn depends on
the seed and its own path, so that one image more or less hardly moves the others.
"""

import hashlib
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pydantic
from tqdm import tqdm

from stages.kit import arrays, faults, images, named, params, prepared, tables, work
from stages.kit.faults import Fault

RAW, MANIFEST = Path("data/raw.zip"), Path("data/manifest.csv")
INDEX = ("split", "row", "path", "sha256", "class")
Row = dict[str, str]  # of the manifest; a draw changes its `split`


class SplitParams(params.Section):
    """How images are sized, and which of them train, validate and test."""

    image_size: int = pydantic.Field(ge=8, le=4096)  # height and width in pixels
    resize: Literal["squash", "crop"]  # stages/kit/images.py: resize
    val_fraction: float = pydantic.Field(gt=0, lt=1)  # of the training images, where the source has no val
    test_fraction: float = pydantic.Field(gt=0, lt=1)  # likewise, drawn first
    labelled_fraction: float = pydantic.Field(gt=0, le=1)  # of training labels shown; the rest joins the unlabelled
    seed: int = pydantic.Field(ge=0)


def main() -> None:
    choice = params.load("split", SplitParams)
    task = named.module("tasks", params.word("data.task"), "data.task")
    rows = tables.read_csv(MANIFEST)
    draw(rows, choice, task.stratum)
    names = task.classes(rows)
    hide(rows, choice, task.stratum)
    # For its lock alone: an orphan of a killed run must not write beside this one.
    with work.folder("split", [], []), zipfile.ZipFile(RAW) as raw:
        _prepare(rows, names, raw, choice, task)
    counts = Counter(row["split"] for row in rows)
    print("split: " + ", ".join(f"{counts[split]} {split}" for split in prepared.SPLITS)
          + f", {len(names)} classes, {choice.image_size}×{choice.image_size}", file=sys.stderr)


def draw(rows: list[Row], choice: SplitParams, stratum: Callable[[Row], str]) -> None:
    """Give every row of no split one; every stratum keeps a training image. Raises Fault where it is too small.

    An image with copies stays in training, because its copy there would give a test image away.
    """
    for row in rows:
        row["split"] = row["split"] or "train"
    fractions = {"test": choice.test_fraction, "val": choice.val_fraction}
    missing = [split for split in fractions if not any(row["split"] == split for row in rows)]
    copies = Counter(row["pixels"] for row in rows)
    for name, members in _strata(rows, stratum).items():
        free = [row for row in members if copies[row["pixels"]] == 1]
        if len(members) <= len(missing) or len(free) < len(missing):
            raise Fault(f"{MANIFEST}: class {name!r} has {len(members)} training image(s), {len(free)} without copies, "
                        f"but {' and '.join(['train', *missing])} need one each; add images, or remove the class")
        for number, split in enumerate(missing):
            later = len(missing) - number - 1
            count = min(_share(fractions[split], len(members)), len(members) - 1 - later, len(free) - later)
            drawn = _shuffled(free, choice.seed, split)[:count]
            for row in drawn:
                row["split"] = split
            members, free = ([row for row in some if row["split"] == "train"] for some in (members, free))


def hide(rows: list[Row], choice: SplitParams, stratum: Callable[[Row], str]) -> None:
    """Take the labels off all but `labelled_fraction` of each stratum's training images, and of none the last."""
    for members in _strata(rows, stratum).values():
        for row in _shuffled(members, choice.seed, "label")[_share(choice.labelled_fraction, len(members)):]:
            row["split"], row["class"] = "unlabelled", ""


def _strata(rows: list[Row], stratum: Callable[[Row], str]) -> dict[str, list[Row]]:
    strata = defaultdict(list)
    for row in rows:
        if row["split"] == "train":
            strata[stratum(row)].append(row)
    return strata


def _share(fraction: float, count: int) -> int:
    """To the nearest, halves up, at least one."""
    return max(1, int(fraction * count + 0.5))


def _shuffled(rows: list[Row], seed: int, purpose: str) -> list[Row]:
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed} {purpose} {row['path']}".encode()).digest())


def _prepare(rows: list[Row], names: list[str], raw: zipfile.ZipFile, choice: SplitParams, task: ModuleType) -> None:
    size, resize = choice.image_size, choice.resize
    index = []
    with tqdm(total=len(rows), desc="split", unit=" images", disable=None) as bar:
        for split in prepared.SPLITS:
            members = [row for row in rows if row["split"] == split]
            contents = (raw.read(row["path"]) for row in members)
            sized = images.each(partial(_sized, size=size, resize=resize), contents)
            folder = prepared.FOLDER / split
            arrays.write(folder / "images.npy", (len(members), size, size, 3), "uint8", _counted(sized, bar))
            if split != "unlabelled":
                targets = (task.target(row, names, raw.read, size, resize) for row in members)
                arrays.write(folder / "targets.npy", (len(members), *task.shape(size)), "int64", targets)
            index += [{name: row.get(name, number) for name in INDEX} for number, row in enumerate(members)]
    tables.write_csv(prepared.FOLDER / "index.csv", INDEX, index)
    with tables.whole(prepared.FOLDER / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in names)


def _sized(content: bytes, size: int, resize: str) -> np.ndarray:
    return images.resize(images.decode(content), size, resize)


def _counted(items: Iterable[np.ndarray], bar: tqdm) -> Iterable[np.ndarray]:
    for array in items:
        yield array
        bar.update()


if __name__ == "__main__":
    faults.run(main)
