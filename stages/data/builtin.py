"""Data sets that need no download, as (path, bytes) of the files that their archive would hold.

Both are made from scikit-learn's 1797 handwritten digits, 8×8 pixels in 17 levels: Alpaydin and Kaynak, "Optical
Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

import io
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32  # height and width of a digit's image: the smallest that small ResNets are made for
CANVAS = 64  # height and width of a scene
SCENES = {"test": 200, "train": 700, "val": 100}
DIGIT_SIDES = (22, 31)  # range of a digit's height and width in a scene
COVERS = 128  # of 255: alpha from which a pixel belongs to the upper object
STEEPER = [min(max(2 * level - COVERS, 0), 255) for level in range(256)]  # edges twice as steep, in the same place
MIN_VISIBLE = 0.75  # share of a digit's pixels that always stays uncovered
NOISE = 15  # levels, up or down, added to every pixel
INK, SHADE = (150, 256), (0, 130)  # levels of digits, and of all else: learnable in a minute on two cores


def digits() -> Iterator[tuple[str, bytes]]:
    """One 32×32 image per digit: `digits/<class>/<NNNN>.png`."""
    grey, labels = _source()
    for number in np.lexsort((np.arange(len(grey)), labels)):
        image = Image.fromarray(grey[number]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        yield f"digits/{labels[number]}/{number:04d}.png", _png(image)


def digit_scenes() -> Iterator[tuple[str, bytes]]:
    """Two to five digits in clutter: `digit_scenes/<split>/images/<NNNN>.png` and masks of the same names in `masks/`.

    A mask's pixel is 0, or 1 + the digit visible there. A scene depends only on its split and number, and no digit is
    used in two splits.
    """
    grey, labels = _source()
    pools = division(labels)
    for number, (split, count) in enumerate(SCENES.items()):
        scenes = [_scene(grey, labels, pools[split], np.random.Generator(np.random.Philox(key=[number, scene])))
                  for scene in range(count)]
        for folder, pictures in zip(("images", "masks"), zip(*scenes, strict=True), strict=True):
            for scene, picture in enumerate(pictures):
                yield f"digit_scenes/{split}/{folder}/{scene:04d}.png", _png(Image.fromarray(picture))


def division(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Indices of the digits for each split's scenes: of every ten of a class 7 train, 1 val, 2 test."""
    rank = np.empty_like(labels)  # of each digit among those of its class, modulo ten
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum()) % 10
    return {"train": np.flatnonzero(rank < 7), "val": np.flatnonzero(rank == 7), "test": np.flatnonzero(rank > 7)}


def _source() -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N,8,8), and which digits they show, (N,)."""
    # The file that sklearn.datasets.load_digits reads: importing that takes four times as long as all of `digits`.
    table = np.loadtxt(Path(find_spec("sklearn").origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    grey, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    return np.rint(grey * (255 / 16)).astype(np.uint8), labels.astype(int)


class Canvas:
    """A picture under construction, and which digit each of its pixels belongs to."""

    def __init__(self, picture: Image.Image):
        self.picture = picture
        self.owner = np.zeros((CANVAS, CANVAS), np.uint8)  # 0: no digit; 1, 2, …: in the order of drawing
        self.areas = [0]  # pixels of each digit when it was drawn

    def lay(self, alpha: Image.Image, colour: np.ndarray, digit: bool) -> bool:
        """Draws an object of a colour (3,) over the picture. False, and not drawn, if it covers too much of a digit."""
        covered = np.asarray(alpha) >= COVERS
        owner = np.where(covered, np.uint8(len(self.areas) if digit else 0), self.owner)
        visible = np.bincount(owner.ravel(), minlength=len(self.areas))[:len(self.areas)]
        if (visible < MIN_VISIBLE * np.array(self.areas)).any():
            return False
        self.owner = owner
        self.picture.paste(tuple(colour.tolist()), mask=alpha)
        if digit:
            self.areas.append(int(covered.sum()))
        return True


def _scene(grey: np.ndarray, labels: np.ndarray, pool: np.ndarray,
           rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Image, uint8 (H,W,3), and mask, uint8 (H,W), with digits of `pool`."""
    canvas, classes = Canvas(_background(rng)), [0]
    for _ in range(rng.integers(2, 6)):
        canvas.lay(_clutter(rng, filled=True), rng.integers(*SHADE, 3), digit=False)
    for number in rng.choice(pool, rng.integers(2, 6), replace=False):
        # Up to ten places are tried.
        if any(canvas.lay(_placed(grey[number], rng), rng.integers(*INK, 3), digit=True) for _ in range(10)):
            classes.append(1 + labels[number])
    for _ in range(rng.integers(1, 3)):
        canvas.lay(_clutter(rng, filled=False), rng.integers(*SHADE, 3), digit=False)
    noise = rng.integers(-NOISE, NOISE + 1, (CANVAS, CANVAS, 3), np.int16)
    return (canvas.picture + noise).clip(0, 255).astype(np.uint8), np.array(classes, np.uint8)[canvas.owner]


def _background(rng: np.random.Generator) -> Image.Image:
    """A gradient with coarse and fine patches."""
    smooth, coarse, fine = (Image.fromarray(rng.integers(*SHADE, (side, side, 3), np.uint8)).resize(
        (CANVAS, CANVAS), Image.Resampling.BICUBIC) for side in (2, 7, 20))
    return Image.blend(Image.blend(smooth, coarse, 0.3), fine, 0.2)


def _placed(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Alpha of a digit, uint8 (8,8), at a random size and position."""
    side = int(rng.integers(*DIGIT_SIDES))
    left, top = rng.integers(0, CANVAS - side + 1, 2).tolist()
    alpha = Image.new("L", (CANVAS, CANVAS))
    alpha.paste(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC).point(STEEPER), (left, top))
    return alpha


def _clutter(rng: np.random.Generator, filled: bool) -> Image.Image:
    """Alpha of a line, an arc or an outline; if `filled`, perhaps of a solid rectangle or ellipse."""
    alpha = Image.new("L", (CANVAS, CANVAS))
    draw, width = ImageDraw.Draw(alpha), int(rng.integers(1, 4))
    (left, right), (top, bottom) = np.sort(rng.integers(-8, CANVAS + 8, (2, 2))).tolist()
    start, end = np.sort(rng.integers(0, 360, 2)).tolist()
    shapes = [partial(draw.line, fill=255, width=width), partial(draw.arc, start=start, end=end, fill=255, width=width),
              partial(draw.rectangle, outline=255, width=width), partial(draw.ellipse, outline=255, width=width)]
    if filled:
        shapes += [partial(draw.rectangle, fill=255), partial(draw.ellipse, fill=255)]
    shapes[rng.integers(len(shapes))]((left, top, right, bottom))
    return alpha


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


SETS = {"digits": digits, "digit_scenes": digit_scenes}
