"""Makes a set of up to 1000 classes from nothing: a coloured shape on a coloured ground, in two sizes.

A class is one of eleven colours, five shapes, ten other grounds and two sizes: `large red disc on blue`. Each picture
has a place, a tint and a noise of its own, so no two are the same.
"""

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24  # pixels
COLOURS = {"black": (20, 20, 20), "white": (235, 235, 235), "grey": (125, 125, 125), "red": (210, 40, 40),
           "green": (40, 160, 60), "blue": (40, 70, 200), "yellow": (230, 210, 50), "orange": (235, 130, 30),
           "purple": (130, 50, 160), "cyan": (60, 200, 210), "brown": (120, 75, 40)}
SHAPES = ("disc", "square", "diamond", "ring", "cross")
SIZES = {"large": 8.5, "small": 5.0}  # half the width, in pixels
NOISE, SHIFT, TINT = 8.0, 3.0, 15.0  # grey levels; pixels; grey levels
TEST = 3  # of ten images of a class
LARGEST = 1000  # classes


def kinds(classes: int) -> list[tuple[str, str, str, str]]:
    """(size, colour, shape, ground) of each of at most LARGEST classes, spread over all that there are."""
    every = [kind for kind in itertools.product(SIZES, COLOURS, SHAPES, COLOURS) if kind[1] != kind[3]]
    return [every[number * LARGEST // classes] for number in range(classes)]


def picture(kind: tuple[str, str, str, str], generator: np.random.Generator) -> np.ndarray:
    """uint8 (SIDE,SIDE,3)."""
    size, colour, shape, ground = kind
    down, across = np.abs(np.indices((SIDE, SIDE)) - (SIDE - 1) / 2 + generator.uniform(-SHIFT, SHIFT, (2, 1, 1)))
    half, radius = SIZES[size], np.hypot(down, across)
    reach = np.maximum(down, across)
    inside = {"disc": radius <= half, "square": reach <= half * 0.9, "diamond": down + across <= half,
              "ring": (radius <= half) & (radius >= half * 0.55),
              "cross": (reach <= half) & (np.minimum(down, across) <= half * 0.3)}[shape]
    pixels = np.where(inside[..., None], COLOURS[colour], COLOURS[ground]) + generator.normal(0, TINT, 3)
    return np.clip(pixels + generator.normal(0, NOISE, pixels.shape), 0, 255).astype(np.uint8)


def write(path: Path, images: int, classes: int) -> None:
    """A zip of train/<class>/<number>.png and test/<class>/<number>.png, every class as often; the same every time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator, names = np.random.default_rng(0), kinds(classes)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(images):
            size, colour, shape, ground = kind = names[number % classes]
            split = "test" if number // classes % 10 < TEST else "train"
            content = io.BytesIO()
            Image.fromarray(picture(kind, generator)).save(content, "PNG", compress_level=1)
            archive.writestr(f"{split}/{size} {colour} {shape} on {ground}/{number:07}.png", content.getvalue())
