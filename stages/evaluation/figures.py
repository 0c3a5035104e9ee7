"""Tables and plots of a test split that both tasks have. In: each model's predictions. Out: CSVs for DVC, PNGs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from stages.core import files
from stages.evaluation import calibration, confusion, plotting
from stages.evaluation.lettering import chart_names
from stages.evaluation.plotting import COLOURS, DPI, GAP, figure

ROWS = 200  # of a precision-recall table at most
WORST = 10  # pairs of classes in the table of the confused
OTHERS = "(others)"  # than those that `confusion.most_confused` names
MAX_BARS, WEAKEST = 50, 25  # classes whose bars are drawn: where there are more, the weakest
SIDE, LINE = 96, 22  # of example images, in pixels: the longer side, the line of text above
POINTS = 8  # the size of its letters


def draw(models: Mapping[str, confusion.Predictions], scores: ModuleType, classes: Sequence[str], bins: int,
         folder: Path, *, unit: str, step: int, columns: Sequence[str], title: str,
         cell: Callable[[int, float], str]) -> list[confusion.Pair]:
    """All but classes.png and the test images; returns what the last model confuses, whose confusion is drawn.

    scores: stages/tasks/<task>/scores.py. unit: "images" or "pixels". step: every step-th goes into the confusion
    tables, whose rows DVC's template counts. columns: of classes.csv. title: what follows "<model>: <accuracy> % of ".
    cell: count and % of the row → the text in a cell of confusion.png.
    """
    rows = _per_class(models)
    model, counts, _ = rows[-1]
    pairs = confused(counts, classes, unit, folder / "confused.csv")
    shown = confusion.most_confused(counts)
    names = [name if label in shown else OTHERS for label, name in enumerate(classes)]
    for name, predictions in models.items():
        labels = (side[step // 2::step] for side in (predictions.targets, predictions.predicted))
        files.write_csv(folder / "confusion" / f"{name}.csv", ("actual", "predicted"),
                        ({"actual": names[actual], "predicted": names[predicted]}
                         for actual, predicted in zip(*labels, strict=True)))
    files.write_csv(folder / "classes.csv", ("model", "class", *columns, "support"), (
        {"model": model, "class": name} | {column: percent(shares[column][label]) for column in columns}
        | {"support": int(counts[label].sum())}
        for model, counts, shares in rows for label, name in enumerate(classes)))
    reliability({model: scores.reliability(predictions, bins) for model, predictions in models.items()}, unit, folder)
    precision_recall({model: scores.precision_recall(predictions) for model, predictions in models.items()}, folder)
    title = f"{model}: {100 * np.trace(counts) / counts.sum():.2f} % of {title}"
    shown_names = [classes[label] for label in shown]
    if len(shown) < len(classes):
        shown_names.append(OTHERS)
        title += f"\n{len(shown)} of {len(classes)} classes, those that it confuses most"
    plotting.confusion(confusion.gathered(counts, shown), cell, shown_names, title, folder / "confusion.png")
    return pairs


def class_bars(models: Mapping[str, confusion.Predictions], classes: Sequence[str], path: Path) -> None:
    """Precision and recall of each class present, or of those with the last model's lowest F1: a panel each, with a bar
    for each model.
    """
    rows, thick = _per_class(models), 0.8 / len(models)
    present, names = np.flatnonzero(rows[0][1].any(1)), chart_names(classes)
    if len(present) > MAX_BARS:
        weakest = np.lexsort((-rows[-1][1].sum(1)[present], rows[-1][2]["f1"][present]))  # of equals, the larger class
        present = present[weakest[:WEAKEST]]
    with figure(path, 10, 1.2 + len(present) * (0.5 if len(present) <= 25 else 0.25), layout="constrained") as drawn:
        panels = drawn.subplots(1, 2, sharey=True)
        for axes, score in zip(panels, ("precision", "recall"), strict=True):
            for number, (model, _, shares) in enumerate(rows):
                axes.barh(np.arange(len(present)) - 0.4 + (number + 0.5) * thick, 100 * shares[score][present], thick,
                          color=COLOURS[model], label=model)
            axes.set(title=f"{score}, %", xlim=(0, 100), ylim=(len(present) - 0.4, -0.6))
            axes.set_yticks(range(len(present)), [names[label] for label in present])
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", alpha=0.3)
            axes.set_axisbelow(True)
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(COLOURS),
                     frameon=False)


def _per_class(models: Mapping[str, confusion.Predictions]) -> list[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
    """Each model's name, confusion matrix and `confusion.per_class`."""
    return [(model, predictions.confusion, confusion.per_class(predictions.confusion))
            for model, predictions in models.items()]


