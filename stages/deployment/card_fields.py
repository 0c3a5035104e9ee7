"""The fields of a deployed model's card that all models of a run share, from the prepared data set and params.yaml."""

from stages.core import params
from stages.data import prepared
from stages.data.image_size import shortest


class Resizing(params.Section, extra="ignore"):
    """The keys of section `split` that a model's card repeats; stages/split.py checks their values."""

    resize: str
    scale: float
    overlap: int


def card_fields() -> dict[str, object]:
    """The fields of onnx_model.Card that are the same for all models of a run, in the card's order."""
    return {"classes": tuple(prepared.classes()), "image_size": shortest(prepared.image_size()),
            **params.load("split", Resizing).model_dump(), "task": params.load_word("data.task")}
