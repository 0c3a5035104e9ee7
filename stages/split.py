"""Makes the arrays that every later stage reads. In: data/raw.zip, data/manifest.csv. Out: data/prepared/
(stages/data/prepared.py says what is in it).

What the source lacks of val and test is drawn from its training images, stratified. Which image is drawn depends on
the seed and its own path, so that one image more or less hardly moves the others. Where images come in groups (the
parts of one aerial photograph), whole groups are drawn. Another fold draws others.
"""

import hashlib
import re
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal, Self

import numpy as np
import pydantic
from tqdm import tqdm

from stages.core import errors, files, params, plugins, workdir
from stages.core.errors import UserError
from stages.data import prepared, tiling
from stages.data.decode import decode
from stages.data.parallel import map_in_threads

RAW, MANIFEST = Path("data/raw.zip"), Path("data/manifest.csv")
INDEX = ("split", "row", "windows", "path", "sha256", "target")
Row = dict[str, str]  # of the manifest; a draw changes its `split`


class SplitParams(params.Section):
    """How images are sized, and which of them train, validate and test."""

    image_size: int = pydantic.Field(ge=8, le=4096)  # height and width in pixels of what a network sees
    resize: Literal["squash", "crop", "tiles"]  # stages/data/tiling.py: Sizing
    scale: float = pydantic.Field(gt=0, le=1)  # tiles: share of its size that a picture is brought to first
    overlap: int = pydantic.Field(ge=0)  # tiles: pixels that neighbours share at least
    val_fraction: float = pydantic.Field(gt=0, lt=1)  # of the training images, where the source has no val
    test_fraction: float = pydantic.Field(gt=0, lt=1)  # likewise, drawn first
    fold: int = pydantic.Field(ge=0)  # which of the draws: test sets of different folds have no image in common
    labelled_fraction: float = pydantic.Field(gt=0, le=1)  # of training labels shown; the rest joins the unlabelled
    seed: int = pydantic.Field(ge=0)

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if self.overlap >= self.image_size:
            raise ValueError(f"overlap is {self.overlap}: it must be smaller than image_size, {self.image_size}")
        return self

    @property
    def sizing(self) -> tiling.Sizing:
        return tiling.Sizing(self.image_size, self.resize, self.scale, self.overlap)


def main() -> None:
    choice, task = params.load("split", SplitParams), params.load_word("data.task")
    labels = plugins.module("tasks/*/labels", task, "data.task")
    if choice.resize == "tiles" and not labels.shape(choice.image_size):
        raise UserError(f"params.yaml: split.resize is tiles, but {task} has one label for a whole image; "
                    "use squash or crop")
    rows = files.read_csv(MANIFEST)
    draw(rows, choice, labels.stratum)
    names = labels.classes(rows)
    hide(rows, choice, labels.stratum)
    # For its lock alone: an orphan of a killed run must not write beside this one.
    with workdir.folder("split", [], []), zipfile.ZipFile(RAW) as raw:
        _prepare(rows, names, raw, choice.sizing, labels)
    _check(names)
    counts = Counter(row["split"] for row in rows)
    print("split: " + ", ".join(f"{counts[split]} {split}" for split in prepared.SPLITS)
          + f", {len(names)} classes, {choice.image_size}×{choice.image_size}", file=sys.stderr)


def draw(rows: list[Row], choice: SplitParams, stratum: Callable[[Row], str]) -> None:
    """Give every row of no split one. Raises UserError where there are too few images for it."""
    for row in rows:
        row["split"] = row["split"] or "train"
    fractions = {"test": choice.test_fraction, "val": choice.val_fraction}
    missing = {split: fraction for split, fraction in fractions.items()
               if not any(row["split"] == split for row in rows)}
    if any(row["group"] for row in rows if row["split"] == "train"):
        _draw_groups(rows, missing, choice)
    else:
        _draw_images(rows, missing, choice, stratum)


def _draw_groups(rows: list[Row], missing: dict[str, float], choice: SplitParams) -> None:
    """Whole groups, in the natural order of their names; an image without one is a group of its own."""
    def group(row: Row) -> str:
        return row["group"] or row["path"]

    free = [row for row in rows if row["split"] == "train"]
    first = {row["pixels"]: row for row in reversed(free)}
    for row in free:
        if group(row) != group(other := first[row["pixels"]]):
            raise UserError(f"{MANIFEST}: {row['path']!r} and {other['path']!r} are the same picture in two groups, so "
                        "that one could test what the other has taught; take one of them out of the source")
    groups = sorted({group(row) for row in free}, key=_natural)
    if len(groups) <= len(missing):
        raise UserError(f"{MANIFEST}: {len(groups)} group(s) of images ({', '.join(groups)}), but "
                    f"{' and '.join(['train', *missing])} need one each; add images of other groups")
    for number, (split, fraction) in enumerate(missing.items()):
        count = min(_share(fraction, len(groups)), len(groups) - 1 - (len(missing) - number - 1))
        drawn = _folded(groups, count, choice.fold, split, wraps=number > 0)
        for row in rows:
            if row["split"] == "train" and group(row) in drawn:
                row["split"] = split
        groups = [name for name in groups if name not in drawn]


