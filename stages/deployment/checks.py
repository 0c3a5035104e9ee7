"""A deployed file on trial, what it is tried on, and whether it is what it claims to be. In: a `Subject`. Out: an
`Outcome`; whatever can't be judged is raised.
"""

import math
import re
import reprlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydantic

from stages.core import files, params
from stages.core.device import thread_count
from stages.core.errors import UserError
from stages.data import prepared
from stages.deployment import onnx_model
from stages.deployment.preprocessing import Resizing

INDEX = prepared.FOLDER / "index.csv"
BATCH = 16  # images at a time, where only the answers count; memory depends on it


class VerifyParams(params.Section):
    images: int = pydantic.Field(ge=1)  # of the test split that files are tried on, spread evenly; tiles: about so many
    tolerance: float = pydantic.Field(gt=0)  # largest error of a logit, as a share of all logits' standard deviation
    least_agreement: float = pydantic.Field(ge=0, le=100)  # % of images, or pixels, of one class in int8 and in float


class CheckResult(NamedTuple):
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
        found = [row for row in files.read_csv(INDEX) if row["split"] == "test"]
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


class ModelUnderTest:
    """A deployed file, not yet trusted in anything."""

    def __init__(self, name: str, sample: Sample, settings: VerifyParams):
        self.name, self.path, self.sample, self.settings = name, onnx_model.DEPLOYED[name], sample, settings

    @cached_property
    def model(self) -> onnx_model.Model:
        return onnx_model.open_model(self.path, thread_count())

    @property
    def role(self) -> str:
        return "student" if self.name == "int8" else self.name

    @cached_property
    def weights(self) -> Path:
        """Of the network that it should have been made from: of several seeds, the best on val."""
        if self.role == "teacher":
            return onnx_model.FOLDER / "teacher.safetensors"
        folder = onnx_model.FOLDER / self.role
        try:
            return folder / f"seed-{files.read_json(folder / 'seeds.json')['best']}.safetensors"
        except (OSError, ValueError, KeyError):
            raise UserError(f"{folder}/seeds.json is missing or broken; run dvc repro to train the {self.role} again"
                        ) from None


def relative_error(error: float, deviation: float) -> float:
    """A logit's error as a share of the logits' standard deviation; where all are the same, none is small.

    Probabilities depend on differences of logits alone, whose scale the deviation is: an error of e in each moves no
    class's log-odds against another by more than 2e.
    """
    return error / deviation if deviation else math.inf if error else 0.0


def power_of_ten_above(value: float) -> float:
    """The power of ten above it, which a last bit rarely changes."""
    return float(f"1e{math.floor(math.log10(value)) + 1}") if value else 0.0


BATCHES = (1, 2, 32)  # images at a time: a device chooses how many
ROOT = Path(__file__).resolve().parents[2]
DATE = re.compile(r"\d{4}[-/.]\d{2}[-/.]\d{2}|\d{2}:\d{2}:\d{2}")
SHA256 = re.compile("[0-9a-f]{64}")


def well_formed(subject: ModelUnderTest) -> CheckResult:
    """By onnx's own checker, with all types and shapes inferred."""
    import onnx

    if not subject.path.is_file():
        return CheckResult(False, "is missing", {})
    onnx.checker.check_model(str(subject.path), full_check=True)
    size = subject.path.stat().st_size / 1e6
    return CheckResult(True, f"{size:.2f} MB, well formed", {"size_mb": round(size, 4)})


def no_local_paths(subject: ModelUnderTest) -> CheckResult:
    """No string in it, but for the names of classes, holds a date or a path of this machine."""
    import onnx

    model = onnx.load(subject.path)
    for entry in model.metadata_props:
        if entry.key == "classes":
            entry.ClearField("value")
    places = {Path.cwd(), ROOT, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())} - {Path("/")}
    found = list(_strings(model))
    for text in found:
        if place := next((place for place in sorted(places) if f"{place}/" in f"{text}/"), None):
            return CheckResult(False, f"holds a path of this machine, {place}, in {reprlib.repr(text)}", {})
        if date := DATE.search(text):
            return CheckResult(False, f"holds a date, {date.group()}, in {reprlib.repr(text)}", {})
    return CheckResult(True, f"{len(found)} strings, none with a date or a path of this machine", {"strings": len(found)})


def card_matches(subject: ModelUnderTest) -> CheckResult:
    """Its card says what params.yaml, the arrays and the weights say."""
    card, classes, listed = subject.model.card, tuple(prepared.classes()), onnx_model.FOLDER / "classes.txt"
    expected = {"classes": classes, "image_size": subject.sample.size, "task": params.load_word("data.task"),
                **params.load("split", Resizing).model_dump(), "role": subject.role,
                "weights_sha256": files.sha256(subject.weights)}
    for field, right in expected.items():
        if (said := getattr(card, field)) != right:
            return CheckResult(False, f"its card says {field} {reprlib.repr(said)}, but it is {reprlib.repr(right)}", {})
    if (card.form == "float") != (subject.name != "int8"):
        return CheckResult(False, f"its card says form {card.form!r}, which the {subject.name} hasn't", {})
    if not SHA256.fullmatch(card.settings_sha256):
        return CheckResult(False, f"its card says settings_sha256 {reprlib.repr(card.settings_sha256)}, no hash", {})
    numbers = {"mean": 3, "std": 3, "colours": len(classes) if subject.sample.shape else 0}
    for field, right in numbers.items():
        if (count := len(getattr(card, field))) != right:
            return CheckResult(False, f"its card has {count} entries in {field}, and should have {right}", {})
    if tuple(listed.read_text(encoding="utf-8").splitlines()) != classes:
        return CheckResult(False, f"{listed} names other classes than it and {prepared.FOLDER}/classes.txt", {})
    return CheckResult(True, f"{card.role}, {card.form}, {len(classes)} classes, from {subject.weights}",
                   {"classes": len(classes), "image_size": card.image_size})


