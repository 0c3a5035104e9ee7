"""A deployed file on trial, what it is tried on, and what a check makes of it."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydantic

from stages.kit import onnx_files, params, prepared, runtime, tables
from stages.kit.faults import Fault

INDEX = prepared.FOLDER / "index.csv"
BATCH = 16  # images at a time, where only the answers count; memory depends on it


class VerifyParams(params.Section):
    images: int = pydantic.Field(ge=1)  # of the test split that files are tried on, spread evenly; tiles: about so many
    tolerance: float = pydantic.Field(gt=0)  # largest error of a logit, as a share of all logits' standard deviation
    least_agreement: float = pydantic.Field(ge=0, le=100)  # % of images, or pixels, of one class in int8 and in float


class Outcome(NamedTuple):
    """What a check has found."""

    passed: bool
    said: str  # with the measured figure
    figures: dict[str, float]  # for metrics/verify.json: none of a machine, few that a last bit changes


class Picture(NamedTuple):
    path: str  # in data/raw.zip
    rows: range  # of the test split's arrays: one, or a row a square


class Sample:
    """The test pictures that all files are tried on."""

    def __init__(self, count: int):
        """Pictures at even distances that make about `count` squares, one picture at least."""
        found = [row for row in tables.read_csv(INDEX) if row["split"] == "test"]
        squares = sum(int(row["windows"]) for row in found)
        number = min(len(found), max(1, round(count * len(found) / squares)))
        chosen = [found[at] for at in np.linspace(0, len(found) - 1, number).round().astype(int)]
        self.pictures = [Picture(row["path"], range(int(row["row"]), int(row["row"]) + int(row["windows"])))
                         for row in chosen]
        self.rows = [row for picture in self.pictures for row in picture.rows]
        self.images, self.windows = prepared.images("test"), prepared.windows("test")
        self.size, self.shape = self.images.shape[1], prepared.targets("test").shape[1:]  # shape: S of the targets

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (N,H,W,3)."""
        return np.ascontiguousarray(self.images[rows])

    def batches(self, rows: Sequence[int]) -> Iterator[np.ndarray]:
        """uint8 (N,H,W,3), N at most BATCH."""
        for start in range(0, len(rows), BATCH):
            yield self.take(rows[start:start + BATCH])


class Subject:
    """A deployed file, not yet trusted in anything."""

    def __init__(self, name: str, sample: Sample, settings: VerifyParams):
        self.name, self.path, self.sample, self.settings = name, onnx_files.DEPLOYED[name], sample, settings

    @cached_property
    def model(self) -> onnx_files.Model:
        return onnx_files.open_model(self.path, runtime.threads())

    @property
    def role(self) -> str:
        return "student" if self.name == "int8" else self.name

    @cached_property
    def weights(self) -> Path:
        """Of the network that it should have been made from: of several seeds, the best on val."""
        if self.role == "teacher":
            return onnx_files.FOLDER / "teacher.safetensors"
        folder = onnx_files.FOLDER / self.role
        try:
            return folder / f"seed-{tables.read_json(folder / 'seeds.json')['best']}.safetensors"
        except (OSError, ValueError, KeyError):
            raise Fault(f"{folder}/seeds.json is missing or broken; run dvc repro to train the {self.role} again"
                        ) from None


def share(error: float, deviation: float) -> float:
    """A logit's error as a share of the logits' standard deviation; where all are the same, none is small.

    Probabilities depend on differences of logits alone, whose scale the deviation is: an error of e in each moves no
    class's log-odds against another by more than 2e.
    """
    return error / deviation if deviation else math.inf if error else 0.0


def bound(value: float) -> float:
    """The power of ten above it, which a last bit rarely changes."""
    return float(f"1e{math.floor(math.log10(value)) + 1}") if value else 0.0
