"""Makes the arrays that later stages read. In: data/raw.zip, data/manifest.csv. Out: data/prepared/, described in
stages/data/prepared.py.

If the source has no val or test split, one is drawn from its training images, stratified by class; images of one group
(near copies, the parts of one aerial photograph) stay together. stages/data/drawing.py says how.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, Self

import numpy as np
import pydantic
from tqdm import tqdm

from stages.core import errors, files, params, plugins, workdir
from stages.core.errors import UserError
from stages.data import archive, drawing, prepared, tiling
from stages.data.decode import decode
from stages.data.image_size import pixels_text
from stages.data.large_pictures import room_for
from stages.data.parallel import map_in_threads
from stages.data.sample import target_files

MANIFEST = Path("data/manifest.csv")
INDEX = ("split", "row", "windows", "path", "sha256", "target")
Row = dict[str, str]  # of the manifest; a draw changes its `split`


class SplitParams(params.Section):
    """How images are resized, and which of them train, validate and test."""

    image_size: Annotated[tuple[int, int], params.sides(8, 4096)]  # height and width in pixels of the networks' input
    resize: Literal["squash", "crop", "tiles"]  # see stages/data/tiling.py: Sizing
    scale: float = pydantic.Field(gt=0, le=1)  # tiles: pictures are first resized by this factor
    overlap: int = pydantic.Field(ge=0)  # tiles: pixels that neighbours share at least
    val_fraction: float = pydantic.Field(gt=0, lt=1)  # of the training images, if the source has no val
    test_fraction: float = pydantic.Field(gt=0, lt=1)  # likewise, drawn first
    fold: int = pydantic.Field(ge=0)  # which of the draws: test sets of different folds are disjoint
    labelled_fraction: float = pydantic.Field(gt=0, le=1)  # of training labels that are used; the rest is unlabelled
    seed: params.Seed

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if self.overlap >= (side := min(self.image_size)):
            raise ValueError(f"overlap is {self.overlap}: it must be smaller than image_size, {side}")
        return self

    @property
    def sizing(self) -> tiling.Sizing:
        return tiling.Sizing(*self.image_size, self.resize, self.scale, self.overlap)


def main() -> None:
    choice, task = params.load("split", SplitParams), params.load_word("data.task")
    labels = plugins.module("tasks/*/labels", task, "data.task")
    check_resize(choice, task, labels)
    rows = files.read_csv(MANIFEST, ("path", "split", "group", "target", "width", "height", "sha256", "pixels"))
    fractions = {"test": choice.test_fraction, "val": choice.val_fraction}  # in the order in which they are drawn
    kept_whole = _kept_whole(rows, fractions, choice, labels.stratum)
    drawing.draw(rows, fractions, choice.fold, choice.seed, labels.stratum)
    names = labels.classes(rows)
    hide_labels(rows, choice, labels.stratum)
    with workdir.folder("split", [], []), archive.Raw() as raw:  # the folder for its lock alone
        _prepare(rows, names, raw, choice.sizing, labels)
    _check(names)
    counts = Counter(row["split"] for row in rows)
    print("split: " + ", ".join(f"{counts[split]} {split}" for split in prepared.SPLITS)
          + f", {len(names)} classes, {pixels_text(choice.image_size)}{kept_whole}", file=sys.stderr)


def check_resize(choice: SplitParams, task: str, labels: ModuleType) -> None:
    """labels: of the task. Raises UserError where images are to be cut that have one label each."""
    if choice.resize == "tiles" and not labels.shape(choice.image_size):
        raise UserError(f"params.yaml: split.resize is tiles, but data.task {task} has one label for a whole image; "
                        "use squash or crop")


def _kept_whole(rows: list[Row], fractions: dict[str, float], choice: SplitParams,
                stratum: Callable[[Row], str]) -> str:
    """What groups are good for, as the end of a sentence; empty where no image is in one."""
    groups = {row["group"] for row in rows} - {""}
    if not groups or fractions.keys() <= {row["split"] for row in rows}:
        return ""
    leaking, drawn = drawing.leaks(rows, fractions, choice.fold, choice.seed, stratum)
    return (f"; {len(groups)} groups of images were kept whole: drawn one by one, {leaking} of {drawn} images of val "
            "and test would have had one of their group in another split")


def hide_labels(rows: list[Row], choice: SplitParams, stratum: Callable[[Row], str]) -> None:
    """Makes all but `labelled_fraction` of each stratum's training images unlabelled; at least one keeps its label."""
    for members in _strata(rows, stratum).values():
        by_path = {row["path"]: row for row in members}
        order = drawing.shuffled(by_path, f"{choice.seed} label")
        for path in order[drawing.share(choice.labelled_fraction, len(members)):]:
            by_path[path]["split"], by_path[path]["target"] = "unlabelled", ""