def batch_invariant(subject: ModelUnderTest) -> CheckResult:
    """uint8 (N,H,W,3) → finite float32 (N,C,*S) for every N, and no image's answer depends on the others."""
    sample, settings, classes = subject.sample, subject.settings, len(prepared.classes())
    images = sample.take([sample.rows[at % len(sample.rows)] for at in range(max(BATCHES))])
    error, same, together = 0.0, 1.0, None
    for count in sorted(BATCHES, reverse=True):
        answers = subject.model(images[-count:])
        if answers.dtype != np.float32 or answers.shape != (count, classes, *sample.shape):
            return CheckResult(False, f"{count} images get {answers.dtype} {answers.shape}, and should get float32 "
                                  f"{(count, classes, *sample.shape)}", {})
        if not np.isfinite(answers).all():
            return CheckResult(False, f"logits of {count} images are not all finite", {})
        together = answers if together is None else together
        error = max(error, float(np.abs(answers - together[-count:]).max()))
        same = min(same, float(np.mean(answers.argmax(1) == together[-count:].argmax(1))))
    error = relative_error(error, float(together.std()))
    said = (f"in batches of {', '.join(map(str, BATCHES))} an image's logits differ by {error:.1e} of all logits' "
            f"deviation (at most {settings.tolerance:g})")
    figures = {"largest": max(BATCHES), "error_below": power_of_ten_above(error)}
    if error <= settings.tolerance or subject.model.card.form != "int8":
        return CheckResult(error <= settings.tolerance, said, figures)
    # Between integers a last bit may become a whole step; there the class is what counts.
    return CheckResult(100 * same >= settings.least_agreement,
                   f"{said}, but {100 * same:.2f} % of the classes are the same (at least "
                   f"{settings.least_agreement:g})", figures | {"same_classes": round(100 * same, 2)})


def same_as_torch(subject: ModelUnderTest) -> CheckResult:
    """Its logits are those of the network that was trained."""
    import torch

    from stages.models import factory

    torch.set_num_threads(thread_count())
    if subject.role == "teacher":
        wanted = params.load("teacher", factory.TeacherParams)
    else:
        wanted = params.load("student", factory.NetworkParams)
    net = factory.load(wanted, subject.weights, len(prepared.classes()))
    error, count, total, squares, rows = 0.0, 0, 0.0, 0.0, subject.sample.rows
    for images in subject.sample.batches(rows):
        with torch.inference_mode():
            expected = net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy().astype(np.float64)
        error = max(error, float(np.abs(subject.model(images) - expected).max()))
        count, total, squares = count + expected.size, total + expected.sum(), squares + np.square(expected).sum()
    error = relative_error(error, math.sqrt(max(0.0, squares / count - (total / count) ** 2)))
    return CheckResult(error <= subject.settings.tolerance,
                   f"{len(rows)} test images; logits differ from torch's by {error:.1e} of all logits' deviation (at "
                   f"most {subject.settings.tolerance:g})", {"images": len(rows), "error_below": power_of_ten_above(error)})


def same_as_float(subject: ModelUnderTest) -> CheckResult:
    """It names the class that the student in float names, of an image or a pixel."""
    student, rows = onnx_model.open_model(onnx_model.DEPLOYED["student"], thread_count()), subject.sample.rows
    same, total = 0, 0
    for images in subject.sample.batches(rows):
        equal = subject.model(images).argmax(1) == student(images).argmax(1)
        same, total = same + int(equal.sum()), total + equal.size
    percent, counted = 100 * same / total, "of the pixels of" if subject.sample.shape else "of"
    return CheckResult(percent >= subject.settings.least_agreement,
                   f"{percent:.2f} % {counted} {len(rows)} test images get the float student's class (at least "
                   f"{subject.settings.least_agreement:g} %)", {"images": len(rows), "percent": round(percent, 2)})


def _strings(message) -> Iterator[str]:
    """All that a protobuf message holds, at any depth, but for raw numbers."""
    for field, value in message.ListFields():
        for part in value if hasattr(value, "__len__") and not isinstance(value, str | bytes) else [value]:
            if field.type == field.TYPE_MESSAGE:
                yield from _strings(part)
            elif field.type == field.TYPE_STRING:
                yield part
            elif field.type == field.TYPE_BYTES and field.name != "raw_data":
                yield part.decode("utf-8", "replace")
