"""Masks stored as outlines: COCO's, labelme's, YOLO's."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stages.core.errors import UserError
from stages.data.annotations import outlines
from stages.data.decode import Unreadable

SIZE = 6, 8
SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]  # columns and rows 1 to 4
SMALL = [2, 2, 4, 2, 4, 4, 2, 4]


def coco(*segmentations: tuple[int, object], **others: object) -> bytes:
    """A file with one image, 7, and these annotations: (category, segmentation). Categories: 0 cell, 3 nucleus."""
    return json.dumps({
        "images": [{"id": 7, "file_name": "x.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 0, "name": "cell"}, {"id": 3, "name": "nucleus"}],
        "annotations": [{"id": number, "image_id": 7, "category_id": category, "segmentation": segmentation}
                        for number, (category, segmentation) in enumerate(segmentations)]} | others).encode()


def drawn(content: bytes, name: str = "a.json#7") -> tuple[list[list[int]], list[str]]:
    picture, labels = outlines.draw(name, {name.partition("#")[0]: content}.get, SIZE)
    return picture.tolist(), labels


def expected(*squares: tuple[int, int, int]) -> list[list[int]]:
    """(number, start, end): a square in both directions, on zeros."""
    picture = np.zeros(SIZE, int)
    for number, start, end in squares:
        picture[start:end, start:end] = number
    return picture.tolist()


def test_polygons_of_coco_the_smaller_before_the_larger():
    for order in ([(0, [SQUARE]), (3, [SMALL])], [(3, [SMALL]), (0, [SQUARE])]):
        assert drawn(coco(*order)) == (expected((1, 1, 5), (2, 2, 4)), ["", "cell", "nucleus"])
    assert drawn(coco((3, [SMALL, [0, 0, 1, 0, 1, 1, 0, 1]]))) == (
        expected((1, 2, 4), (1, 0, 1)), ["", "nucleus"])  # two parts
    assert drawn(coco()) == (expected(), [""])
    assert drawn(coco((0, []), (0, [[1, 1, 3, 3]]), (0, [[]]))) == (expected(), ["", "cell"])  # boxes, no outlines


def test_run_lengths_of_coco():
    square = np.array(expected((1, 1, 5)), np.uint8)
    packed = coco_mask.encode(np.asfortranarray(square))
    packed["counts"] = packed["counts"].decode()
    counts = [7, *[4, 2] * 3, 4, 48 - 7 - 22]  # down the columns, beginning with zeros
    for runs in (packed, {"size": list(SIZE), "counts": counts}):
        assert drawn(coco((0, runs))) == (expected((1, 1, 5)), ["", "cell"])


def test_shapes_of_labelme():
    shapes = [{"label": "cell", "points": [[1, 1], [5, 1], [5, 5], [1, 5]], "shape_type": "polygon"},
              {"label": "nucleus", "points": [[2, 2], [4, 4]], "shape_type": "rectangle"}]
    content = {"shapes": shapes, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    assert drawn(json.dumps(content).encode(), "x.json") == (
        expected((1, 1, 5), (2, 2, 4)), ["", "cell", "nucleus"])
    shapes[:] = [{"label": "disc", "points": [[3, 3], [3, 5]], "shape_type": "circle"}]
    disc = np.array(drawn(json.dumps(content).encode(), "x.json")[0])
    assert disc[3, 3] == 1 and disc[0, 0] == 0 and abs(disc.sum() - np.pi * 4) < 3


def test_lines_of_yolo():
    lines = "1 0.125 0.1667 0.625 0.1667 0.625 0.8333 0.125 0.8333\n\n0 .25 .3333 .5 .3333 .5 .6667 .25 .6667\n"
    assert drawn(lines.encode(), "labels/x.txt") == (expected((2, 1, 5), (1, 2, 4)), ["", "0", "1"])
    assert drawn(b"", "labels/x.txt") == (expected(), [""])


@pytest.mark.parametrize("content, name, words", [
    (coco((0, [[float("nan"), *SQUARE[1:]]])), "a.json#7", ["leaves its image", "8×6"]),
    (coco((0, [[1e9, *SQUARE[1:]]])), "a.json#7", ["leaves its image"]),
    (coco((0, [[*SQUARE, 3]])), "a.json#7", ["make no sense"]),
    (coco((0, {"size": [90000, 90000], "counts": "0"})), "a.json#7", ["90000×90000", "8×6"]),
    (coco((0, {"size": list(SIZE), "counts": [5, 10_000]})), "a.json#7", ["run lengths are 10005 pixels", "8×6"]),
    (coco((0, {"size": list(SIZE), "counts": [5, 2]})), "a.json#7", ["run lengths are 7 pixels", "8×6"]),
    (coco((0, {"size": list(SIZE), "counts": "52"})), "a.json#7", ["run lengths are 7 pixels", "8×6"]),
    (coco((0, {"size": list(SIZE), "counts": "~~~~"})), "a.json#7", ["run lengths are"]),
    (b'{"shapes": [], "imageHeight": 90000, "imageWidth": 90000}', "x.json", ["claims 90000×90000 pixels"]),
    (b'{"shapes": [], "imageHeight": -1, "imageWidth": 5}', "x.json", ["claims 5×-1 pixels"]),
    (coco((0, ["xxxxxx"])), "a.json#7", ["make no sense"]),
    (b"{", "x.json", ["make no sense", "JSONDecodeError"]),
    (b"[]", "x.json", ["make no sense"]),
    (b'{"shapes": [{"label": "a", "points": [[1, 1]], "shape_type": "point"}]}', "x.json", ["a point is no outline"]),
    (b"0 0.5 0.5 0.2 0.2\n", "x.txt", ["line 1", "4 numbers"]),
    (b"0 a b c d e f\n", "x.txt", ["make no sense"]),
    (b"\xff\xfe", "x.txt", ["make no sense", "UnicodeDecodeError"]),
])
def test_damaged_outlines_are_unreadable(content, name, words):
    with pytest.raises(Unreadable) as caught:
        drawn(content, name)
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("content, words", [
    (b"no json", "JSONDecodeError"), (b"[]", "TypeError"), (b"{}", "KeyError: 'categories'"),
    (coco((9, [SQUARE])), "KeyError: 9"), (coco(images=[{"id": 1}]), "'file_name'"),
    (coco(images=[{"id": 1, "file_name": 4}]), "file_name is no text"), (coco(categories=[3]), "TypeError"),
])
def test_what_is_no_coco_file_ends_in_one_line(content, words):
    with pytest.raises(UserError) as caught:
        outlines.coco("a.json", {"a.json": content}.get)
    assert words in str(caught.value) and "export it again" in str(caught.value) and "\n" not in str(caught.value)
