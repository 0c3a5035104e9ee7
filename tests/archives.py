"""Archives as people download them, made up of small pictures; and what `make new` should see in each.

`PYTHONPATH=. python tests/archives.py` prints a table of what it does see.
"""

import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from sources import palette, picture, png, saved

SPLITS = (("train", 6), ("valid", 3), ("test", 3))
PER_CLASS = 6


class Archive(NamedTuple):
    """An archive, and what is to be seen in it."""

    files: Callable[[], dict[str, bytes]]
    layout: str = "image_folder"
    classes: str = "cat dog"  # "": masks
    splits: str = "train val test"  # and unlabelled; "": undivided
    stops: str = ""  # words of the line in which it ends instead


def numbered(*folders: str, count: int = PER_CLASS, form: str = "{number}.jpg") -> dict[str, bytes]:
    return {f"{folder}/{form.format(number=number)}": picture(40 * place % 256, number, len(folder), format="JPEG")
            for place, folder in enumerate(folders) for number in range(count)}


def mask(*codes: int) -> bytes:
    """Stripes of these indices, 8×8 pixels."""
    return png(Image.fromarray(np.resize(np.repeat(np.array(codes, np.uint8), 2), (8, 8))))


def masked(images: str, masks: str, ids: list[str], content: bytes | None = None) -> dict[str, bytes]:
    """An image and a mask of each id."""
    return {name: data for number, id in enumerate(ids) for name, data in (
        (images.format(id=id), picture(number, 200, 10, format="JPEG")), (masks.format(id=id), content or mask(0, 1)))}


def rows(columns: str, *lines: str, separator: str = ",") -> bytes:
    return "\n".join([columns, *lines]).replace(",", separator).encode()


def labels(folder: str = "", suffix: str = ".jpg", count: int = 12) -> list[str]:
    return [f"{folder}{number}{suffix},{('cat', 'dog')[number % 2]}" for number in range(count)]


