"""From the logits of a picture's tiles to the mask of the picture, and to a PNG file."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import unicodedata
from collections import Counter
from pathlib import Path, PurePath

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, features

from predict.card import OUTSIDE, Card
from predict.output import atomic_output
from predict.sources import Source
from stages.core.errors import printable
from stages.data.tiling import Blender, used_shape


class ClassMap:
    """The class of each pixel, uint8 (H,W), as the model saw the picture, from the logits of its tiles."""

    def __init__(self, height: int, width: int, card: Card):
        self.classes, self.filled = np.empty((height, width), np.uint8), 0  # filled: rows
        self.counts = np.zeros(len(card.classes), np.int64)  # pixels of each class
        self.blender = Blender(len(card.classes), height, width, card.input_size)

    def add(self, top: int, left: int, logits: np.ndarray) -> None:
        """logits: float32 (C,H,W) of the next tile, row by row."""
        self._fill(self.blender.add(top, left, logits))

    def finish(self) -> np.ndarray:
        self._fill(self.blender.rest())
        return self.classes

    def _fill(self, logits: np.ndarray) -> None:
        classes = logits.argmax(0)
        self.counts += np.bincount(classes.ravel(), minlength=len(self.counts))
        self.classes[self.filled:self.filled + len(classes)] = classes
        self.filled += len(classes)


def enlarge(classes: np.ndarray, height: int, width: int, card: Card) -> np.ndarray:
    """uint8 (height,width): the class of the nearest pixel that the model saw, OUTSIDE where it saw none."""
    mask = classes
    for axis, (side, used) in enumerate(zip((height, width), used_shape(height, width, card.sizing))):
        at = np.floor((np.arange(side) + 0.5 - (side - used) / 2) * classes.shape[axis] / used).astype(int)
        mask = mask.take(at.clip(0, classes.shape[axis] - 1), axis)
        outside = np.flatnonzero((at < 0) | (at >= classes.shape[axis]))
        mask[(slice(None),) * axis + (outside,)] = OUTSIDE
    return mask


class MaskFolder:
    """Writes masks into a folder. Only a mask of the same picture is ever overwritten."""

    def __init__(self, folder: Path, card: Card):
        self.folder, self.tried = folder, Counter()
        self.palette = [level for colour in card.colours for level in colour]
        self.options = {}
        if card.resize == "crop":
            self.palette += [0] * (3 * 256 - len(self.palette))  # as many bits a pixel as OUTSIDE takes
            self.options = {"transparency": OUTSIDE}
        self._save(_legend(card), "legend", json.dumps([card.classes, card.colours]))

    def write(self, mask: np.ndarray, source: Source) -> str:
        """mask: uint8 (H,W). → the path of its file."""
        image = Image.fromarray(mask)
        image.putpalette(self.palette)
        return str(self._save(image, source.name, source.subject(), **self.options))

    def _save(self, image: Image.Image, name: str, subject: str, **options) -> Path:
        """subject: what the image is of. Its hash stands in the file, which tells whether it may be overwritten."""
        # A name of 255 bytes is the longest that a file may have, and may not be UTF-8.
        stem = os.fsencode(PurePath(name).name)[:200].decode("utf-8", "ignore") or "picture"
        name = str(PurePath(name).with_name(stem) if PurePath(name).name else stem)
        digest = hashlib.sha256(os.fsencode(subject)).hexdigest()[:16]
        while True:
            self.tried[name] += 1
            number = f"-{self.tried[name]}" if self.tried[name] > 1 else ""
            path = self.folder / f"{name}{number}.png"
            if not os.path.lexists(path) or _stored_digest(path) == digest:
                break
        path.parent.mkdir(parents=True, exist_ok=True)
        info = PngImagePlugin.PngInfo()
        info.add_text("picture", digest)
        with atomic_output(path, "wb") as file:
            image.save(file, "PNG", pnginfo=info, **options)
        return path


def _stored_digest(path: Path) -> str | None:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("picture")
    except Exception:  # whatever it is, it is none of ours
        return None


def _legend(card: Card) -> Image.Image:
    """A patch of its colour before each class's name."""
    is_scalable = features.check("freetype2") and "size" in inspect.signature(ImageFont.load_default).parameters
    font, line = ImageFont.load_default(14) if is_scalable else ImageFont.load_default(), 26
    names = [_in_ascii(name) for name in card.classes]
    image = Image.new("RGB", (52 + math.ceil(max(map(font.getlength, names))), 8 + line * len(names)), "white")
    draw = ImageDraw.Draw(image)
    for number, (name, colour) in enumerate(zip(names, card.colours)):
        y = 4 + line * number
        draw.rectangle((8, y + 4, 32, y + line - 4), tuple(colour), "grey")
        draw.text((42, y + line // 2), name, "black", font, "lm" if is_scalable else None)
    return image


def _in_ascii(name: str) -> str:
    """In the letters that Pillow's own font has: accents left out, and what still is none as Python writes it."""
    letters = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return printable(letters.encode("ascii", "backslashreplace").decode())
