"""The card in a model's metadata, which says how to use it, and what of it is too much to ask for."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

import numpy as np

from stages.core.errors import UserError, one_line
from stages.data.image_size import height_and_width
from stages.data.tiling import Sizing

OUTSIDE = 255  # in a mask: a pixel that the model didn't see
MAX_SIDE = 2**13  # of the tiles that a model sees, in pixels


@dataclass(frozen=True)
class Card:
    """The part of an ONNX file's metadata that is needed here."""

    classes: list[str]
    image_size: int | list[int]  # of the tiles that the model sees, pixels: n for n×n, or [height, width]
    resize: str  # squash: both sides to that | crop: the middle, of that aspect ratio | tiles that cover the picture
    scale: float  # tiles: the picture is resized to this share of its size first
    overlap: int  # tiles: pixels that neighbours share at least
    task: str
    colours: list[list[int]]  # segmentation: (red, green, blue) of each class

    @classmethod
    def read(cls, metadata: dict[str, str], path: str) -> Card:
        """Raises UserError where a field is missing or invalid."""
        metadata = {"colours": "[]"} | metadata
        try:
            card = cls(**{field.name: metadata[field.name] if field.type == "str" else json.loads(metadata[field.name])
                          for field in fields(cls)})
            problem = card._problems()
        except KeyError as error:
            problem = f"no {error.args[0]}"
        except (RecursionError, TypeError, ValueError) as error:
            problem = one_line(error)
        if problem:
            raise UserError(f"{path} doesn't describe itself ({problem}), so it wasn't made here; take a file that dvc "
                            "repro has put into models/")
        return card

    @property
    def masks(self) -> bool:
        """Whether the model draws masks."""
        return self.task == "segmentation"

    @property
    def sizing(self) -> Sizing:
        return Sizing(*self.input_size, self.resize, self.scale, self.overlap)

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the tiles that the model sees."""
        return height_and_width(self.image_size)

    def _problems(self) -> str:
        colours = np.array(self.colours) if self.masks else None
        valid = {
            "classes": self.classes and all(isinstance(name, str) for name in self.classes),
            "image_size": all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in self.input_size),
            "resize": self.resize in ("squash", "crop", "tiles") and (self.masks or self.resize != "tiles"),
            "scale": 0 < self.scale <= 1,
            "overlap": isinstance(self.overlap, int) and 0 <= self.overlap < min(self.input_size),
            "task": self.task in ("classification", "segmentation"),
            "number of classes: a mask has room for 255": not self.masks or len(self.classes) <= OUTSIDE,
            "colours": not self.masks or (colours.shape == (len(self.classes), 3) and colours.dtype.kind == "i"
                                          and (colours >= 0).all() and (colours <= 255).all())}
        return ", ".join(f"odd {name}" for name, is_valid in valid.items() if not is_valid)

    def comparable(self, other: Card) -> bool:
        """Whether both models get the same tiles and answer with the same classes."""
        return all(getattr(self, field.name) == getattr(other, field.name) for field in fields(self)
                   if field.name != "colours")
