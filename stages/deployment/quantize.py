"""How a model is made small, and what that costs on val. In: a float model, images of train and val. Out: small models.

Three ways: int8 arithmetic (`static`), or float arithmetic with weights stored as int8 (`weights`) or half floats
(`fp16`). Nothing here reads the test split: what is chosen by a score is chosen on val.
"""

from collections.abc import Collection, Iterator
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
WEIGHT_ONLY = {"weights": weight_only.int8_weights, "fp16": weight_only.fp16_weights}
RANKING_IMAGES = 64  # of val, by whose logits layers are ranked
BATCH = 64


class QuantizeParams(params.Section):
    mode: Literal["static", "weights", "fp16"]  # int8 arithmetic | int8 weights | half-float weights, both in float
    per_channel: bool  # static: a scale for each output channel of the weights; false: one a tensor
    reduce_range: bool  # static: weights within ±64, so that every processor answers the same; false: within ±127
    calibration_images: int = pydantic.Field(ge=1)  # of train, spread evenly; all where there are fewer
    max_drop: float = pydantic.Field(ge=0, le=100)  # points on val that the small model may be behind the float one
    ship: Literal["best", "student", "baseline"]  # whose network it is made of; best: of the higher mean score on val
    remedy: Literal["none", "layers"]  # static, where it is further behind: nothing | its worst layers stay float


class Candidate(NamedTuple):
    """One way of making a model small, and what it is worth."""

    settings: QuantizeParams | None  # None: the float model itself
    excluded_nodes: list[str]  # layers that stay float
    model: ModelProto
    val: float  # score on val, in %
    size: int = 0  # bytes; this and the latency are measured by deployment/explore.py
    latency: float = 0.0  # seconds an image


class Quantiser(NamedTuple):
    """A float model, ready to be made small."""

    model: ModelProto
    settings: QuantizeParams
    calibrated: int8.Calibrated | None  # of mode static

    def quantised(self, excluded_nodes: Collection[str] = ()) -> ModelProto:
        """The small model. excluded_nodes: layers that stay float in mode static."""
        if self.calibrated:
            return self.calibrated.quantised(self.settings.per_channel, self.settings.reduce_range, excluded_nodes)
        return WEIGHT_ONLY[self.settings.mode](self.model)


@contextmanager
def quantiser(model: ModelProto, settings: QuantizeParams, centred: bool) -> Iterator[Quantiser]:
    """Mode static is calibrated on images of train. centred: as int8.calibrated has it."""
    if settings.mode != "static":
        yield Quantiser(model, settings, None)
        return
    images = prepared.images("train")
    calibration = np.ascontiguousarray(images[prepared.evenly_spaced(len(images), settings.calibration_images)])
    with int8.calibrated(model, calibration, centred) as calibrated:
        yield Quantiser(model, settings, calibrated)


class ValScorer:
    """The score of a model on val, in %."""

    def __init__(self, task: str):
        self.score = plugins.module("tasks/*/metric", task, "data.task").Score
        self.images, self.targets = prepared.images("val"), prepared.targets("val")

    def __call__(self, model: ModelProto) -> float:
        import torch

        session, score = _session(model), self.score()
        for start in range(0, len(self.images), BATCH):
            rows = slice(start, start + BATCH)
            score.update(torch.from_numpy(onnx_model.run(session, np.ascontiguousarray(self.images[rows]))),
                         torch.from_numpy(self.targets[rows].astype(np.int64)))
        return score.values()[score.primary]


def candidates(ready: Quantiser, scorer: ValScorer, least: float) -> list[Candidate]:
    """With no layer in float; then, as `remedy` allows, with the worst 1, 2, 4 …, up to half of them, until one scores
    `least` on val.
    """
    def candidate(excluded_nodes: list[str]) -> Candidate:
        small = ready.quantised(excluded_nodes)
        return Candidate(ready.settings, excluded_nodes, small, scorer(small))

    tried = [candidate([])]
    if tried[0].val >= least or not ready.calibrated or ready.settings.remedy == "none":
        return tried
    ranked, count = _worst_first(ready, scorer.images), 1
    while tried[-1].val < least and 2 * count <= len(ranked):
        tried.append(candidate(ranked[:count]))
        count *= 2
    return tried


def best(tried: list[Candidate]) -> Candidate:
    """The best on val; of equals the one with the fewest layers in float."""
    return max(tried, key=lambda candidate: (candidate.val, -len(candidate.excluded_nodes)))


def _worst_first(ready: Quantiser, images: np.ndarray) -> list[str]:
    """The layers, first the one that, staying float alone, brings the logits nearest to the float model's."""
    images = np.ascontiguousarray(images[prepared.evenly_spaced(len(images), RANKING_IMAGES)])
    expected = onnx_model.run(_session(ready.model), images)
    errors = {name: np.square(onnx_model.run(_session(ready.quantised([name])), images) - expected).mean()
              for name in ready.calibrated.layers()}
    return sorted(errors, key=lambda name: (errors[name], name))


def _session(model: ModelProto):
    return onnx_model.session(model.SerializeToString(), thread_count())
