"""One set of images and masks in the layouts that such sets are downloaded in: from the archive to the same arrays."""

import json

import numpy as np
import pytest
from conftest import Project
from PIL import Image
from pycocotools import mask as coco_mask
from sources import pack, png, table

NAMES = ["ground", "house", "door"]
SIDE = 32
COUNTS = {"train": 5, "val": 2, "test": 2}
COLOURS = np.array([[0, 0, 0], [200, 30, 30], [30, 30, 200]], np.uint8)
INDICES = {"ground": 0, "house": 1, "door": 2}
LABELS = {"ground": None, "house": "house", "door": "door"}
Files = dict[str, bytes]


def boxes(number: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of a house and of its door."""
    left, top = 2 + number, 4 + number
    return [(left, top, left + 14, top + 12), (left + 4, top + 6, left + 8, top + 12)]


def mask(number: int) -> np.ndarray:
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    for label, (left, top, right, bottom) in enumerate(boxes(number), 1):
        pixels[top:bottom, left:right] = label
    return pixels


def image(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 50, (SIDE, SIDE, 3), np.uint8)
    return png(Image.fromarray(COLOURS[mask(number)] // 2 + noise))


SCENES = [(split, f"scene{number:02d}", number) for number, split in enumerate(
    split for split, count in COUNTS.items() for _ in range(count))]


def pairs() -> Files:
    return {f"{split}/{folder}/{name}.png": content for split, name, number in SCENES
            for folder, content in (("images", image(number)), ("masks", png(Image.fromarray(mask(number)))))}


def voc() -> Files:
    files = {f"VOC/ImageSets/Segmentation/{split}.txt": "".join(
        f"{name}\n" for of, name, _ in SCENES if of == split).encode() for split in COUNTS}
    return files | {f"VOC/{folder}/{name}.png": content for _, name, number in SCENES for folder, content in (
        ("JPEGImages", image(number)), ("SegmentationClass", png(Image.fromarray(COLOURS[mask(number)]))))}


def one_mask_an_object() -> Files:
    """x_mask.png beside x.png, and x_mask_1.png: houses in the one, their doors in the other."""
    files = {f"{split}/{name}.png": image(number) for split, name, number in SCENES}
    for split, name, number in SCENES:
        whole = mask(number)
        files |= {f"{split}/{name}_mask.png": png(Image.fromarray(whole * (whole == 1))),
                  f"{split}/{name}_mask_1.png": png(Image.fromarray(whole * (whole == 2)).convert("RGB"))}
    return files


def coco() -> Files:
    files = {f"{split}/{name}.png": image(number) for split, name, number in SCENES}
    for split in COUNTS:
        some = [(name, number) for of, name, number in SCENES if of == split]
        outlines = []
        for _, number in some:
            runs = coco_mask.encode(np.asfortranarray(mask(number) == 1).astype(np.uint8))
            left, top, right, bottom = boxes(number)[1]
            outlines += [
                {"image_id": number, "category_id": 5, "segmentation": runs | {"counts": runs["counts"].decode()}},
                {"image_id": number, "category_id": 8, "segmentation": [[left, top, right, top, right, bottom, left,
                                                                         bottom]]}]
        files[f"annotations/instances_{split}.json"] = json.dumps({
            "images": [{"id": number, "file_name": f"{name}.png", "height": SIDE, "width": SIDE}
                       for name, number in some],
            "categories": [{"id": 5, "name": "house"}, {"id": 8, "name": "door"}], "annotations": outlines}).encode()
    return files


def labelme() -> Files:
    files = {f"{split}/{name}.png": image(number) for split, name, number in SCENES}
    return files | {f"{split}/{name}.json": json.dumps({
        "imageHeight": SIDE, "imageWidth": SIDE, "imageData": None, "imagePath": f"{name}.png",
        "shapes": [{"label": label, "points": [[left, top], [right, bottom]], "shape_type": "rectangle"}
                   for label, (left, top, right, bottom) in zip(NAMES[1:], boxes(number), strict=True)]}).encode()
        for split, name, number in SCENES}


def yolo() -> Files:
    files = {f"images/{split}/{name}.png": image(number) for split, name, number in SCENES}
    return files | {f"labels/{split}/{name}.txt": "".join(
        f"{label} {left / SIDE} {top / SIDE} {right / SIDE} {top / SIDE} {right / SIDE} {bottom / SIDE} {left / SIDE} "
        f"{bottom / SIDE}\n" for label, (left, top, right, bottom) in enumerate(boxes(number))).encode()
        for split, name, number in SCENES} | {"data.yaml": b"names: [house, door]\n"}


def prepared(project: Project, files: Files, layout: str, classes: dict) -> dict[str, bytes]:
    """The arrays of each split after fetch, scan, clean and split, by their names."""
    pack(project.source / "a.zip", files)
    for key, value in {"data.source": "a.zip", "data.layout": layout, "data.masks.classes": classes,
                       "split.image_size": SIDE}.items():
        project.set(key, value)
    project.main("fetch", "scan", "clean", "split")
    folder = project.folder / "data/prepared"
    return {f"{split}/{name}": (folder / split / f"{name}.npy").read_bytes() for split in COUNTS
            for name in ("images", "targets")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, bytes]:
    """The arrays that the layout image_mask_pairs yields."""
    project = Project(tmp_path_factory.mktemp("pairs"), "digit_scenes")
    arrays = prepared(project, pairs(), "image_mask_pairs", INDICES)
    targets = np.load(project.folder / "data/prepared/train/targets.npy")
    assert np.array_equal(targets, [mask(number) for number in range(COUNTS["train"])])
    return arrays


@pytest.mark.slow
@pytest.mark.parametrize("archive, layout, classes", [
    (voc, "image_mask_patterns", dict(zip(NAMES, COLOURS.tolist(), strict=True))),
    (one_mask_an_object, "image_mask_patterns", INDICES), (coco, "coco", LABELS),
    (labelme, "image_mask_patterns", LABELS), (yolo, "image_mask_patterns", LABELS | {"house": "0", "door": "1"}),
])
def test_the_same_set_in_any_layout_is_the_same_arrays(tmp_path, expected, archive, layout, classes):
    assert prepared(Project(tmp_path, "digit_scenes"), archive(), layout, classes) == expected
    skipped = {row["path"] for row in table(tmp_path / "data/decisions.csv") if row["issue"] == "no_image"}
    assert not any("mask" in name or name.endswith(".json") or "labels/" in name for name in skipped)


@pytest.mark.slow
def test_copies_whose_masks_differ_in_few_pixels_are_duplicates(project):
    files = pairs()
    nearly, other = mask(0), mask(0)
    nearly[4, 2:5] = 0  # 0.3 % of the pixels
    other[other == 2] = 1  # the door is missing
    for name, pixels in {"copy": nearly, "third": other}.items():
        files[f"train/images/{name}.png"] = files["train/images/scene00.png"]
        files[f"train/masks/{name}.png"] = png(Image.fromarray(pixels))
    project.set("data.task", "segmentation")

    def decided() -> set[tuple[str, str]]:
        return {(row["path"], row["issue"]) for row in table(project.folder / "data/decisions.csv")
                if row["issue"] in ("duplicate", "conflicting_label")}

    prepared(project, {name: files[name] for name in files if "third" not in name}, "image_mask_pairs", INDICES)
    assert decided() == {("train/images/scene00.png", "duplicate")}
    prepared(project, files, "image_mask_pairs", INDICES)
    assert decided() == {(f"train/images/{name}.png", "conflicting_label") for name in ("copy", "scene00", "third")}


@pytest.mark.slow
def test_images_without_masks_join_the_unlabelled_and_small_masks_are_rescaled(project):
    files = {name.replace("images/", "JPEGImages/").replace("masks/", "SegmentationClass/"): content
             for name, content in pairs().items()}
    del files["train/SegmentationClass/scene01.png"]
    small = png(Image.fromarray(mask(0)[::2, ::2]))
    files["train/SegmentationClass/scene00.png"] = small
    project.set("data.task", "segmentation").set("data.masks.other_size", "rescale")
    project.set("split.labelled_fraction", 1.0)
    prepared(project, files, "image_mask_patterns", INDICES)
    folder = project.folder / "data/prepared"
    assert np.load(folder / "unlabelled/images.npy").shape[0] == 1
    first = np.load(folder / "train/targets.npy")[0]
    assert np.array_equal(first[::2, ::2], mask(0)[::2, ::2]) and np.array_equal(first[1::2], first[::2])


@pytest.mark.slow
def test_problems_of_mask_archives_end_in_one_line(fails, project):
    project.set("data.task", "segmentation").set("data.source", "a.zip").set("data.layout", "image_mask_patterns")
    project.set("data.masks.classes", INDICES)
    pack(project.source / "a.zip", {f"a/{name}.png": image(number) for _, name, number in SCENES})
    project.main("fetch")
    fails("scan", "data.layout_options: images, masks")
    project.set("data.layout_options", {"images": "a/{id}.png", "masks": "b/{id}.png", "mask": 1})
    fails("scan", "data.layout_options.mask is unknown", "several_masks")
    pack(project.source / "a.zip", coco())
    project.main("fetch")
    fails("scan", "data.layout_options")
    project.set("data.layout", "coco").set("data.layout_options", {})
    fails("scan", "is outlines", "an index or [red, green, blue]")
    project.set("data.masks.classes", {"ground": "", "house": "house"})
    fails("scan", "holds the label 'door'", "data.masks.classes")
    project.set("data.masks.classes", {"house": "house", "door": "door"})
    fails("scan", "holds no outline, which is the label ''")
