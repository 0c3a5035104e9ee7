"""Masks that are stored as outlines, drawn in memory: COCO's JSON (polygons, run lengths), labelme's JSON, YOLO's text.

A mask's name in raw.zip, as a layout gives it: "annotations/train.json#<image id>" of COCO, "x.json" of labelme,
"x.txt" of YOLO. Where outlines overlap the smaller one is seen, as an object before its background.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from stages.core.errors import UserError, one_line
from stages.data.decode import Unreadable
from stages.data.sample import file_and_mask

CORNERS = 64  # of the polygon that is drawn for a circle
LARGEST = 178_956_970  # pixels of a mask, as of an image: a file of a few bytes may claim any number
BEYOND = 10  # times an image's longer side, which a corner may lie from its upper left one
Read = Callable[[str], bytes]
Outline = tuple[str, object]  # its label, and COCO's segmentation: [[x, y, x, y, …], …] or run lengths


class Coco(NamedTuple):
    """A COCO file by its images."""

    images: dict[str, dict]  # image id → its entry: file_name, height, width
    outlines: dict[str, list[Outline]]  # image id → its outlines
    labels: set[str]  # names of the categories that outlines have
    boxed: set[str]  # ids of images with boxes alone: what they show, and not where it ends


def is_outlines(target: str) -> bool:
    """Whether a mask of this name is read here, not by decode.py."""
    return file_and_mask(target)[0].lower().endswith((".json", ".txt"))


def draw(target: str, read: Read, size: tuple[int, int], most: int = LARGEST) -> tuple[np.ndarray, list[str]]:
    """int32 (H,W), and the label of each of its numbers: 0 is "", where no outline is.

    size: (H, W) of the image, for files that don't state it. most: pixels that they may state. Raises Unreadable for a
    file that makes no sense.
    """
    name, number = file_and_mask(target)
    try:
        if number:
            file = coco(name, read)
            entry, outlines = file.images[number], file.outlines[number]
            size = int(entry.get("height") or size[0]), int(entry.get("width") or size[1])
        elif name.lower().endswith(".json"):
            outlines, size = _labelme(json.loads(read(name)), size)
        else:
            outlines = list(_yolo(read(name).decode(), size))
        if not 0 < math.prod(size) <= most:
            raise Unreadable(f"it claims {size[1]}×{size[0]} pixels; at most {most} in all are read")
        return _painted(outlines, size)
    except (Unreadable, UserError, MemoryError):
        raise
    except Exception as error:  # a damaged file may hold anything at any place
        raise Unreadable(f"its outlines make no sense ({type(error).__name__}: {one_line(error)})") from None


@lru_cache(maxsize=16)
def coco(name: str, read: Read) -> Coco:
    """The COCO file of this name; cached, since a file holds thousands of images. Raises UserError if it is none."""
    try:
        content = json.loads(read(name))
        labels = {category["id"]: str(category["name"]) for category in content["categories"]}
        outlines = defaultdict(list)
        for entry in content["annotations"]:
            outlines[str(entry["image_id"])].append((labels[entry["category_id"]], entry.get("segmentation") or []))
        images = {str(entry["id"]): entry for entry in content["images"]}
        missing = [entry for entry in images.values() if not isinstance(entry["file_name"], str)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"data/raw.zip: {name!r} is no COCO file ({type(error).__name__}: {one_line(error)}); it needs "
                        "images, annotations and categories: export it again") from None
    if missing:
        raise UserError(f"data/raw.zip: {name!r} holds an image whose file_name is no text; export it again")
    labels = {label for some in outlines.values() for label, segmentation in some if segmentation}
    boxed = {number for number, some in outlines.items() if not any(segmentation for _, segmentation in some)}
    return Coco(images, outlines, labels, boxed)


def _labelme(content: dict, size: tuple[int, int]) -> tuple[list[Outline], tuple[int, int]]:
    size = int(content.get("imageHeight") or size[0]), int(content.get("imageWidth") or size[1])
    return [(str(shape["label"]), [_corners(shape)]) for shape in content["shapes"]], size


def _corners(shape: dict) -> list[float]:
    """x, y, x, y, … of a shape of labelme."""
    points, kind = shape["points"], shape.get("shape_type", "polygon")
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        points = (left, top), (right, top), (right, bottom), (left, bottom)
    elif kind == "circle":
        (x, y), edge = points
        radius, angles = math.dist((x, y), edge), np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).tolist()
    elif kind != "polygon":
        raise Unreadable(f"a {kind} is no outline; draw a polygon, rectangle or circle")
    return list(chain.from_iterable(points))


def _yolo(text: str, size: tuple[int, int]) -> Iterator[Outline]:
    """Each line: the number of the class, then x and y of each corner as shares of width and height."""
    for number, line in enumerate(text.splitlines(), 1):
        label, *values = line.split() or [""]
        if label and (len(values) < 6 or len(values) % 2):
            raise Unreadable(f"line {number} is no outline: {len(values)} numbers after the class, where x and y of at "
                             "least three corners stand")
        if label:
            yield label, [(np.array(values, float).reshape(-1, 2) * (size[1], size[0])).ravel().tolist()]


def _painted(outlines: Iterable[Outline], size: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    labels = ["", *sorted({label for label, _ in outlines})]
    runs = [(label, run) for label, segmentation in outlines if (run := _run_lengths(segmentation, size))]
    picture = np.zeros(size, np.int32)
    for label, run in sorted(runs, key=lambda pair: -int(coco_mask.area(pair[1]))):  # stable: of two alike the later
        picture[coco_mask.decode(run).astype(bool)] = labels.index(label)
    return picture, labels


def _run_lengths(segmentation: object, size: tuple[int, int]) -> dict | None:
    """pycocotools' form of a segmentation; None for one without an area."""
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        if (height, width) != size:
            raise Unreadable(f"an outline is for {width}×{height} pixels, its image has {size[1]}×{size[0]}")
        if (covered := _covered(segmentation["counts"])) != height * width:  # pycocotools makes up what is missing
            raise Unreadable(f"an outline's run lengths are {covered} pixels, its image has {width}×{height}")
        is_packed = not isinstance(segmentation["counts"], list)
        return segmentation if is_packed else coco_mask.frPyObjects(segmentation, *size)
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6]  # of four numbers it would make a box
    for polygon in polygons:  # pycocotools walks along the whole line, and crashes where it has no end
        if not np.abs(np.array(polygon, float).reshape(-1, 2)).max() <= BEYOND * max(size):
            raise Unreadable(f"an outline leaves its image of {size[1]}×{size[0]} pixels by far")
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size)) if polygons else None


def _covered(counts: list[int] | str) -> int:
    """The sum of run lengths: a list of them, or COCO's text, in which each character holds five bits of a number and
    whether more follow, and a number from the fourth on is the difference to the one two before.
    """
    if isinstance(counts, list):
        return sum(counts)
    lengths, number, shift = [], 0, 0
    for code in (ord(character) - 48 for character in counts):
        number |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                number -= 1 << shift
            lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
            number, shift = 0, 0
    return sum(lengths)
