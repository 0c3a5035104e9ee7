"""How a model is made small, and what that costs on val. In: a float model, images of train and val. Out: small models.

Three ways: int8 arithmetic (`static`), or float arithmetic with weights stored as int8 (`weights`) or half floats
(`fp16`). Nothing here sees the test split: what is chosen by a score is chosen on val.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import pydantic
from onnx import ModelProto

from stages.core import params, plugins
from stages.core.device import thread_count
from stages.data import prepared
from stages.deployment import int8, onnx_model, weight_only

FORMS = {"static": "int8", "weights": "int8 weights", "fp16": "fp16 weights"}  # as the card has them
ASKED = 64  # images by whose logits layers are compared
BATCH = 64


class QuantizeParams(params.Section):
    mode: Literal["static", "weights", "fp16"]  # int8 arithmetic | int8 weights | half-float weights, both in float
    per_channel: bool  # static: a scale for each output channel of the weights; false: one a tensor
    calibration_images: int = pydantic.Field(ge=1)  # of train, spread evenly; all where there are fewer
    max_drop: float = pydantic.Field(ge=0, le=100)  # points on val that the small model may be behind the float one
    remedy: Literal["none", "layers"]  # static, where it is further behind: nothing | its worst layers stay float


class Quantiser:
    """A float model, ready to be made small."""

    def __init__(self, model: ModelProto, static: int8.Calibrated | None):
        self.model, self.static = model, static

    def small(self, settings: QuantizeParams, in_float: list[str]) -> ModelProto:
        """in_float: layers of `static` that stay as they are."""
        if settings.mode == "static":
            return self.static.quantised(settings.per_channel, in_float)
        return {"weights": weight_only.int8_weights, "fp16": weight_only.fp16_weights}[settings.mode](self.model)


@contextmanager
def quantiser(model: ModelProto, settings: QuantizeParams, calibration: np.ndarray,
              centred: bool) -> Iterator[Quantiser]:
    """calibration: uint8 (N,H,W,3), of train. centred: as deployment/int8.py has it."""
    if settings.mode != "static":
        yield Quantiser(model, None)
        return
    with int8.calibrated(model, calibration, centred) as ready:
        yield Quantiser(model, ready)


def evenly_spaced(images: np.ndarray, count: int) -> np.ndarray:
    """`count` images (N,H,W,3) at even distances, or all of them: however they are sorted, every class is likely in."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    return np.ascontiguousarray(images[rows])


class ValScorer:
    """The score of a model on val, in %."""

    def __init__(self, task: str):
        self.score = plugins.module("tasks/*/metric", task, "data.task").Score
        self.images, self.targets = prepared.images("val"), prepared.targets("val")

    def __call__(self, model: ModelProto) -> float:
        import torch

        session, score = _opened(model), self.score()
        for start in range(0, len(self.images), BATCH):
            rows = slice(start, start + BATCH)
            score.update(torch.from_numpy(_logits(session, self.images[rows])),
                         torch.from_numpy(self.targets[rows].astype(np.int64)))
        return score.values()[score.primary]


class Candidate(NamedTuple):
    """What was tried, and what it is worth."""

    in_float: list[str]  # layers that stay float
    small: ModelProto
    val: float  # its score, in %


def candidates(ready: Quantiser, settings: QuantizeParams, judge: ValScorer, least: float) -> list[Candidate]:
    """With no layer in float; then, as `remedy` allows, with the worst 1, 2, 4 …, up to half of them, until one scores
    `least` on val.

    A layer is the worse, the nearer the logits come to the float model's when it alone stays float.
    """
    def attempt(in_float: list[str]) -> Candidate:
        small = ready.small(settings, in_float)
        return Candidate(in_float, small, judge(small))

    found = [attempt([])]
    if found[0].val >= least or settings.mode != "static" or settings.remedy == "none":
        return found
    ranked, count = _worst_first(ready, settings, judge), 1
    while found[-1].val < least and 2 * count <= len(ranked):
        found.append(attempt(ranked[:count]))
        count *= 2
    return found


def best(found: list[Candidate]) -> Candidate:
    """The best on val; of equals the one with the fewest layers in float."""
    return max(found, key=lambda one: (one.val, -len(one.in_float)))


def _worst_first(ready: Quantiser, settings: QuantizeParams, judge: ValScorer) -> list[str]:
    images = evenly_spaced(judge.images, ASKED)
    expected = _logits(_opened(ready.model), images)
    errors = {name: float(np.square(_logits(_opened(ready.small(settings, [name])), images) - expected).mean())
              for name in ready.static.layers()}
    return sorted(errors, key=lambda name: (errors[name], name))


def _opened(model: ModelProto):
    return onnx_model.session(model.SerializeToString(), thread_count())


def _logits(session, images: np.ndarray) -> np.ndarray:
    return session.run([onnx_model.LOGITS], {onnx_model.IMAGE: np.ascontiguousarray(images)})[0]
