"""COCO's JSON files as a layout: which image is which file, of which split, and which outlines are its mask."""

import json
from collections import Counter

import numpy as np
import pytest
from sources import picture

from stages.core.errors import UserError
from stages.data import listing
from stages.data.annotations import outlines
from stages.data.layouts import coco
from stages.data.sample import Sample, file_and_mask, target_files

Files = dict[str, bytes]


def annotations(*images: str, outlined: int | None = None, outline: object = ((1, 1, 4, 1, 4, 4, 1, 4),)) -> bytes:
    """A COCO file of these images, 8×8, the first `outlined` of which (all, if None) show a cat of nine pixels."""
    count = len(images) if outlined is None else outlined
    return json.dumps({
        "images": [{"id": 10 + n, "file_name": name, "width": 8, "height": 8} for n, name in enumerate(images)],
        "categories": [{"id": 17, "name": "cat", "supercategory": "animal"}],
        "annotations": [{"id": n, "image_id": 10 + n, "category_id": 17, "bbox": [1, 1, 3, 3], "iscrowd": 0,
                         **({"segmentation": outline} if outline else {})} for n in range(count)]}).encode()


def pictures(*names: str) -> Files:
    return {name: picture(number, 0, 0) for number, name in enumerate(names)}


def read(files: Files, **options: object) -> list[Sample]:
    return listing.list_samples(coco, list(files), files.__getitem__, options)


