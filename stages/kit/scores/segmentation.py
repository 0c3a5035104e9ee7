"""Scores and pictures of a segmenter. In: logits (N,C,H,W) of squares, targets (N,H,W), < 0: ignored. Out: numbers,
tables, PNGs.

All is counted on whole pictures. A class that no test pixel has is left out of every average over classes: nothing is
known about it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from stages.kit import pictures, statistics, tables, windows

PRIMARY = "miou"  # what gains, gaps and drops are told in
# The words for it: the metric's name, what `compare` tests by, what `agreement` counts.
WORDS = {"primary": PRIMARY, "named": "mean IoU", "paired_test": "Wilcoxon's signed-rank test over the photographs",
         "counted": "test images' pixels"}
# Confidences are summed in so many cells, since not every pixel's can be kept: a multiple of every number of bins up to
# 12, and of 14, 15, 16, 18, 20, 24. For these calibration is exact; else a cell at a border belongs to the lower bin.
CELLS = 55440
SAMPLED = 5000  # pixels at most in the tables that count rows
SHOWN = 10  # test pictures on the sheet


@dataclass(frozen=True)
class Answers:
    """What a model said about a split of P pictures: all that the scores need, and no logits."""

    confusion: np.ndarray  # int64 (P,C,C): pixels of each picture, actual by predicted
    calibration: np.ndarray  # float64 (3,CELLS): pixels, the sum of their confidence, how many are right
    log_loss: float  # nats, summed over the pixels
    predicted: list[np.ndarray]  # P times (H,W), uint8 or uint16
    targets: list[np.ndarray]  # P times (H,W), int8 or int16; below 0 where nothing counts


def collect(batches: Iterable[tuple[np.ndarray, np.ndarray]], places: np.ndarray) -> Answers:
    """All of a split from its batches (logits, targets) of squares; places: int32 (N,5), the rows of windows.npy."""
    confusion, calibration, log_loss, predicted, targets = [], np.zeros((3, CELLS)), 0.0, [], []
    for logits, truth in windows.pictures(places, batches):  # (C,H,W), (H,W)
        classes, valid = len(logits), truth >= 0
        found = logits.argmax(0)
        actual, said = truth[valid].astype(np.int64), found[valid]
        confusion.append(np.bincount(classes * actual + said, minlength=classes**2).reshape(classes, classes))
        top = logits.max(0)
        total = sum(np.exp((logit - top).astype(np.float64)) for logit in logits)  # (H,W): 1 / confidence
        calibration += _cells(1 / total[valid], actual == said)
        own = np.take_along_axis(logits, np.where(valid, truth, 0)[None].astype(np.int64), 0)[0]
        log_loss += float((np.log(total) - (own - top))[valid].sum())
        predicted.append(found.astype(np.min_scalar_type(classes - 1)))
        targets.append(truth.astype(np.min_scalar_type(-classes)))
    return Answers(np.stack(confusion), calibration, log_loss, predicted, targets)


def compare(first: Answers, second: Answers) -> dict[str, float]:
    """paired_gain: by how many points the second is ahead on the mean photograph. p_value: that neither does better on
    a photograph, by Wilcoxon's signed-rank test over their own mean IoUs.

    The pixels of one photograph stand or fall together, so that a test over pixels would be far too sure. IoU, for it
    leads; a photograph's own is what Csurka et al., "What is a good evaluation measure for semantic segmentation?",
    BMVC 2013, compare models by. Photographs without a pixel that counts are left out; 1 where all are equal.
    """
    shown = first.confusion.any((1, 2))
    own = [mean_iou(answers.confusion[shown]) for answers in (first, second)]
    return {"p_value": statistics.wilcoxon(*own), "paired_gain": 100 * float((own[1] - own[0]).mean())}


def agreement(first: Answers, second: Answers) -> float:
    """Share of the pixels that count, in %, about which two models say the same."""
    same = sum(int(((one == other) & (truth >= 0)).sum())
               for one, other, truth in zip(first.predicted, second.predicted, first.targets, strict=True))
    return 100 * same / int(first.confusion.sum())


def measure(answers: Answers, classes: list[str], bins: int) -> dict[str, float | dict[str, float]]:
    """All in %, but log_loss in nats. Averages over classes are macro averages; iou: {class: %} of those present."""
    total = answers.confusion.sum(0)
    shares, pixels, present = each_class(total), int(total.sum()), total.any(1)
    means = {"miou": float(mean_iou(total)), "pixel_accuracy": np.trace(total) / pixels}
    means |= {name: shares[name][present].mean() for name in ("precision", "recall", "f1")}
    means["ece"] = calibration_error(answers, bins)
    return {name: 100 * float(share) for name, share in means.items()} | {
        "log_loss": answers.log_loss / pixels,
        "iou": {classes[label]: 100 * float(shares["iou"][label]) for label in np.flatnonzero(present)}}


def each_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and IoU in [0, 1], each (*,C), from counts (*,C,C), actual by predicted; 0 for 0 of 0."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    actual, predicted = confusion.sum(-1), confusion.sum(-2)
    parts = {"precision": (right, predicted), "recall": (right, actual), "f1": (2 * right, actual + predicted),
             "iou": (right, actual + predicted - right)}
    return {name: part / np.maximum(whole, 1) for name, (part, whole) in parts.items()}


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """(*,C,C) → (*): in [0, 1], over the classes that the truth has, of which there must be one."""
    present = confusion.any(-1)
    return (each_class(confusion)["iou"] * present).sum(-1) / present.sum(-1)


def reliability(answers: Answers, bins: int) -> list[dict[str, float]]:
    """Pixels in equally wide bins (lower, upper] of the top probability: their number, mean probability, accuracy.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2. Empty bins are left out.
    """
    place = np.arange(CELLS) * bins // CELLS
    sums = zip(*(np.bincount(place, values, bins).tolist() for values in answers.calibration), strict=True)
    return [{"from": number / bins, "to": (number + 1) / bins, "pixels": int(pixels),
             "confidence": confidence / pixels, "accuracy": right / pixels}
            for number, (pixels, confidence, right) in enumerate(sums) if pixels]


def calibration_error(answers: Answers, bins: int) -> float:
    """Expected calibration error in [0, 1]: |accuracy − confidence| of `reliability`'s bins, weighted by pixels."""
    rows = reliability(answers, bins)
    return sum(row["pixels"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / answers.calibration[0].sum()


def draw(models: Mapping[str, Answers], classes: list[str], bins: int, photographs: Callable[[int], np.ndarray],
         folder: Path) -> None:
    """Under `folder`: confusion/<model>.csv, classes.csv, reliability.csv, confusion.png (of the last model),
    classes.png, pictures.png.

    photographs: a picture's number → uint8 (H,W,3). DVC's template counts the rows of a confusion table, so that these
    hold a sample, the same pixels for each model: at most SAMPLED of them, at even distances over all pictures.
    """
    for model, answers in models.items():
        tables.write_csv(folder / "confusion" / f"{model}.csv", ("actual", "predicted"),
                         ({"actual": classes[actual], "predicted": classes[predicted]}
                          for actual, predicted in _sample(answers)))
    tables.write_csv(folder / "classes.csv", ("model", "class", "precision", "recall", "f1", "iou", "support"),
                     (row for model, answers in models.items() for row in _rows(model, answers, classes)))
    tables.write_csv(folder / "reliability.csv", ("model", "from", "to", "pixels", "confidence", "accuracy"),
                     ({"model": model} | row | {name: round(100 * row[name], 2) for name in ("confidence", "accuracy")}
                      for model, answers in models.items() for row in reliability(answers, bins)))
    _draw_confusion(*list(models.items())[-1], classes, folder / "confusion.png")
    _draw_classes(models, classes, folder / "classes.png")
    _draw_pictures(models, classes, photographs, folder / "pictures.png")


def _cells(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(M,), bool (M,) → float64 (3,CELLS), as `Answers.calibration` has them; a cell is (lower, upper]."""
    cell = np.clip(np.ceil(confidence * CELLS).astype(int) - 1, 0, CELLS - 1)
    return np.stack([np.bincount(cell, weights, CELLS) for weights in (None, confidence, right)])


def _sample(answers: Answers) -> Iterator[tuple[int, int]]:
    """(actual, predicted) of pixels that count, a constant step apart from picture to picture.

    The step is a prime: one that pictures' width is a multiple of would draw the same columns in every row.
    """
    least = math.ceil(answers.confusion.sum() / SAMPLED)
    step = next(step for step in count(max(1, least)) if all(step % part for part in range(2, math.isqrt(step) + 1)))
    start = step // 2
    for predicted, targets in zip(answers.predicted, answers.targets, strict=True):
        valid = targets >= 0
        actual = targets[valid]
        yield from zip(actual[start::step].tolist(), predicted[valid][start::step].tolist(), strict=True)
        start = (start - len(actual)) % step


def _rows(model: str, answers: Answers, classes: list[str]) -> list[dict[str, object]]:
    total = answers.confusion.sum(0)
    shares = each_class(total)
    return [{"model": model, "class": name, "support": int(total[label].sum())}
            | {share: round(100 * float(values[label]), 2) for share, values in shares.items()}
            for label, name in enumerate(classes)]


def _draw_confusion(model: str, answers: Answers, classes: list[str], path: Path) -> None:
    total = answers.confusion.sum(0)
    right = 100 * np.trace(total) / total.sum()
    pictures.confusion(total, lambda pixels, share: f"{share:.0f}" if share >= 0.5 else "", classes,
                       f"{model}: {right:.2f} % of pixels right,\n{len(answers.targets)} test images", path)


def _draw_classes(models: Mapping[str, Answers], classes: list[str], path: Path) -> None:
    shares = {model: each_class(answers.confusion.sum(0)) for model, answers in models.items()}
    present = np.flatnonzero(next(iter(models.values())).confusion.any((0, 2)))
    pictures.bars({f"{name}, %": {model: 100 * found[name][present] for model, found in shares.items()}
                   for name in ("precision", "recall")}, [classes[label] for label in present], path)


def _draw_pictures(models: Mapping[str, Answers], classes: list[str], photographs: Callable[[int], np.ndarray],
                   path: Path) -> None:
    first = next(iter(models.values()))
    shown = np.linspace(0, len(first.targets) - 1, min(SHOWN, len(first.targets))).round().astype(int).tolist()
    notes = {model: [f"{100 * mean_iou(counts):.0f} %" if counts.any() else "" for counts in answers.confusion]
             for model, answers in models.items()}
    pictures.sheet(shown, photographs, {"truth": first.targets} | {
        model: answers.predicted for model, answers in models.items()}, notes, classes, path)