def _draw_images(rows: list[Row], missing: dict[str, float], choice: SplitParams,
                 stratum: Callable[[Row], str]) -> None:
    """Of each stratum its share; every stratum keeps a training image.

    An image with copies stays in training, because its copy there would give a test image away.
    """
    copies = Counter(row["pixels"] for row in rows)
    for name, members in _strata(rows, stratum).items():
        free = [row for row in members if copies[row["pixels"]] == 1]
        if len(members) <= len(missing) or len(free) < len(missing):
            what = f"class {name!r}" if name else "the set"
            raise UserError(f"{MANIFEST}: {what} has {len(members)} training image(s), {len(free)} without copies, "
                        f"but {' and '.join(['train', *missing])} need one each; add images, or remove the class")
        for number, (split, fraction) in enumerate(missing.items()):
            later = len(missing) - number - 1
            count = min(_share(fraction, len(members)), len(members) - 1 - later, len(free) - later)
            order = _shuffled(free, choice.seed, split)
            drawn = _folded(order, count, choice.fold, split, wraps=number > 0)
            for row in drawn:
                row["split"] = split
            members, free = ([row for row in some if row["split"] == "train"] for some in (members, free))


def _folded(order: list, count: int, fold: int, split: str, wraps: bool) -> list:
    """The fold-th `count` of `order`; beyond the last one begins anew where it `wraps`, and raises UserError otherwise.

    The split that is drawn first has to differ from fold to fold; one drawn from the rest does so by that alone.
    """
    folds = len(order) // count
    if fold >= folds and not wraps:
        raise UserError(f"params.yaml: split.fold is {fold}, but there are {folds} folds, from 0, of "
                    f"{count} out of {len(order)} for {split}; lower it, or split.{split}_fraction")
    fold %= folds
    return order[fold * count:(fold + 1) * count]


def _natural(name: str) -> list[tuple[int, str]]:
    """So that Tile 10 comes after Tile 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def hide(rows: list[Row], choice: SplitParams, stratum: Callable[[Row], str]) -> None:
    """Take the labels off all but `labelled_fraction` of each stratum's training images, and of none the last."""
    for members in _strata(rows, stratum).values():
        for row in _shuffled(members, choice.seed, "label")[_share(choice.labelled_fraction, len(members)):]:
            row["split"], row["target"] = "unlabelled", ""


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


def _prepare(rows: list[Row], names: list[str], raw: zipfile.ZipFile, sizing: tiling.Sizing,
             labels: ModuleType) -> None:
    index = []
    with tqdm(total=len(rows), desc="split", unit=" images", disable=None) as bar:
        for split in prepared.SPLITS:
            members = [row for row in rows if row["split"] == split]
            places = [tiling.places(int(row["height"]), int(row["width"]), number, sizing)
                      for number, row in enumerate(members)]
            count, folder = sum(map(len, places)), prepared.FOLDER / split
            cut = map_in_threads(lambda row: tiling.cut_image(decode(raw.read(row["path"])), sizing), members)
            files.write_array(folder / "images.npy", (count, sizing.size, sizing.size, 3), "uint8", _counted(cut, bar))
            files.write_array(folder / "windows.npy", (count, len(tiling.Place._fields)), "int32", map(np.array, places))
            if split != "unlabelled":
                files.write_array(folder / "targets.npy", (count, *labels.shape(sizing.size)), labels.STORED,
                             map_in_threads(partial(_target, names=names, raw=raw, sizing=sizing, labels=labels), members))
            starts = np.cumsum([0, *map(len, places)])
            index += [{name: row.get(name) for name in INDEX} | {"row": start, "windows": len(cuts)}
                      for row, start, cuts in zip(members, starts, places, strict=False)]
    files.write_csv(prepared.FOLDER / "index.csv", INDEX, index)
    with files.atomic_write(prepared.FOLDER / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in names)


def _check(names: list[str]) -> None:
    """Raises UserError where a split has no label that counts, or a class occurs in no training image."""
    counts = {split: prepared.class_counts(len(names), split) for split in ("train", "val", "test")}
    for split, found in counts.items():
        if not found.any():
            raise UserError(f"{MANIFEST}: no label of {split} counts; add labelled images to it, or look at data.masks in "
                        "params.yaml")
    if missing := [name for name, count in zip(names, counts["train"], strict=True) if not count]:
        raise UserError(f"{MANIFEST}: no training image shows {missing[0]!r}; add one, choose another split.fold, or take "
                    "the class out of data.masks in params.yaml")


def _target(row: Row, names: list[str], raw: zipfile.ZipFile, sizing: tiling.Sizing, labels: ModuleType) -> np.ndarray:
    """The label of an image, or the pieces (K,size,size) of its mask."""
    found = labels.target(row, names, raw.read)
    return tiling.cut_mask(found, sizing) if found.ndim else found


def _counted(items: Iterable[np.ndarray], bar: tqdm) -> Iterable[np.ndarray]:
    for array in items:
        yield array
        bar.update()


if __name__ == "__main__":
    errors.run(main)