def refused(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OWN = pictures("train2017/1.jpg", "train2017/2.jpg", "val2017/3.jpg", "test2017/4.jpg") | {
    "annotations/instances_train2017.json": annotations("1.jpg", "2.jpg"),
    "annotations/instances_val2017.json": annotations("3.jpg"),
    "annotations/person_keypoints_train2017.json": annotations("1.jpg"),
    "annotations/captions_train2017.json": b'{"images": [], "annotations": [{"caption": "A cat."}]}'}
ROBOFLOW = pictures("train/a.rf.1.jpg", "train/b.rf.2.jpg", "valid/a.rf.1.jpg", "test/c.rf.4.jpg") | {
    f"{split}/_annotations.coco.json": annotations(*names) for split, names in
    {"train": ("a.rf.1.jpg", "b.rf.2.jpg"), "valid": ("a.rf.1.jpg",), "test": ("c.rf.4.jpg",)}.items()}


def test_the_archive_of_coco_itself():
    files = ["annotations/instances_train2017.json", "annotations/instances_val2017.json"]
    assert coco.recognise(list(OWN), OWN.__getitem__) == {"annotations": files}
    assert read(OWN) == [
        Sample("test2017/4.jpg", "unlabelled", "test2017", ""),
        Sample("train2017/1.jpg", "train", "instances_train2017", f"{files[0]}#10"),
        Sample("train2017/2.jpg", "train", "instances_train2017", f"{files[0]}#11"),
        Sample("val2017/3.jpg", "val", "instances_val2017", f"{files[1]}#10")]
    for sample in read(OWN)[1:]:
        mask, labels = outlines.draw(sample.target, OWN.__getitem__, (8, 8))
        assert labels == ["", "cat"] and np.argwhere(mask).tolist() == [[y, x] for y in (1, 2, 3) for x in (1, 2, 3)]
        assert target_files(sample.target)[0] in files


def test_an_export_of_roboflow():
    assert coco.recognise(list(ROBOFLOW), ROBOFLOW.__getitem__) == {
        "annotations": [f"{split}/_annotations.coco.json" for split in ("train", "valid", "test")]}
    assert [(sample.path, sample.split, sample.target.partition("/")[0]) for sample in read(ROBOFLOW)] == [
        ("test/c.rf.4.jpg", "test", "test"), ("train/a.rf.1.jpg", "train", "train"),
        ("train/b.rf.2.jpg", "train", "train"), ("valid/a.rf.1.jpg", "val", "valid")]


def test_one_file_for_a_set_that_is_not_divided_and_one_beside_folders_of_splits():
    files = pictures("images/1.jpg", "images/2.jpg") | {"result.json": annotations("images/1.jpg", "images/2.jpg")}
    assert [sample.split for sample in read(files)] == ["", ""]
    files = pictures("train/1.jpg", "val/1.jpg") | {"annotations/train.json": annotations("1.jpg"),
                                                    "annotations/val.json": annotations("1.jpg")}
    assert [(sample.path, sample.split) for sample in read(files)] == [("train/1.jpg", "train"), ("val/1.jpg", "val")]
    files = pictures("train/1.jpg", "val/2.jpg") | {"all.json": annotations("train/1.jpg", "val/2.jpg")}
    assert [sample.split for sample in read(files)] == ["train", "val"]


def test_images_without_an_outline_and_images_that_are_not_there():
    files = pictures("1.jpg", "2.jpg") | {"a.json": annotations("1.jpg", "2.jpg", "3.jpg", outlined=1)}
    assert "1 image(s) are not there, first '3.jpg' in a.json" in refused(read, files, annotations=["a.json"])
    assert coco.recognise(list(files), files.__getitem__) == {"annotations": ["a.json"], "missing": "skip"}
    assert [sample.target for sample in read(files)] == ["a.json#10", "a.json#11"]  # the second is background
    unlabelled = read(files, annotations=["a.json"], missing="skip", without_outline="unlabelled")
    assert Counter(sample.split for sample in unlabelled) == {"": 1, "unlabelled": 1}


@pytest.mark.parametrize("files", [
    pictures("1.jpg") | {"a.json": annotations("1.jpg", outline=None)},  # boxes
    pictures("1.jpg") | {"a.json": b"{"}, pictures("1.jpg"), {"a.json": annotations("1.jpg")},
    pictures("1.jpg") | {"a.json": annotations("1.jpg"), "b.json": annotations("1.jpg")},  # which one?
])
def test_archives_without_outlines_are_not_recognised(files):
    assert coco.recognise(list(files), files.__getitem__) is None
    assert "data.layout_options: annotations" in refused(read, files)


@pytest.mark.parametrize("files, options, words", [
    (OWN, {"annotations": ["x.json"]}, ["holds no x.json", "annotations"]),
    (OWN, {"annotations": []}, ["annotations", "at least 1"]),
    (OWN, {"annotations": ["annotations/captions_train2017.json"]}, ["no COCO file", "export it again"]),
    (OWN, {"annotations": ["annotations/instances_train2017.json", "annotations/person_keypoints_train2017.json"]},
     ["'train2017/1.jpg' is named by", "leave one out"]),
    (pictures("a/1.jpg", "b/1.jpg") | {"a.json": annotations("1.jpg")}, {"annotations": ["a.json"]},
     ["'1.jpg' in a.json may be 'a/1.jpg' or 'b/1.jpg'", "ignored"]),
    (pictures("train/1.jpg", "2.jpg") | {"a.json": annotations("train/1.jpg", "2.jpg")}, {"annotations": ["a.json"]},
     ["'train/1.jpg' has a split and '2.jpg' has none"]),
])
def test_files_that_do_not_fit_end_in_one_line(files, options, words):
    message = refused(read, files, **options)
    assert all(word in message for word in words), message


def test_an_image_with_boxes_alone_is_not_background():
    """Its cat is there, and nobody says where it ends: it has no label, whereas an image without any entry is empty."""
    content = json.loads(annotations("a.png", "b.png", "c.png", outlined=2))
    content["annotations"][1]["segmentation"] = []
    files = pictures("a.png", "b.png", "c.png") | {"t.json": json.dumps(content).encode()}
    assert [sample.split for sample in read(files, annotations=["t.json"])] == ["", "unlabelled", ""]


@pytest.mark.parametrize(("name", "parts"), [
    ("a/t.json#12", ("a/t.json", "12")), ("masks/a#0.png", ("masks/a#0.png", "")), ("a#1/b.json", ("a#1/b.json", "")),
    ("a#1/T.JSON#x", ("a#1/T.JSON", "x")), ("cat", ("cat", ""))])
def test_a_name_is_a_file_unless_it_names_a_part_of_one(name, parts):
    assert file_and_mask(name) == parts and target_files(f"{name}|b.png") == [parts[0], "b.png"]
