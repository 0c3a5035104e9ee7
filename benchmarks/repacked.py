"""Are the same images prepared to the same bytes, however their archive is laid out? Runs fetch, scan, clean and split
on an archive, packs its images anew in other layouts, runs the four stages on those, and compares data/prepared.

    python -m benchmarks.repacked scenes data/source/scenes.zip csv
    python -m benchmarks.repacked aerial data/source/aerial.zip voc coco

The preset says how the archive is read, and how images are prepared; the other layouts are recognised by themselves
(`data.layout_options: {}`). Everything that these can't keep is lost on the way: folders, and with them the names of
classes and splits, names of files, colours of masks. What takes part in a draw is lost too, names, and the tiles that
photographs belong to: so the new archives name the splits that were drawn of the first. Files are numbered in the order
of their first names, which is the order of the prepared arrays. Labels are checked by pixels, in two folds:
checking them changes nothing here. Parquet needs pyarrow.

Out: a table on stdout; exit status 1 if a byte differs.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from stages.core import errors, files
from stages.data import prepared
from stages.data.archive import Raw
from stages.setup import presets
from stages.tasks.segmentation import labels

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("fetch", "scan", "clean", "split")
SPLITS = ("train", "val", "test")
IGNORED = "ignored"  # the label of pixels that don't count, in COCO's outlines
Values = dict[str, object]  # of params.yaml


class Picture(NamedTuple):
    """A labelled image of the first archive."""

    name: str  # 000012.jpg: its number, in the order of the first names
    split: str
    target: str | Callable[[], np.ndarray]  # a class, or what draws the mask, int16 (H,W) with prepared.IGNORED
    content: Callable[[], bytes]


def csv(pictures: Sequence[Picture], classes: Sequence[str], path: Path) -> Values:
    """One folder, and a table of names, classes and splits."""
    with _zip(path) as archive:
        table = ["image,label,split"]
        for picture in pictures:
            archive.writestr(f"photos/{picture.name}", picture.content())
            table.append(f'{picture.name},"{picture.target}",{picture.split}')
        archive.writestr("labels.csv", "\n".join(table))
    return {"layout": "image_table"}


def parquet(pictures: Sequence[Picture], classes: Sequence[str], path: Path) -> Values:
    """As Hugging Face stores images: a file a split, classes by number, their names in the file's metadata."""
    import pyarrow
    from pyarrow import parquet

    about = {"huggingface": json.dumps({"info": {"features": {"label": {"names": classes, "_type": "ClassLabel"}}}})}
    with _zip(path) as archive:
        for split in SPLITS:
            own = [picture for picture in pictures if picture.split == split]
            table = pyarrow.table({
                "image": [{"bytes": picture.content(), "path": picture.name} for picture in own],
                "label": [classes.index(picture.target) for picture in own]})
            written = io.BytesIO()
            parquet.write_table(table.replace_schema_metadata(about), written)
            archive.writestr(f"data/{split}-00000-of-00001.parquet", written.getvalue())
    return {"layout": "image_table"}


def roboflow(pictures: Sequence[Picture], classes: Sequence[str], path: Path) -> Values:
    """As Roboflow exports classes: a folder a split, and in each a table with a column a class, of ones and zeros."""
    with _zip(path) as archive:
        archive.writestr("README.roboflow.txt", "Exported")
        for split, folder in zip(SPLITS, ("train", "valid", "test"), strict=True):
            table = [", ".join(["filename", *classes])]
            for picture in pictures:
                if picture.split == split:
                    archive.writestr(f"{folder}/{picture.name}", picture.content())
                    table.append(", ".join([picture.name, *(str(int(name == picture.target)) for name in classes)]))
            archive.writestr(f"{folder}/_classes.csv", "\n".join(table))
    return {"layout": "image_table"}


def voc(pictures: Sequence[Picture], classes: Sequence[str], path: Path) -> Values:
    """As Pascal VOC: masks with a palette, 255 where nothing counts, and a list of names for each split."""
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    with _zip(path) as archive:
        for picture in pictures:
            stem, mask = PurePosixPath(picture.name).stem, picture.target()
            drawn = Image.fromarray(np.where(mask == prepared.IGNORED, 255, mask).astype(np.uint8))
            drawn.putpalette(palette.tobytes())
            written = io.BytesIO()
            drawn.save(written, "PNG")
            archive.writestr(f"VOC/JPEGImages/{picture.name}", picture.content())
            archive.writestr(f"VOC/SegmentationClass/{stem}.png", written.getvalue())
        for split in SPLITS:
            archive.writestr(f"VOC/ImageSets/Segmentation/{split}.txt", "\n".join(
                PurePosixPath(picture.name).stem for picture in pictures if picture.split == split))
    return {"layout": "image_mask_patterns",
            "masks": {"classes": {name: number for number, name in enumerate(classes)}, "ignored": [255]}}


