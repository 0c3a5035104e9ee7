"""Whether a deployed file is what it claims to be. In: a `ModelUnderTest`. Out: a `CheckResult` of each check.

A check that can't be made raises an exception: UserError, or whatever onnx, onnxruntime or torch raise.
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
from stages.data import prepared
from stages.deployment import onnx_model, overflow
from stages.deployment.card_fields import card_fields
from stages.evaluation import seeds

INDEX = prepared.FOLDER / "index.csv"
BATCH = 16  # images at a time, where only the answers count; memory depends on it
BATCHES = (1, 2, 32)  # images at a time that a device may choose
ROOT = Path(__file__).resolve().parents[2]
DATE = re.compile(r"\d{4}[-/.]\d{2}[-/.]\d{2}|\d{2}:\d{2}:\d{2}")
SHA256 = re.compile("[0-9a-f]{64}")


class VerifyParams(params.Section):
    images: int = pydantic.Field(ge=1)  # of the test split, spread evenly; tiles: about so many
    tolerance: float = pydantic.Field(gt=0)  # largest error of a logit, as a share of all logits' standard deviation
    least_agreement: float = pydantic.Field(ge=0, le=100)  # % of images, or pixels, of one class in int8 and in float
    allow_overflow: bool  # int8 sums may saturate on x86 without VNNI, as with quantize.reduce_range: false


class CheckResult(NamedTuple):
    passed: bool
    message: str  # with the measured figure
    figures: dict[str, float]  # for metrics/verify.json: the same on every machine, but for last bits


class Picture(NamedTuple):
    path: str  # in data/raw.zip
    rows: range  # of the test split's arrays: one, or a row a tile


class Sample:
    """The test pictures that all files are checked on."""

    def __init__(self, count: int):
        """Evenly spaced pictures that make about `count` tiles, one picture at least."""
        index = [row for row in files.read_csv(INDEX, ("split", "row", "windows", "path")) if row["split"] == "test"]
        tiles = sum(int(row["windows"]) for row in index)
        chosen = [index[at] for at in prepared.evenly_spaced(len(index), max(1, round(count * len(index) / tiles)))]
        self.pictures = [Picture(row["path"], range(int(row["row"]), int(row["row"]) + int(row["windows"])))
                         for row in chosen]
        self.rows = [row for picture in self.pictures for row in picture.rows]
        self.images, self.windows = prepared.images("test"), prepared.windows("test")
        self.shape = prepared.targets("test").shape[1:]  # S of the targets

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (N,H,W,3)."""
        return np.ascontiguousarray(self.images[rows])

    def batches(self, rows: Sequence[int]) -> Iterator[np.ndarray]:
        """uint8 (N,H,W,3), N at most BATCH."""
        for start in range(0, len(rows), BATCH):
            yield self.take(rows[start:start + BATCH])


class ModelUnderTest:
    """A deployed file of which nothing is taken for granted."""

    def __init__(self, name: str, sample: Sample, settings: VerifyParams):
        self.name, self.path, self.sample, self.settings = name, onnx_model.DEPLOYED[name], sample, settings
        self.is_small = name in onnx_model.SMALL
        self.role = files.read_metrics("quantisation")["shipped"] if name == "int8" else name.removesuffix("_int8")

    @cached_property
    def model(self) -> onnx_model.Model:
        return onnx_model.open_model(self.path, thread_count())

    @cached_property
    def weights(self) -> Path:
        """Of the network that it should have been made from: of several seeds, the best on val."""
        if self.role == "teacher":
            return onnx_model.FOLDER / "teacher.safetensors"
        return seeds.best_weights(self.role)


def relative_error(error: float, deviation: float) -> float:
    """A logit's error as a share of the logits' standard deviation; infinite where that is 0 and there is an error.

    Probabilities depend on differences of logits alone, whose scale the deviation is: an error of e in each changes the
    log-odds of two classes by at most 2e.
    """
    return error / deviation if deviation else math.inf if error else 0.0


def power_of_ten_above(value: float) -> float:
    """The power of ten above it, which a last bit rarely changes."""
    return float(f"1e{math.floor(math.log10(value)) + 1}") if value else 0.0


def well_formed(subject: ModelUnderTest) -> CheckResult:
    """It passes onnx's own checker, with all types and shapes inferred."""
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
    folders = sorted({Path.cwd(), ROOT, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())} - {Path("/")})
    texts = list(_strings(model))
    for text in texts:
        if folder := next((folder for folder in folders if f"{folder}/" in f"{text}/"), None):
            return CheckResult(False, f"holds a path of this machine, {folder}, in {reprlib.repr(text)}", {})
        if date := DATE.search(text):
            return CheckResult(False, f"holds a date, {date.group()}, in {reprlib.repr(text)}", {})
    return CheckResult(True, f"{len(texts)} strings, none with a date or a path of this machine",
                       {"strings": len(texts)})


