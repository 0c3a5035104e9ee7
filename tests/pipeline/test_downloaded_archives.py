"""Public data sets' archives, made small, as the default layout, image_folder, reads them: right, or not at all, with
one line, and then the layout that the line names reads them.
"""

import csv

import pytest
from sources import pack, picture

from stages.data.archive import RAW


def archive(*paths: str, **texts: str) -> dict[str, bytes]:
    """Files of these names: pictures that differ, and texts."""
    pictures = {path: picture(7 * number % 256, number // 36, 9) for number, path in enumerate(paths)}
    return pictures | {name: text.encode() for name, text in texts.items()}


def several(pattern: str, count: int = 3) -> list[str]:
    return [pattern.replace("*", str(number)) for number in range(count)]


TWO = ("cats", "dogs")
SIGNS = archive(*(name for split in ("sign_train", "sign_test") for sign in ("go", "stop")
                  for name in several(f"signs/{split}/{sign}/*.png")))
PETS = archive(*(name for split in ("training_set", "test_set") for pet in TWO
                 for name in several(f"{split}/{split}/{pet}/*.png")))
PARTS = archive(*(name for part in (1, 2) for pet in TWO for name in several(f"images_part_{part}/{pet}/{part}*.png")))
LEAVES = archive(*several("train_images/*.png", 6),
                 **{"train.csv": "image_id,label\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(6))})
ROBOFLOW = archive(*several("train/*.png", 4), *several("valid/*.png", 2), **{
    f"{split}/_classes.csv": "filename, bee, wasp\n" + "".join(f"{n}.png, {n % 2}, {1 - n % 2}\n" for n in range(count))
    for split, count in (("train", 4), ("valid", 2))})
NAMES = archive(*several("train/cat.*.png"), *several("train/dog.*.png"), *several("test1/*.png"))
COLOURS = archive(*(name for colour in ("color", "grayscale", "segmented") for leaf in ("apple", "pear")
                    for name in several(f"plants/{colour}/{leaf}/*.png")))


def classes(project) -> dict[str, set[str]]:
    """Split → classes, of the scan's rows."""
    with open(project.folder / "data/scan.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {split: {row["target"] for row in rows if row["split"] == split} for split in {row["split"] for row in rows}}


def fetched(project, files: dict[str, bytes]):
    pack(project.source / "a.zip", files)
    project.set("data.source", "a.zip").main("fetch")
    assert (project.folder / RAW).exists()
    return project


@pytest.mark.parametrize("files, expected", [
    (SIGNS, {"train": {"go", "stop"}, "test": {"go", "stop"}}),
    (PETS, {"train": {"cats", "dogs"}, "test": {"cats", "dogs"}}),
    (PARTS, {"": {"cats", "dogs"}}),
], ids=["sign_train", "training_set", "images_part_1"])
def test_read_right(project, files, expected):
    fetched(project, files).main("scan")
    assert classes(project) == expected


@pytest.mark.parametrize("files, words, layout, options, expected", [
    (LEAVES, ["train.csv", "image_table"], "image_table", {}, {"train": {"0", "1"}}),
    (ROBOFLOW, ["train/_classes.csv", "image_table"], "image_table", {},
     {"train": {"bee", "wasp"}, "val": {"bee", "wasp"}}),
    (NAMES, ["'train/cat.0.png'", "image_names"], "image_names", {}, {"train": {"cat", "dog"}, "unlabelled": {""}}),
    (COLOURS, ["color, grayscale, segmented", "ignored: [grayscale, segmented]"], "image_folder",
     {"ignored": ["grayscale", "segmented"]}, {"": {"apple", "pear"}}),
], ids=["train_images", "roboflow", "names", "color"])
def test_stopped_with_one_line_and_then_read_right(project, fails, files, words, layout, options, expected):
    fetched(project, files)
    fails("scan", "data/raw.zip", *words)
    project.set("data.layout", layout).set("data.layout_options", options).main("scan")
    assert classes(project) == expected


def test_options_of_a_layout_are_checked(project, fails):
    fetched(project, PETS).set("data.layout_options", {"skip": ["x"]})
    fails("scan", "data.layout_options.skip is unknown", "ignored, tables")
    project.set("data.layout", "tiny_imagenet")
    fails("scan", "data.layout_options holds skip", "tiny_imagenet has no options")
    project.set("data.layout", "image_folder").set("data.layout_options", {"ignored": "grey"})
    fails("scan", "data.layout_options.ignored is 'grey'")
