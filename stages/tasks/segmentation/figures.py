"""Tables and pictures of a segmenter's answers. In: what each model said about the test split. Out: CSVs, PNGs.

plots/test    confusion/<model>.csv, classes.csv, reliability/<model>.csv, precision_recall/<model>.csv, confused.csv,
              confusion.png, classes.png, reliability.png, precision_recall.png, pictures.png
data/confused a note: pictures.png shows masks side by side

confusion.png and what is confused are the last model's.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import numpy as np

from stages.core import files
from stages.evaluation import figures, plotting

SAMPLED = 5000  # pixels at most in the tables that count rows
SHOWN = 10  # test pictures on the sheet


def draw(models: Mapping, scores, classes: list[str], bins: int, photographs: Callable[[int], np.ndarray],
         folder: Path, shown: Path) -> None:
    """models: name → Answers of `scores`, the module kit/scores/segmentation.py. photographs: a picture's number →
    uint8 (H,W,3). shown: the folder of the note.

    DVC's template counts the rows of a confusion table, so that these hold a sample, the same pixels for each model: at
    most SAMPLED of them, at even distances over all pictures.
    """
    totals = {model: answers.confusion.sum(0) for model, answers in models.items()}
    shares = {model: scores.each_class(total) for model, total in totals.items()}
    counts = {model: figures.Counts(
        _sample(answers), _each_class(shares[model], totals[model].sum(1), classes), totals[model],
        scores.reliability(answers, bins), scores.precision_recall(answers)) for model, answers in models.items()}
    first = next(iter(models))
    figures.draw(counts, classes, "pixels", f"pixels right,\n{len(models[first].targets)} test images",
                     lambda pixels, share: f"{share:.0f}" if share >= 0.5 else "", folder)
    _draw_classes(shares, np.flatnonzero(totals[first].any(1)), classes, folder / "classes.png")
    _draw_pictures(models, scores, classes, photographs, folder / "pictures.png")
    with files.atomic_write(shown / "none.txt") as file:
        file.write("plots/test/pictures.png shows what the models take for what.\n")


def _sample(answers) -> Iterator[tuple[int, int]]:
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


def _each_class(shares: Mapping[str, np.ndarray], support: np.ndarray, classes: list[str]) -> list[dict[str, object]]:
    """In %. shares: (C,) each, in [0, 1]; support: pixels (C,)."""
    return [{"class": name} | {share: figures.percent(values[label]) for share, values in shares.items()}
            | {"support": int(support[label])} for label, name in enumerate(classes)]


def _draw_classes(shares: Mapping[str, Mapping[str, np.ndarray]], present: np.ndarray, classes: list[str],
                  path: Path) -> None:
    """present: the classes (K,) that are drawn."""
    plotting.bars({f"{name}, %": {model: 100 * found[name][present] for model, found in shares.items()}
                   for name in ("precision", "recall")}, [classes[label] for label in present], path)


def _draw_pictures(models: Mapping, scores, classes: list[str], photographs: Callable[[int], np.ndarray],
                   path: Path) -> None:
    first = next(iter(models.values()))
    shown = np.linspace(0, len(first.targets) - 1, min(SHOWN, len(first.targets))).round().astype(int).tolist()
    notes = {model: [f"{100 * scores.mean_iou(counts):.0f} %" if counts.any() else "" for counts in answers.confusion]
             for model, answers in models.items()}
    plotting.sheet(shown, photographs, {"truth": first.targets} | {
        model: answers.predicted for model, answers in models.items()}, notes, classes, path)