def one_hot() -> dict[str, bytes]:
    files = {}
    for split, count in SPLITS:
        files |= numbered(split, count=2 * count)
        files[f"{split}/_classes.csv"] = rows("filename, cat, dog", *(
            f"{number}.jpg, {1 - number % 2}, {number % 2}" for number in range(2 * count)))
    return files


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def shard(start: int) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for number in range(start, start + 6):
            for name, data in ((f"{number:04}.jpg", picture(number, 1, 1, format="JPEG")),
                               (f"{number:04}.cls", str(number % 2).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def coco(folder: str = "", count: int = 6) -> bytes:
    """A square on each image."""
    square = [[1.0, 1.0, 6.0, 1.0, 6.0, 6.0, 1.0, 6.0]]
    return json.dumps({
        "images": [{"id": number, "file_name": f"{folder}{number}.jpg", "height": 8, "width": 8}
                   for number in range(count)],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [{"id": number, "image_id": number, "category_id": 1, "segmentation": square, "area": 25.0,
                         "bbox": [1, 1, 5, 5], "iscrowd": 0} for number in range(count)]}).encode()


def labelme(label: str) -> bytes:
    return json.dumps({"imageHeight": 8, "imageWidth": 8, "shapes": [
        {"label": label, "shape_type": "polygon", "points": [[1, 1], [6, 1], [6, 6]]}]}).encode()


def voc() -> dict[str, bytes]:
    ids = [f"2007_{number:06}" for number in range(12)]
    colours = [[0, 0, 0], [128, 0, 0]] + [[224, 224, 192]] * 254
    content = png(palette(Image.open(io.BytesIO(mask(0, 1, 255))), colours))
    return {f"VOCdevkit/VOC2012/{name}": data for name, data in (
        masked("JPEGImages/{id}.jpg", "SegmentationClass/{id}.png", ids, content)
        | {"ImageSets/Segmentation/train.txt": "\n".join(ids[:8]).encode(),
           "ImageSets/Segmentation/val.txt": "\n".join(ids[8:]).encode()}).items()}


IDS = [f"{number:03}" for number in range(12)]
BOTH = ("cat", "dog")
ARCHIVES = {
    "class folders": Archive(lambda: numbered(*BOTH), splits=""),
    "class folders in a folder": Archive(lambda: numbered("pets/all/cat", "pets/all/dog"), splits=""),
    "Intel scenes": Archive(lambda: numbered(*(f"{split}/{split}/{name}" for split in ("seg_train", "seg_test")
                                               for name in BOTH)) | numbered("seg_pred/seg_pred"),
                            splits="train test unlabelled"),
    "cats and dogs (training_set)": Archive(lambda: numbered(*(f"{split}/{split}/{name}" for split in (
        "training_set", "test_set") for name in BOTH)), splits="train test"),
    "sign language (sign_train)": Archive(lambda: numbered(*(f"sign_{split}/{name}" for split in ("train", "test")
                                                             for name in "AB")), classes="A B", splits="train test"),
    "parts (images_part_1)": Archive(lambda: numbered(*(f"images_part_{part}/{name}" for part in (1, 2)
                                                        for name in BOTH)), splits=""),
    "splits in classes": Archive(lambda: numbered(*(f"{name}/{split}" for name in BOTH for split in ("train", "val"))),
                                 splits="train val"),
    "Roboflow, folders": Archive(lambda: numbered(*(f"{split}/{name}" for split, _ in SPLITS for name in BOTH))
                                 | {"README.roboflow.txt": b"Exported"}),
    "Roboflow, _classes.csv": Archive(one_hot, "image_table"),
    "Kaggle, train.csv": Archive(lambda: numbered("train_images", count=12) | numbered("test_images")
                                 | {"train.csv": rows("image_id,label", *labels()), "sample_submission.csv":
                                    rows("image_id,label", *(f"{number}.jpg,cat" for number in range(6)))},
                                 "image_table", splits="train unlabelled"),
    "Hugging Face, metadata.jsonl": Archive(lambda: numbered("train", count=12) | {"train/metadata.jsonl": "\n".join(
        json.dumps({"file_name": f"{number}.jpg", "label": BOTH[number % 2]}) for number in range(12)).encode()},
        "image_table", splits="train"),
    "labels.tsv without suffixes": Archive(lambda: numbered("photos", count=12) | {
        "labels.tsv": rows("id,species", *labels(suffix=""), separator="\t")}, "image_table", splits=""),
    "HAM10000 (parts and a table)": Archive(lambda: numbered("part_1") | {
        f"part_2/{number}.jpg": picture(number, 9, 9, format="JPEG") for number in range(6, 12)} | {
            "HAM10000_metadata.csv": rows("lesion_id,image_id,dx,age", *(
                f"HAM_{number // 2},{number},{BOTH[number % 2]},4{number % 3}" for number in range(12)))},
        "image_table", splits=""),
    "JSON of names and labels": Archive(lambda: numbered("img", count=12) | {"labels.json": json.dumps(
        {f"{number}.jpg": BOTH[number % 2] for number in range(12)}).encode()}, "image_table", splits=""),
    "dogs vs cats (train/cat.0.jpg)": Archive(lambda: numbered("train", form="cat.{number}.jpg") | numbered(
        "train", form="dog.{number}.jpg") | numbered("test1"), "image_names", splits="train unlabelled"),
    "pets (great_pyrenees_1.jpg)": Archive(lambda: numbered("images", form="great_pyrenees_{number}.jpg")
                                           | numbered("images", form="Bengal_{number}.jpg"), "image_names",
                                           "Bengal great_pyrenees", ""),
    "Tiny ImageNet": Archive(lambda: numbered("tiny/train/n01/images", "tiny/train/n02/images")
                             | numbered("tiny/val/images", "tiny/test/images") | {
                                 "tiny/words.txt": b"n01\tcat, tabby\nn02\tdog",
                                 "tiny/val/val_annotations.txt": "\n".join(
                                     f"{number}.jpg\tn0{1 + number % 2}\t0\t0\t7\t7" for number in range(6)).encode()},
                             "tiny_imagenet", splits="train test unlabelled"),
    "ImageNet (folders and a val list)": Archive(lambda: numbered("train/n01440764", "train/n01443537") | numbered(
        "val", form="ILSVRC2012_val_{number}.jpg") | {"LOC_val_solution.csv": rows("ImageId,PredictionString", *(
            f"ILSVRC2012_val_{number},{('n01440764', 'n01443537')[number % 2]} 1 1 5 5" for number in range(6)))},
        "imagenet", "n01440764 n01443537", "train test"),
    "zips in a zip": Archive(lambda: {f"{split}.zip": zipped(numbered(*BOTH, count=count)) for split, count in SPLITS}),
    "WebDataset shards": Archive(lambda: {"train-0000.tar": shard(0), "train-0001.tar": shard(6),
                                          "val-0000.tar": shard(20)}, "webdataset", "0 1", "train val"),
    "files without a suffix": Archive(lambda: {name.removesuffix(".jpg"): data for name, data in
                                               numbered(*BOTH).items()}, splits=""),
    "color, grayscale, segmented": Archive(lambda: numbered(*(f"PlantVillage/{kind}/{name}" for kind in (
        "color", "grayscale", "segmented") for name in BOTH)), stops="ignored: \\["),
    "train and test without classes": Archive(lambda: numbered("train", "test"), stops="class"),
    "pictures in no folder": Archive(lambda: {f"{number}.jpg": picture(number, 1, 1, format="JPEG")
                                              for number in range(12)}, stops="class"),
    "images and masks": Archive(lambda: masked("images/{id}.jpg", "masks/{id}.png", IDS), "image_mask_pairs", "", ""),
    "Pascal VOC": Archive(voc, "image_mask_patterns", "", "train val"),
    "CamVid": Archive(lambda: {name: data for split in ("train", "val", "test") for name, data in masked(
        f"{split}/{{id}}.jpg", f"{split}annot/{{id}}.png", IDS).items()}, "image_mask_patterns", ""),
    "Carvana": Archive(lambda: masked("train/{id}.jpg", "train_masks/{id}_mask.gif", IDS, saved(
        Image.open(io.BytesIO(mask(0, 255))), "GIF")), "image_mask_patterns", "", "train"),
    "ISIC": Archive(lambda: masked("Training_Data/ISIC_{id}.jpg", "Training_GroundTruth/ISIC_{id}_segmentation"
                                   ".png", IDS, mask(0, 255)), "image_mask_patterns", "", "train"),
    "Oxford Pets": Archive(lambda: masked("images/cat_{id}.jpg", "annotations/trimaps/cat_{id}.png", IDS,
                                          mask(1, 2, 3)), "image_mask_patterns", "", ""),
    "BUSI (x_mask.png beside x)": Archive(lambda: masked("benign/{id}.jpg", "benign/{id}_mask.png", IDS, mask(0, 255))
                                          | masked("normal/n{id}.jpg", "normal/n{id}_mask.png", IDS, mask(0)),
                                          "image_mask_patterns", "", ""),
    "COCO": Archive(lambda: numbered("train2017", "val2017") | {
        f"annotations/instances_{split}2017.json": coco() for split in ("train", "val")}, "coco", "", "train val"),
    "Roboflow, COCO": Archive(lambda: numbered(*(split for split, _ in SPLITS)) | {
        f"{split}/_annotations.coco.json": coco() for split, _ in SPLITS}, "coco", ""),
    "labelme": Archive(lambda: numbered("shots", count=12) | {f"shots/{number}.json": labelme(("ship", "buoy")[
        number % 2]) for number in range(12)}, "image_mask_patterns", "", ""),
    "aerial tiles": Archive(lambda: {name: data for tile in range(4) for name, data in masked(
        f"Set/Tile {tile}/images/part_{{id}}.jpg", f"Set/Tile {tile}/masks/part_{{id}}.png", IDS[:3]).items()},
        "aerial_tiles", "", ""),
}


def seen(archive: Archive, folder) -> tuple[str, str, str, str]:
    """Layout, classes, splits as they are seen; or "", "", "" and the line in which it ends."""
    from stages.core.errors import UserError
    from stages.data.archive import open_members
    from stages.setup import draft, mask_codes, survey

    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in archive.files().items():
            packed.writestr(name, data)
    try:
        with open_members(path, folder, 10**8) as members:
            opened = {member.path: member.open for member in members}
            reading, _ = survey.choose_layout(list(opened), lambda name: opened[name]().read(), path.name)
            if reading.task == "segmentation":
                mask_codes.find(reading.masks, lambda name: opened[name]().read())
            draft.count(reading)
    except UserError as error:
        return "", "", "", str(error)
    splits = Counter(sample.split for sample in reading.samples)
    classes = {sample.target for sample in reading.samples if sample.target} if reading.task == "classification" else ()
    return (reading.layout, " ".join(sorted(classes)),
            " ".join(name for name in ("train", "val", "test", "unlabelled") if splits[name]), "")


def main() -> None:
    import tempfile
    from pathlib import Path

    print("| archive | layout | classes | splits |\n|---|---|---|---|")
    for name, archive in ARCHIVES.items():
        with tempfile.TemporaryDirectory() as folder:
            layout, classes, splits, line = seen(archive, Path(folder))
        print(f"| {name} | stops: {line} |||" if line else
              f"| {name} | `{layout}` | {classes or 'masks'} | {splits or 'drawn'} |")


if __name__ == "__main__":
    main()
