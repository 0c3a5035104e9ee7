"""One picture and the models' answers to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from predict.card import Card
from predict.masks import ClassMap
from predict.sources import Source, read
from stages.core.errors import UserError, one_line
from stages.data.decode import Unreadable, decode_image
from stages.data.tiling import resized, resized_shape, tiles

MAX_LOGITS = 2**31  # bytes: of a row of tiles, which is as wide as the picture


class Answer:
    """A picture's size and each model's answer, logits (C,) or a ClassMap; or the error in their place."""

    def __init__(self, source: Source):
        self.source, self.error, self.outputs = source, source.error, []
        self.width = self.height = 0  # upright
        self.image = None  # as the model sees it, until it is cut into tiles

    def load(self, card: Card) -> Answer:
        """Reads the picture, unless there is an error already, or notes why it can't be read."""
        if self.error:
            return self
        try:
            image = _image(self.source)
            self.width, self.height = image.size
            width = resized_shape(self.height, self.width, card.sizing)[1]
            if card.masks and 4 * len(card.classes) * card.input_size[0] * width > MAX_LOGITS:
                raise Unreadable(f"{width} pixels are too wide for a mask of {len(card.classes)} classes")
            self.image = resized(image, card.sizing)
        except Unreadable as error:
            self.error = one_line(error)
        except MemoryError:
            self._lack_memory()
        return self

    def tiles(self, card: Card) -> Iterator[tuple[int, int, np.ndarray]]:
        """Top, left and pixels of each tile; none where there is an error."""
        if self.image:
            yield from tiles(self.image, card.sizing)
            self.image = None

    def add(self, top: int, left: int, logits: list[np.ndarray], card: Card) -> None:
        """logits: of each model, (C,*S), of the tile that lies there."""
        if not all(np.isfinite(values).all() for values in logits):
            self.error = "the model's answer to it is not finite"
        elif not card.masks:
            self.outputs = logits
        elif not self.error:
            try:
                shape = resized_shape(self.height, self.width, card.sizing)
                self.outputs = self.outputs or [ClassMap(*shape, card) for _ in logits]
            except MemoryError:
                self._lack_memory()
            for output, values in zip(self.outputs, logits):
                output.add(top, left, values)

    def _lack_memory(self) -> None:
        self.error, self.image = "not enough memory for a picture of its size", None


def _image(source: Source) -> Image.Image:
    """RGB, upright. Raises Unreadable; UserError for an array that is none of a picture."""
    picture = source.picture
    if picture is None:
        return decode_image(read(source.path))
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return decode_image(bytes(picture))
    if not isinstance(picture, np.ndarray):
        raise UserError(f"no picture: {type(picture).__name__}; give a file's bytes, or uint8 (H,W,3), RGB")
    is_picture = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if not is_picture or picture.dtype != np.uint8 or not picture.size:
        raise UserError(f"no picture: {picture.dtype} {picture.shape}; give uint8 (H,W,3), RGB, or (H,W), grey")
    return Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")


def top_classes(logits: np.ndarray, classes: list[str], count: int) -> list[dict]:
    """The `count` likeliest classes by softmax. logits: float32 (C,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = powers / powers.sum()
    return [{"class": classes[number], "probability": round(float(probabilities[number]), 6)}
            for number in np.argsort(-logits, kind="stable")[:count]]


def class_shares(counts: np.ndarray, card: Card) -> list[dict]:
    """Of every class, in % of the pixels, the largest first. counts: pixels of each class, (C,)."""
    return [{"class": card.classes[number], "colour": "#{:02x}{:02x}{:02x}".format(*card.colours[number]),
             "share": round(100 * float(counts[number] / counts.sum()), 4)}
            for number in np.argsort(-counts, kind="stable")]