def _strata(rows: list[Row], stratum: Callable[[Row], str]) -> dict[str, list[Row]]:
    """The training images by stratum."""
    strata = defaultdict(list)
    for row in rows:
        if row["split"] == "train":
            strata[stratum(row)].append(row)
    return strata


def _prepare(rows: list[Row], names: list[str], raw: archive.Raw, sizing: tiling.Sizing,
             labels: ModuleType) -> None:
    """Writes data/prepared/."""
    def image(row: Row) -> np.ndarray:  # uint8 (K,height,width,3)
        with room_for(raw, row["path"]):
            return tiling.cut_image(decode(raw.read(row["path"])), sizing)

    def target(row: Row) -> np.ndarray:  # integers (), or (K,height,width) of a mask
        with room_for(raw, *target_files(row["target"])):
            label = labels.target(row, names, raw.read)
            return tiling.cut_mask(label, sizing) if label.ndim else label

    index = []
    with tqdm(total=len(rows), desc="split", unit=" images", disable=None) as bar:
        for split in prepared.SPLITS:
            members = [row for row in rows if row["split"] == split]
            places = [tiling.places(int(row["height"]), int(row["width"]), number, sizing)
                      for number, row in enumerate(members)]
            count, folder, size = sum(map(len, places)), prepared.FOLDER / split, (sizing.height, sizing.width)
            starts = np.cumsum([0, *map(len, places)])
            files.write_array(folder / "images.npy", (count, *size, 3), "uint8",
                              _counted(map_in_threads(image, members), bar))
            files.write_array(folder / "windows.npy", (count, len(tiling.Place._fields)), "int32",
                              map(np.array, places))
            if split != "unlabelled":
                files.write_array(folder / "targets.npy", (count, *labels.shape(size)), labels.STORED,
                                  map_in_threads(target, members))
            index += [{name: row.get(name) for name in INDEX} | {"row": start, "windows": len(cuts)}
                      for row, start, cuts in zip(members, starts, places, strict=False)]
    files.write_csv(prepared.FOLDER / "index.csv", INDEX, index)
    with files.atomic_write(prepared.FOLDER / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in names)


def _counted(items: Iterable[np.ndarray], bar: tqdm) -> Iterable[np.ndarray]:
    for item in items:
        yield item
        bar.update()


def _check(names: list[str]) -> None:
    """Raises UserError if a split has no label that counts, or a class occurs in no training image."""
    counts = {split: prepared.class_counts(len(names), split) for split in ("train", "val", "test")}
    if empty := [split for split, per_class in counts.items() if not per_class.any()]:
        raise UserError(f"{MANIFEST}: no label of {empty[0]} counts; add labelled images to it, or look at "
                        "data.masks in params.yaml")
    if missing := [name for name, count in zip(names, counts["train"], strict=True) if not count]:
        raise UserError(f"{MANIFEST}: no training image shows {missing[0]!r}; add one, choose another split.fold, or "
                        "take the class out of data.masks in params.yaml")


if __name__ == "__main__":
    errors.run(main)