def reliability(models: Mapping[str, Sequence[calibration.Bin]], unit: str, folder: Path) -> None:
    """reliability/<model>.csv, in %, and reliability.png. unit: "images" or "pixels"."""
    for model, rows in models.items():
        files.write_csv(folder / "reliability" / f"{model}.csv", ("from", "to", unit, "confidence", "accuracy"),
                        ({"from": percent(row.lower), "to": percent(row.upper), unit: row.count,
                          "confidence": percent(row.confidence), "accuracy": percent(row.accuracy)} for row in rows))
    with figure(folder / "reliability.png", 5.2, 4.4, layout="constrained") as drawn:
        axes = drawn.subplots()
        axes.plot((0, 100), (0, 100), color="black", linewidth=0.8, linestyle=":", label="as sure as right")
        for model, rows in models.items():
            _, _, count, confidence, accuracy = np.transpose(rows)
            axes.plot(100 * confidence, 100 * accuracy, color=COLOURS[model], linewidth=0.8, alpha=0.5)
            axes.scatter(100 * confidence, 100 * accuracy, s=8 + 150 * (count / count.sum()), color=COLOURS[model],
                         alpha=0.7, linewidths=0, label=model)
        axes.set(xlabel="confidence, %", ylabel=f"right, % of {unit}", xlim=(0, 102), ylim=(-2, 102))
        axes.grid(alpha=0.3)
        for handle in axes.legend(frameon=False).legend_handles[1:]:
            handle.set_sizes([40])


def precision_recall(models: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> None:
    """precision_recall/<model>.csv, in %, and precision_recall.png, of (recall, precision), each (T,) in [0, 1]."""
    models = {model: tuple(values[_evenly_spaced(*curve)] for values in curve) for model, curve in models.items()}
    for model, curve in models.items():
        files.write_csv(folder / "precision_recall" / f"{model}.csv", ("recall", "precision"),
                        ({"recall": percent(recall), "precision": percent(precision)}
                         for recall, precision in zip(*curve, strict=True)))
    with figure(folder / "precision_recall.png", 5.2, 4.4, layout="constrained") as drawn:
        axes = drawn.subplots()
        for model, curve in models.items():
            axes.plot(*(100 * values for values in curve), color=COLOURS[model], label=model)
        axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 102), ylim=(0, 102))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="lower left")


def confused(counts: np.ndarray, classes: Sequence[str], unit: str, path: Path) -> list[confusion.Pair]:
    """The WORST pairs of classes by count, then by share, from a confusion matrix (C,C); also as a CSV."""
    pairs = confusion.pairs(counts)[:WORST]
    files.write_csv(path, ("actual", "predicted", unit, "percent_of_actual"),
                    ({"actual": classes[pair.actual], "predicted": classes[pair.predicted], unit: pair.count,
                      "percent_of_actual": round(pair.percent, 2)} for pair in pairs))
    return pairs


def examples(rows: Sequence[tuple[str, Sequence[np.ndarray]]], path: Path) -> None:
    """A row for each (title, test images uint8 (H,W,3)), the title above."""
    step = LINE + SIDE + GAP
    widths = [max(len(some) * (SIDE + GAP), plotting.text_width(title, POINTS) + GAP) for title, some in rows]
    high, wide = len(rows) * step, GAP + max(5 * SIDE, *widths)
    canvas = np.full((high, wide, 3), 255, np.uint8)
    with figure(path, wide / DPI, high / DPI) as drawn:
        for top, (title, some) in zip(range(0, high, step), rows, strict=True):
            drawn.text(GAP / wide, 1 - (top + LINE / 2) / high, title, va="center", fontsize=POINTS)
            for left, image in zip(range(GAP, wide, SIDE + GAP), some, strict=False):
                height, width = (max(1, round(SIDE * side / max(image.shape[:2]))) for side in image.shape[:2])
                canvas[top + LINE:top + LINE + height, left:left + width] = Image.fromarray(image).resize(
                    (width, height), Image.Resampling.BILINEAR)
        drawn.figimage(canvas, zorder=-1)


def percent(share: float) -> float:
    """For tables."""
    return round(100 * float(share), 2)


def _evenly_spaced(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Which points of a curve to keep: at most ROWS, evenly spaced along it, both ends included."""
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(recall)) + np.abs(np.diff(precision)))])
    wanted = np.linspace(0, length[-1], min(ROWS, len(length)))
    return np.unique(np.searchsorted(length, wanted).clip(0, len(length) - 1))
