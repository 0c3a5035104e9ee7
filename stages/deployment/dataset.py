"""What the deployed files take from the prepared data set: fields of their cards, and even samples of images."""

import numpy as np

from stages.core import params
from stages.data import prepared


class Resizing(params.Section, extra="ignore"):
    """The keys of section `split` that a model's card repeats; stages/split.py checks their values."""

    resize: str
    scale: float
    overlap: int


def card_fields() -> dict[str, object]:
    """The fields of onnx_model.Card that are the same for all models of a run, in the card's order."""
    return {"classes": tuple(prepared.classes()), "image_size": prepared.image_size()[0],
            **params.load("split", Resizing).model_dump(), "task": params.load_word("data.task")}


def evenly_spaced(total: int, count: int) -> np.ndarray:
    """Indices of `count` of `total` items, first and last included, or of all where there are fewer. int64 (count,).

    Items sorted by class are likely to give every class.
    """
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)
