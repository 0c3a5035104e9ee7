"""How many digits drawn by script are read: as they are, and brought to the training images' form, as the demo does it.

    python -m benchmarks.drawn_digits [--rounds 16]

In: models/, data/prepared/train/ of a run on single digits; Node.js. A round is the ten digits with one pen: a width, a
size, a place and an angle by chance, and in turn dark on light and light on dark.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from math import cos, radians, sin
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from demo import strokes
from stages.core import errors
from stages.core.errors import UserError
from stages.data import tiling
from stages.deployment import onnx_model

HERE = Path(__file__).parent
DEMO = HERE.parent / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drawn_digits", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=16)
    rounds = parser.parse_args().rounds
    models = {name: onnx_model.open_model(onnx_model.DEPLOYED[name], 1) for name in ("teacher", "student", "int8")}
    card = models["int8"].card
    if list(card.classes) != list("0123456789"):
        raise UserError("models/student.int8.onnx reads other things than digits; run the preset digits")
    chance = np.random.default_rng(0)
    drawn = [picture(digit, **pen) for pen in map(random_pen, [chance] * rounds, range(rounds)) for digit in DIGITS]
    sizing = tiling.Sizing(*card.input_size, card.resize, card.scale, card.overlap)
    plain = [tiling.cut_image(rgb(one), sizing)[0] for one in drawn]
    with tempfile.TemporaryDirectory() as folder:
        formed = as_trained(Path(folder), drawn, strokes.training_form(card.classes), *card.input_size)
    truth = np.tile(np.arange(10), rounds)
    print(f"{10 * rounds} digits, % read{'':<4}  " + "".join(f"{digit:>5}" for digit in range(10)) + "  all")
    for name, model in models.items():
        for form, images in (("as they are", plain), ("brought to form", formed)):
            right = are_read(model, images, truth).reshape(rounds, 10)
            print(f"{name:<8}{form:<17}" + "".join(f"{100 * share:5.0f}" for share in (*right.mean(0), right.mean())))


def are_read(model: Callable[[np.ndarray], np.ndarray], images: list[np.ndarray | None],
             truth: np.ndarray) -> np.ndarray:
    """bool (N,): which images, uint8 (H,W,3), are read as what they show; None, without strokes, never is."""
    return np.array([image is not None and model(image[None]).argmax() == label
                     for image, label in zip(images, truth, strict=True)])


def random_pen(chance: np.random.Generator, number: int) -> dict:
    dark, light = int(chance.integers(0, 80)), int(chance.integers(180, 256))
    ink, ground = (dark, light) if number % 2 else (light, dark)
    return {"width": chance.uniform(4, 18), "ink": ink, "ground": ground, "size": chance.uniform(0.5, 0.85),
            "shift": tuple(chance.uniform(-12, 12, 2)), "turn": chance.uniform(-10, 10),
            "stretch": chance.uniform(0.75, 1.15)}


def arc(x: float, y: float, wide: float, high: float, start: float, end: float) -> list[tuple[float, float]]:
    """Part of an ellipse, by angles in degrees: 0 to the right, 90 down."""
    angles = np.radians(np.linspace(start, end, 24))
    return [(x + wide * float(np.cos(angle)), y + high * float(np.sin(angle))) for angle in angles]


# Strokes, each [(x, y), …], on a pad of 100 × 100. The 7 has no bar, the 1 no foot.
DIGITS = [
    [arc(50, 50, 26, 40, -90, 270)],
    [[(36, 28), (54, 10), (54, 90)]],
    [[*arc(50, 32, 24, 22, 180, 375), (26, 90), (76, 90)]],
    [[*arc(46, 30, 24, 20, 200, 450), *arc(46, 70, 26, 20, -90, 160)]],
    [[(60, 90), (60, 10), (24, 64), (78, 64)]],
    [[(72, 10), (34, 10), (30, 46), *arc(48, 66, 26, 24, 230, 500)]],
    [[(64, 10), (52, 20), (42, 34), (34, 50), (29, 64), *arc(50, 68, 21, 21, 190, 550)]],
    [[(24, 10), (76, 10), (42, 90)]],
    [[*arc(50, 30, 19, 20, 90, 450), *arc(50, 70, 23, 20, -90, 270)]],
    [[*arc(50, 34, 22, 24, 0, 360), (70, 60), (62, 90)]],
]


def picture(strokes: list[list[tuple[float, float]]], width: float, ink: int, ground: int, side: int = 200,
            size: float = 0.8, shift: tuple[float, float] = (0, 0), turn: float = 0,
            stretch: float = 1) -> np.ndarray:
    """uint8 (side,side): drawn with a round pen of a width in pixels; turned by degrees, stretched in width."""
    fine = 4 * side
    image = Image.new("L", (fine, fine), ground)
    draw, pen = ImageDraw.Draw(image), 4 * width / 2
    for stroke in strokes:
        centred = [(stretch * (x - 50), y - 50) for x, y in stroke]
        turned = [(x * cos(radians(turn)) - y * sin(radians(turn)), x * sin(radians(turn)) + y * cos(radians(turn)))
                  for x, y in centred]
        points = [(fine * (0.5 + size * x / 100) + 4 * shift[0], fine * (0.5 + size * y / 100) + 4 * shift[1])
                  for x, y in turned]
        draw.line(points, ink, round(2 * pen))
        for x, y in points:
            draw.ellipse((x - pen, y - pen, x + pen, y + pen), ink)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def rgb(images: np.ndarray) -> np.ndarray:
    """(…,H,W) → (…,H,W,3)."""
    return np.repeat(images[..., None], 3, -1)


def as_trained(folder: Path, pictures: list[np.ndarray], form: dict, height: int,
               width: int) -> list[np.ndarray | None]:
    """What demo/strokes.js makes of grey pictures: uint8 (height,width,3) each, None where it finds no strokes."""
    cases = {"form": form, "tile": {"height": height, "width": width},
             "pictures": [{"name": str(number), "height": one.shape[0], "width": one.shape[1]}
                          for number, one in enumerate(pictures)]}
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    for number, one in enumerate(pictures):
        np.concatenate([rgb(one), np.full((*one.shape, 1), 255, np.uint8)], -1).tofile(folder / f"{number}.rgba")
    subprocess.run(["node", HERE / "strokes.mjs", DEMO / "resize.js", DEMO / "strokes.js", folder], check=True)
    formed = [np.fromfile(folder / f"{number}.formed", np.uint8) for number in range(len(pictures))]
    return [one.reshape(height, width, 3) if len(one) else None for one in formed]


if __name__ == "__main__":
    errors.run(main)