def coco(pictures: Sequence[Picture], classes: Sequence[str], path: Path) -> Values:
    """As COCO: a file a split, with each class of an image as run lengths."""
    names = [*classes, IGNORED]
    with _zip(path) as archive:
        for split in SPLITS:
            own = [picture for picture in pictures if picture.split == split]
            images, annotations = [], []
            for number, picture in enumerate(own, 1):
                mask = picture.target()
                images.append({"id": number, "file_name": picture.name, "height": mask.shape[0],
                               "width": mask.shape[1]})
                annotations += [entry | {"image_id": number, "iscrowd": 1}
                                for entry in _run_lengths(mask, len(classes))]
                archive.writestr(f"{split}2017/{picture.name}", picture.content())
            archive.writestr(f"annotations/instances_{split}2017.json", json.dumps({
                "images": images, "annotations": [entry | {"id": at} for at, entry in enumerate(annotations, 1)],
                "categories": [{"id": at, "name": name} for at, name in enumerate(names, 1)]}))
    return {"layout": "coco", "masks": {"classes": {name: name for name in classes}, "ignored": [IGNORED]}}


LAYOUTS = {pack.__name__: pack for pack in (csv, parquet, roboflow, voc, coco)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repacked", description=__doc__.splitlines()[0])
    parser.add_argument("preset", choices=presets.names())
    parser.add_argument("archive", type=Path)
    parser.add_argument("layouts", nargs="+", choices=LAYOUTS)
    options = parser.parse_args()
    same = True
    with tempfile.TemporaryDirectory() as space:
        first, values = Path(space, "first"), presets.values(options.preset)
        values["scan"] |= {"backbone": "none", "weights": "none", "folds": 2}
        prepare(first, options.archive, values)
        images, expected = counts(first), digests(first)
        print(f"| set | layout | {' | '.join(SPLITS)} | files of data/prepared | same bytes |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for layout in options.layouts:
            folder, archive = Path(space, layout), Path(space, f"{layout}.zip")
            with chdir(first), Raw() as raw:
                data = LAYOUTS[layout](list(pictures(values["data"]["task"], raw)), prepared.classes(), archive)
            masks = values["data"]["masks"] | data.pop("masks", {})
            prepare(folder, archive, values | {"data": values["data"] | data | {"layout_options": {}, "masks": masks}})
            found, own = digests(folder), counts(folder)
            equal = sum(found.get(name) == digest for name, digest in expected.items())
            same &= found == expected and own == images
            print(f"| {options.preset} | {layout} | {' | '.join(map(str, own))} | {len(expected)} | {equal} |",
                  flush=True)
    sys.exit(not same)


def prepare(folder: Path, archive: Path, values: Values) -> None:
    """The stages up to split, in a folder of their own."""
    (folder / "data/source").mkdir(parents=True)
    (folder / "data/source" / archive.name).symlink_to(archive.resolve())
    values = values | {"data": values["data"] | {"source": archive.name, "sha256": ""}}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    for stage in STAGES:
        if subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode:
            raise errors.UserError(f"{folder.name}: {stage} failed")


def pictures(task: str, raw: Raw) -> Iterator[Picture]:
    """The labelled images of the current folder's archive, those that clean leaves out among them."""
    drawn = {row["path"]: row["split"] for row in files.read_csv(Path("data/prepared/index.csv"))}
    for number, row in enumerate(files.read_csv(Path("data/scan.csv"))):
        if row["target"]:
            suffix = PurePosixPath(row["path"]).suffix
            yield Picture(f"{number:06}{suffix}", drawn.get(row["path"]) or row["split"] or "train",
                          partial(labels.target, row, [], raw.read) if task == "segmentation" else row["target"],
                          partial(raw.read, row["path"]))


def counts(folder: Path) -> list[int]:
    """Images of each split."""
    index = files.read_csv(folder / "data/prepared/index.csv")
    return [sum(row["split"] == split for row in index) for split in SPLITS]


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of data/prepared but index.csv, which has the names of the archive's files."""
    root = folder / "data/prepared"
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*")) if path.is_file() and path.name != "index.csv"}


def _zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path, "w")


def _run_lengths(mask: np.ndarray, ignored: int) -> Iterator[dict]:
    """An annotation for each class that a mask, (H,W), shows: how many pixels, column by column, are not of it, are,
    are not, … ignored: what pixels that don't count become.
    """
    numbers = np.where(mask == prepared.IGNORED, ignored, mask)
    for number in np.unique(numbers).tolist():
        is_own = numbers.T.ravel() == number
        ends = np.flatnonzero(np.diff(is_own)) + 1
        lengths = np.diff([0, *ends, is_own.size]).tolist()
        yield {"category_id": number + 1, "area": int(is_own.sum()),
               "segmentation": {"size": list(mask.shape), "counts": [0] * bool(is_own[0]) + lengths}}


if __name__ == "__main__":
    errors.run(main)