def card_matches(subject: ModelUnderTest) -> CheckResult:
    """Its card says what params.yaml, the arrays and the weights say; its metadata, what its graph does."""
    import onnx

    card, classes, listed = subject.model.card, tuple(prepared.classes()), onnx_model.FOLDER / "classes.txt"
    expected = card_fields() | {"role": subject.role, "weights_sha256": files.sha256(subject.weights)}
    for field, right in expected.items():
        if (value := getattr(card, field)) != right:
            return CheckResult(False, f"its card says {field} {reprlib.repr(value)}, but it is {reprlib.repr(right)}",
                               {})
    if (card.form == "float") == subject.is_small:
        return CheckResult(False, f"its card says form {card.form!r}, which the {subject.name} hasn't", {})
    if not SHA256.fullmatch(card.settings_sha256):
        return CheckResult(False, f"its card says settings_sha256 {reprlib.repr(card.settings_sha256)}, no hash", {})
    told = subject.model.session.get_modelmeta().custom_metadata_map
    for key, right in onnx_model.facts(onnx.load(subject.path)).items():
        if (value := told.get(key)) != onnx_model.as_text(right):
            return CheckResult(False, f"its metadata say {key} {value!r}, but it is {right!r}", {})
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
    sample, settings = subject.sample, subject.settings
    images = sample.take([sample.rows[at % len(sample.rows)] for at in range(max(BATCHES))])
    answers = {count: subject.model(images[-count:]) for count in sorted(BATCHES, reverse=True)}
    for count, logits in answers.items():
        shape = (count, len(prepared.classes()), *sample.shape)
        if logits.dtype != np.float32 or logits.shape != shape:
            return CheckResult(False, f"{count} images get {logits.dtype} {logits.shape}, and should get float32 "
                                      f"{shape}", {})
        if not np.isfinite(logits).all():
            return CheckResult(False, f"logits of {count} images are not all finite", {})
    together = answers[max(BATCHES)]
    error = max(float(np.abs(logits - together[-count:]).max()) for count, logits in answers.items())
    error = relative_error(error, float(together.std()))
    same = 100 * min(float(np.mean(logits.argmax(1) == together[-count:].argmax(1)))
                     for count, logits in answers.items())
    passed, figures = error <= settings.tolerance, {"largest": max(BATCHES), "error_below": power_of_ten_above(error)}
    message = (f"in batches of {', '.join(map(str, BATCHES))} an image's logits differ by {error:.1e} of all logits' "
               f"deviation (at most {settings.tolerance:g})")
    if passed or subject.model.card.form != "int8":
        return CheckResult(passed, message, figures)
    # Between integers a last bit may become a full step; there the class is what counts.
    return CheckResult(same >= settings.least_agreement, f"{message}, but {same:.2f} % of the classes are the same (at "
                       f"least {settings.least_agreement:g})", figures | {"same_classes": round(same, 2)})


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
    return CheckResult(error <= subject.settings.tolerance, f"{len(rows)} test images; logits differ from torch's by "
                       f"{error:.1e} of all logits' deviation (at most {subject.settings.tolerance:g})",
                       {"images": len(rows), "error_below": power_of_ten_above(error)})


def same_as_float(subject: ModelUnderTest) -> CheckResult:
    """Its class of an image or a pixel is that of the network that it was made of, in float."""
    network, rows = onnx_model.open_model(onnx_model.DEPLOYED[subject.role], thread_count()), subject.sample.rows
    percent = 100 * float(np.mean(np.concatenate([subject.model(images).argmax(1) == network(images).argmax(1)
                                                  for images in subject.sample.batches(rows)])))
    counted, least = "of the pixels of" if subject.sample.shape else "of", subject.settings.least_agreement
    message = (f"{percent:.2f} % {counted} {len(rows)} test images get the float {subject.role}'s class (at least "
               f"{least:g} %)")
    return CheckResult(percent >= least, message, {"images": len(rows), "percent": round(percent, 2)})


def no_overflow(subject: ModelUnderTest) -> CheckResult:
    """No sum of two products can saturate on a processor that adds them in 16 bits, as x86 without VNNI does.

    It is read off the weights, so that any machine can tell it of all.
    """
    import onnx

    largest, most = overflow.largest_pair(onnx.load(subject.path)), overflow.MOST
    message = f"two products add up to {largest:,} at most, of {most:,} that 16 bits hold"
    if largest <= most:
        return CheckResult(True, message, {"largest_pair": largest})
    return CheckResult(subject.settings.allow_overflow, f"{message}: on x86 with AVX2 and without VNNI it answers "
                       "otherwise", {"largest_pair": largest})


def _strings(message) -> Iterator[str]:
    """All strings of a protobuf message, at any depth, but for the weights' bytes."""
    for field, value in message.ListFields():
        for part in value if hasattr(value, "__len__") and not isinstance(value, str | bytes) else [value]:
            if field.type == field.TYPE_MESSAGE:
                yield from _strings(part)
            elif field.type == field.TYPE_STRING:
                yield part
            elif field.type == field.TYPE_BYTES and field.name != "raw_data":
                yield part.decode("utf-8", "replace")
