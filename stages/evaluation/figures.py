"""The plots of a test split that masks and classes share. In: what kit/scores counted. Out: CSVs for DVC, PNGs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from stages.core import files
from stages.evaluation import calibration, plotting
from stages.evaluation.plotting import COLOURS, DPI, GAP, figure

ROWS = 200  # of a precision-recall table at most
WORST = 10  # pairs of classes in the table of the confused
SIDE, LINE = 96, 22  # of their pictures, in pixels: the longer side, the line of text above


class Counts(NamedTuple):
    """What a model's answers come to."""

    rows: Iterable[tuple[int, int]]  # (actual, predicted) of images or sampled pixels, which DVC's template counts
    each: Sequence[Mapping[str, object]]  # a class each, in the columns of classes.csv
    confusion: np.ndarray  # int64 (C,C): images or pixels, actual by predicted
    reliability: Sequence[calibration.Bin]
    curve: tuple[np.ndarray, np.ndarray]  # recall, precision: (T,) each, in [0, 1]


class Pair(NamedTuple):
    """Two classes that a model confuses."""

    actual: int
    predicted: int
    count: int  # images or pixels of the first that are taken for the second
    percent: float  # of the first


def draw(models: Mapping[str, Counts], classes: Sequence[str], counted: str, title: str,
         cell: Callable[[int, float], str], folder: Path) -> list[Pair]:
    """All but the bars of the classes and the test pictures; `confused` of the last model, whose confusion is drawn.

    counted: what there is a number of, images or pixels. title: what comes after "<model>: <accuracy> % of ". cell:
    images or pixels, their share of the row in % → what is written there.
    """
    for model, counts in models.items():
        files.write_csv(folder / "confusion" / f"{model}.csv", ("actual", "predicted"),
                         ({"actual": classes[actual], "predicted": classes[predicted]}
                          for actual, predicted in counts.rows))
    files.write_csv(folder / "classes.csv", ("model", *next(iter(models.values())).each[0]),
                     ({"model": model} | row for model, counts in models.items() for row in counts.each))
    reliability({model: counts.reliability for model, counts in models.items()}, counted, folder)
    precision_recall({model: counts.curve for model, counts in models.items()}, folder)
    model = list(models)[-1]
    confusion = models[model].confusion
    right = 100 * np.trace(confusion) / confusion.sum()
    plotting.confusion(confusion, cell, classes, f"{model}: {right:.2f} % of {title}", folder / "confusion.png")
    return confused(confusion, classes, counted, folder / "confused.csv")


def reliability(models: Mapping[str, Sequence[calibration.Bin]], counted: str, folder: Path) -> None:
    """reliability/<model>.csv, all in %, and reliability.png. counted: what there is a number of, images or pixels."""
    for model, rows in models.items():
        files.write_csv(folder / "reliability" / f"{model}.csv", ("from", "to", counted, "confidence", "accuracy"),
                         ({"from": percent(row.lower), "to": percent(row.upper), counted: row.count,
                           "confidence": percent(row.confidence), "accuracy": percent(row.accuracy)} for row in rows))
    with figure(folder / "reliability.png", 5.2, 4.4, layout="constrained") as drawn:
        axes = drawn.subplots()
        axes.plot((0, 100), (0, 100), color="black", linewidth=0.8, linestyle=":", label="as sure as right")
        for model, rows in models.items():
            shares = np.array([row.count for row in rows]) / sum(row.count for row in rows)
            confidence, accuracy = (100 * np.array([getattr(row, name) for row in rows]) for name in (
                "confidence", "accuracy"))
            axes.plot(confidence, accuracy, color=COLOURS[model], linewidth=0.8, alpha=0.5)
            axes.scatter(confidence, accuracy, s=8 + 150 * shares, color=COLOURS[model], alpha=0.7, linewidths=0,
                         label=model)
        axes.set(xlabel="confidence, %", ylabel=f"right, % of {counted}", xlim=(0, 102), ylim=(-2, 102))
        axes.grid(alpha=0.3)
        for handle in axes.legend(frameon=False).legend_handles[1:]:
            handle.set_sizes([40])


def precision_recall(models: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> None:
    """precision_recall/<model>.csv, in %, and precision_recall.png, of (recall, precision), each (T,) in [0, 1]."""
    models = {model: tuple(100 * values[_even(*curve)] for values in curve) for model, curve in models.items()}
    for model, curve in models.items():
        files.write_csv(folder / "precision_recall" / f"{model}.csv", ("recall", "precision"),
                         ({"recall": round(float(recall), 2), "precision": round(float(precision), 2)}
                          for recall, precision in zip(*curve, strict=True)))
    with figure(folder / "precision_recall.png", 5.2, 4.4, layout="constrained") as drawn:
        axes = drawn.subplots()
        for model, curve in models.items():
            axes.plot(*curve, color=COLOURS[model], label=model)
        axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 102), ylim=(0, 102))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="lower left")


def confused(confusion: np.ndarray, classes: Sequence[str], counted: str, path: Path) -> list[Pair]:
    """The pairs of classes that are most often confused, the worst first; a CSV of them.

    confusion: counts (C,C), actual by predicted. Of equal counts the larger share comes first.
    """
    shares = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    pairs = sorted((Pair(int(actual), int(predicted), int(confusion[actual, predicted]),
                         float(shares[actual, predicted]))
                    for actual, predicted in np.argwhere(confusion) if actual != predicted),
                   key=lambda pair: (-pair.count, -pair.percent))[:WORST]
    files.write_csv(path, ("actual", "predicted", counted, "percent_of_actual"),
                     ({"actual": classes[pair.actual], "predicted": classes[pair.predicted], counted: pair.count,
                       "percent_of_actual": round(pair.percent, 2)} for pair in pairs))
    return pairs


def examples(rows: Sequence[tuple[str, Sequence[np.ndarray]]], path: Path) -> None:
    """A row for each (title, pictures uint8 (H,W,3)), the title above."""
    step = LINE + SIDE + GAP
    canvas = np.full((len(rows) * step, max(5 * SIDE, *(len(some) * (SIDE + GAP) for _, some in rows)) + GAP, 3), 255,
                     np.uint8)
    high, wide = canvas.shape[:2]
    with figure(path, wide / DPI, high / DPI) as drawn:
        for top, (title, some) in zip(range(0, high, step), rows, strict=True):
            drawn.text(GAP / wide, 1 - (top + LINE / 2) / high, title, va="center", fontsize=8)
            for left, picture in zip(range(GAP, wide, SIDE + GAP), some, strict=False):
                height, width = (max(1, round(SIDE * side / max(picture.shape[:2]))) for side in picture.shape[:2])
                canvas[top + LINE:top + LINE + height, left:left + width] = Image.fromarray(picture).resize(
                    (width, height), Image.Resampling.BILINEAR)
        drawn.figimage(canvas, zorder=-1)


def percent(share: float) -> float:
    """For tables."""
    return round(100 * float(share), 2)


def _even(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Which points of a curve to keep: at most ROWS, at even distances along it, both ends among them."""
    way = np.concatenate([[0], np.cumsum(np.abs(np.diff(recall)) + np.abs(np.diff(precision)))])
    return np.unique(np.searchsorted(way, np.linspace(0, way[-1], min(ROWS, len(way)))).clip(0, len(way) - 1))
