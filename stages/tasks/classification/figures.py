"""Tables and pictures of a classifier's answers. In: what each model said about the test split. Out: CSVs, PNGs.

plots/test    confusion/<model>.csv, classes.csv, reliability/<model>.csv, precision_recall/<model>.csv, confused.csv,
              confusion.png, reliability.png, precision_recall.png; classes.png where there are few enough classes
data/confused pairs.png: test images of the classes most often confused, kept from git with the rest of the data

confusion.png and what is confused are the last model's.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.core import files
from stages.evaluation import figures, plotting

DRAWN = 50  # classes at most whose bars are drawn: more can't be read
ABREAST = 8  # images of a pair
SHARES = ("precision", "recall", "f1")


def draw(models: Mapping, scores, classes: list[str], bins: int, photographs: Callable[[int], np.ndarray],
         folder: Path, shown: Path) -> None:
    """models: name → Answers of `scores`, the module kit/scores/classification.py. photographs: a picture's number →
    uint8 (H,W,3). folder: of all but the images, which go to `shown`.
    """
    counts = {model: figures.Counts(
        zip(answers.targets, answers.predicted, strict=True), _each_class(answers, classes),
        _confusion(answers, len(classes)), scores.reliability(answers, bins), scores.precision_recall(answers))
        for model, answers in models.items()}
    last = list(models.values())[-1]
    pairs = figures.draw(counts, classes, "images", f"{len(last.targets)} test images right",
                             lambda images, share: str(images), folder)
    if len(classes) <= DRAWN:
        _draw_classes({model: own.each for model, own in counts.items()}, folder / "classes.png")
    _draw_confused(pairs, last, classes, photographs, shown)


def _confusion(answers, classes: int) -> np.ndarray:
    """int64 (C,C): images, actual by predicted."""
    return np.bincount(classes * answers.targets + answers.predicted, minlength=classes**2).reshape(classes, classes)


def _each_class(answers, classes: list[str]) -> list[dict[str, object]]:
    """Precision, recall and F1 in %, 0 for 0 of 0; support: how many test images the class has."""
    from sklearn.metrics import precision_recall_fscore_support

    *columns, support = precision_recall_fscore_support(answers.targets, answers.predicted, labels=range(len(classes)),
                                                        zero_division=0)
    return [{"class": name} | {share: figures.percent(value) for share, value in zip(SHARES, values, strict=True)}
            | {"support": int(images)} for name, values, images in zip(classes, np.transpose(columns), support,
                                                                      strict=True)]


def _draw_classes(each: Mapping[str, list[dict[str, object]]], path: Path) -> None:
    rows = {model: [row for row in rows if row["support"]] for model, rows in each.items()}
    present = [row["class"] for row in next(iter(rows.values()))]
    plotting.bars({f"{share}, %": {model: np.array([row[share] for row in own]) for model, own in rows.items()}
                   for share in ("precision", "recall")}, present, path)


def _draw_confused(pairs: Sequence[figures.Pair], answers, classes: list[str],
                   photographs: Callable[[int], np.ndarray], folder: Path) -> None:
    """A row a pair: the images that the model was surest about."""
    if not pairs:
        with files.atomic_write(folder / "none.txt") as file:
            file.write("No test image is taken for one of another class.\n")
        return
    rows = []
    for pair in pairs:
        found = np.flatnonzero((answers.targets == pair.actual) & (answers.predicted == pair.predicted))
        surest = found[np.argsort(-answers.probabilities[found, pair.predicted], kind="stable")[:ABREAST]]
        title = (f"{classes[pair.actual]} → {classes[pair.predicted]}: {pair.count} image{'s' * (pair.count > 1)}, "
                 f"{pair.percent:.1f} % of {classes[pair.actual]}")
        rows.append((title, [photographs(int(number)) for number in surest]))
    figures.examples(rows, folder / "pairs.png")
