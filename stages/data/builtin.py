"""Data sets that need no download. Out: the files that an archive of them would hold, one by one, as (path, bytes).

Both are made of scikit-learn's 1797 handwritten digits, 8×8 in 17 levels: Alpaydin and Kaynak, "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32  # pixels: the smallest image that small ResNets are made for
CANVAS = 64  # height and width of a scene
SCENES = {"test": 200, "train": 700, "val": 100}
SMALLEST, LARGEST = 22, 30  # pixels, height and width of a digit
COVERS = 128  # of 255: from here on a pixel belongs to what is laid over it
STEEPER = [min(max(2 * level - COVERS, 0), 255) for level in range(256)]  # edges twice as steep, in the same place
IN_SIGHT = 0.75  # the share of a digit's pixels that is never covered
NOISE = 15  # levels, up or down, on every pixel
INK, SHADE = (150, 256), (0, 130)  # levels of digits and of all that is none: a minute on two cores tells them apart


def digits() -> Iterator[tuple[str, bytes]]:
    """A digit an image, at 32×32: `digits/<class>/<NNNN>.png`."""
    grey, labels = _source()
    for number in np.lexsort((np.arange(len(grey)), labels)):
        image = Image.fromarray(grey[number]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        yield f"digits/{labels[number]}/{number:04d}.png", _png(image)


def digit_scenes() -> Iterator[tuple[str, bytes]]:
    """Two to five digits in clutter: `digit_scenes/<split>/images/<NNNN>.png`, and in `masks/` what each pixel shows.

    A mask's pixel is 0, or 1 + the digit that is seen there. What is drawn depends on the split and the number alone,
    and no digit of one split is used in another.
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
    """The numbers of the digits that each split's scenes are made of: of ten of a class 7 train, 1 val, 2 test."""
    place = np.empty_like(labels)  # of each digit among those of its class
    for label in np.unique(labels):
        place[labels == label] = np.arange((labels == label).sum()) % 10
    return {"train": np.flatnonzero(place < 7), "val": np.flatnonzero(place == 7), "test": np.flatnonzero(place > 7)}


def _source() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N,8,8), and which digits they are (N,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.rint(found.images * (255 / 16)).astype(np.uint8), found.target


class Canvas:
    """A picture on which things are laid, one over the other, and to which digit each of its pixels belongs."""

    def __init__(self, picture: Image.Image):
        self.picture = picture
        self.owner = np.zeros((CANVAS, CANVAS), np.uint8)  # 0: no digit; 1, 2, …: the first, the second
        self.inked = [0]  # the pixels that each of them had

    def lay(self, alpha: Image.Image, colour: np.ndarray, digit: bool) -> bool:
        """colour: (3,). Not done, and False, if it would leave too little of a digit in sight."""
        covered = np.asarray(alpha) >= COVERS
        owner = np.where(covered, np.uint8(len(self.inked) if digit else 0), self.owner)
        seen = np.bincount(owner.ravel(), minlength=len(self.inked))
        if any(seen[number] < IN_SIGHT * inked for number, inked in enumerate(self.inked)):
            return False
        self.owner = owner
        self.picture.paste(tuple(colour.tolist()), mask=alpha)
        if digit:
            self.inked.append(int(covered.sum()))
        return True


def _scene(grey: np.ndarray, labels: np.ndarray, pool: np.ndarray, chance: np.random.Generator) -> tuple[
        np.ndarray, np.ndarray]:
    """Image uint8 (H,W,3) and mask uint8 (H,W), with digits of `pool`."""
    canvas, classes = Canvas(_background(chance)), [0]
    for _ in range(chance.integers(2, 6)):
        canvas.lay(_clutter(chance, filled=True), chance.integers(*SHADE, 3), digit=False)
    for number in chance.choice(pool, chance.integers(2, 6), replace=False):
        for _ in range(10):  # places tried
            if canvas.lay(_placed(grey[number], chance), chance.integers(*INK, 3), digit=True):
                classes.append(1 + labels[number])
                break
    for _ in range(chance.integers(1, 3)):
        canvas.lay(_clutter(chance, filled=False), chance.integers(*SHADE, 3), digit=False)
    noise = chance.integers(-NOISE, NOISE + 1, (CANVAS, CANVAS, 3), np.int16)
    return (canvas.picture + noise).clip(0, 255).astype(np.uint8), np.array(classes, np.uint8)[canvas.owner]


def _background(chance: np.random.Generator) -> Image.Image:
    """A gradient, and over it coarse and fine patches."""
    smooth, coarse, fine = (Image.fromarray(chance.integers(*SHADE, (side, side, 3), np.uint8)).resize(
        (CANVAS, CANVAS), Image.Resampling.BICUBIC) for side in (2, 7, 20))
    return Image.blend(Image.blend(smooth, coarse, 0.3), fine, 0.2)


def _placed(digit: np.ndarray, chance: np.random.Generator) -> Image.Image:
    """The alpha of a digit, uint8 (8,8), at a random size and place."""
    side = int(chance.integers(SMALLEST, LARGEST + 1))
    left, top = chance.integers(0, CANVAS - side + 1, 2).tolist()
    alpha = Image.new("L", (CANVAS, CANVAS))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    alpha.paste(large.point(STEEPER), (left, top))
    return alpha


def _clutter(chance: np.random.Generator, filled: bool) -> Image.Image:
    """The alpha of a line, an arc, an outline; where it may be filled also of a whole rectangle or ellipse."""
    alpha = Image.new("L", (CANVAS, CANVAS))
    draw, width = ImageDraw.Draw(alpha), int(chance.integers(1, 4))
    (left, right), (top, bottom) = np.sort(chance.integers(-8, CANVAS + 8, (2, 2))).tolist()
    start, end = np.sort(chance.integers(0, 360, 2)).tolist()
    shapes = [partial(draw.line, fill=255, width=width), partial(draw.arc, start=start, end=end, fill=255, width=width),
              partial(draw.rectangle, outline=255, width=width), partial(draw.ellipse, outline=255, width=width)]
    if filled:
        shapes += [partial(draw.rectangle, fill=255), partial(draw.ellipse, fill=255)]
    shapes[chance.integers(len(shapes))]((left, top, right, bottom))
    return alpha


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


SETS = {"digits": digits, "digit_scenes": digit_scenes}
