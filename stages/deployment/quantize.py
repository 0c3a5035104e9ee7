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
CHANCE_IMAGES = 2  # of val
ROUNDING = 1e-6  # points: of the losses of exactly so many images a seventh come out larger by a last bit


class QuantizeParams(params.Section):
    mode: Literal["static", "weights", "fp16"]  # int8 arithmetic | int8 weights | half-float weights, both in float
    per_channel: bool  # static: a scale for each output channel of the weights; false: one a tensor
    weight_type: Literal["int8", "uint8"]  # static: uint8 is right on every processor in 8 bits, and slower
    reduce_range: bool  # static, int8: weights within ±64, so that every processor answers the same; false: within ±127
    calibration_images: int = pydantic.Field(ge=1)  # of train, spread evenly; all where there are fewer
    max_drop: float = pydantic.Field(ge=0, le=100)  # points on val that the small model may be behind the float one
    # Whose network it is made of; best: of student and baseline that with the higher mean score on val.
    ship: Literal["best", "student", "baseline", "teacher"]
    remedy: Literal["none", "layers", "forms", "all"]  # static, where it is further behind; see _ways

    @property
    def full_range(self) -> bool:
        """Whether int8 arithmetic is in 8 bits, which saturates on x86 with AVX2 and without VNNI."""
        return self.mode == "static" and self.weight_type == "int8" and not self.reduce_range


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
        settings = self.settings
        if settings.mode != "static":
            return WEIGHT_ONLY[settings.mode](self.model)
        if settings.weight_type == "uint8":
            return int8.unsigned_weights(self.calibrated.quantised(settings.per_channel, False, excluded_nodes))
        return self.calibrated.quantised(settings.per_channel, settings.reduce_range, excluded_nodes)


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

    def least(self, before: float, max_drop: float) -> float:
        """The score on val, in %, from which on a small model is not behind one of the score `before`: max_drop points
        may be lost, and CHANCE_IMAGES whatever share of val they are, since so few say nothing.
        """
        per_image = 100 / len(self.targets) if self.targets.ndim == 1 else 0.0
        return before - max(max_drop, CHANCE_IMAGES * per_image + ROUNDING)


def candidates(ready: Quantiser, scorer: ValScorer, least: float) -> list[Candidate]:
    """As the settings say; then, as `remedy` allows, in other ways, until one scores `least` on val."""
    tried = []
    for settings, excluded_nodes in _ways(ready, scorer.images):
        small = ready._replace(settings=settings).quantised(excluded_nodes)
        tried.append(Candidate(settings, excluded_nodes, small, scorer(small)))
        if tried[-1].val >= least:
            break
    return tried


def _ways(ready: Quantiser, images: np.ndarray) -> Iterator[tuple[QuantizeParams, list[str]]]:
    """Settings, and the layers that stay float: first none; remedy layers: then the worst 1, 2, 4 …, up to half;
    forms: then 8 bits as uint8, and at last int8 weights with float arithmetic. No remedy saturates.
    """
    settings = ready.settings
    yield settings, []
    if settings.mode != "static":
        return
    if settings.remedy in ("layers", "all"):
        ranked, count = _worst_first(ready, images), 1
        while 2 * count <= len(ranked):
            yield settings, ranked[:count]
            count *= 2
    if settings.remedy in ("forms", "all"):
        for change in ({"weight_type": "uint8"}, {"mode": "weights"}):
            yield settings.model_copy(update=change), []


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
