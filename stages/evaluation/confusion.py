"""Predictions compared with the actual classes: confusion matrices and the scores that follow from them.

In: classes, or counts (*,C,C) with a row for each actual and a column for each predicted class. Out: numbers. A class
that is absent from the test split is left out of every average over classes.
"""

from typing import NamedTuple

import numpy as np

AVERAGED = ("precision", "recall", "f1")
NAMED = 25  # classes that a matrix is drawn of: where there are more, the most confused ones, and one for all others


class Pair(NamedTuple):
    """Two classes that a model confuses."""

    actual: int
    predicted: int
    count: int  # images or pixels of the first that are predicted as the second
    percent: float  # of the first


class Predictions:
    """What both tasks' `Predictions` have: the classes of M test images, or of M labelled pixels."""

    targets: np.ndarray  # integers (M,): the actual classes
    predicted: np.ndarray  # integers (M,)
    confusion: np.ndarray  # int64 (C,C)

    @property
    def correct(self) -> np.ndarray:
        return self.predicted == self.targets  # bool (M,)

    def errors(self) -> int:
        return int((~self.correct).sum())

    def agreement(self, other: "Predictions") -> float:
        """% of images or pixels for which both models predict the same class."""
        return 100 * float((self.predicted == other.predicted).mean())

    def accuracy_where_wrong(self, other: "Predictions") -> float | None:
        """Accuracy in % on the images or pixels that the other model gets wrong; None where there are none."""
        return 100 * float(self.correct[~other.correct].mean()) if other.errors() else None


def count(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Integers (M,) twice → the confusion matrix, int64 (C,C)."""
    cells = classes * targets.astype(np.int64) + predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and IoU in [0, 1], (*,C) each; 0 / 0 counts as 0."""
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    actual, predicted = confusion.sum(-1), confusion.sum(-2)
    ratios = {"precision": (correct, predicted), "recall": (correct, actual), "f1": (2 * correct, actual + predicted),
              "iou": (correct, actual + predicted - correct)}
    return {name: part / np.maximum(total, 1) for name, (part, total) in ratios.items()}


def averages(confusion: np.ndarray) -> dict[str, float]:
    """Macro averages of AVERAGED in [0, 1], then *_weighted, in which a class counts as often as it occurs."""
    scores, support = per_class(confusion), confusion.sum(1)
    return {name: scores[name][support > 0].mean() for name in AVERAGED} | {
        f"{name}_weighted": scores[name] @ support / support.sum() for name in AVERAGED}


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """(*,C,C) → (*): in [0, 1], the mean over the classes that occur, of which there must be one."""
    present = confusion.any(-1)
    return (per_class(confusion)["iou"] * present).sum(-1) / present.sum(-1)


def matthews(confusion: np.ndarray) -> float:
    """Matthews' correlation in [−1, 1]; 0 where a single class is predicted or occurs.

    Of C classes as in Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
    Computational Biology and Chemistry 28, 2004.
    """
    actual, predicted = confusion.sum(1).astype(float), confusion.sum(0).astype(float)
    total, correct = actual.sum(), float(np.trace(confusion))
    spread = (total**2 - actual @ actual) * (total**2 - predicted @ predicted)
    return float((correct * total - actual @ predicted) / np.sqrt(spread)) if spread else 0.0


def pairs(counts: np.ndarray) -> list[Pair]:
    """The pairs of different classes in a confusion matrix (C,C), by count, then by share."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return sorted((Pair(actual, predicted, int(counts[actual, predicted]), float(shares[actual, predicted]))
                   for actual, predicted in np.argwhere(counts).tolist() if actual != predicted),
                  key=lambda pair: (-pair.count, -pair.percent))


def most_confused(counts: np.ndarray) -> list[int]:
    """The classes of a confusion matrix (C,C); where there are more than NAMED, one fewer, those of the first `pairs`
    first, so that most of what is confused lies beside the diagonal.
    """
    classes = range(len(counts))
    if len(classes) <= NAMED:
        return [*classes]
    return [*dict.fromkeys([*(label for pair in pairs(counts) for label in pair[:2]), *classes])][:NAMED - 1]


def gathered(counts: np.ndarray, shown: list[int]) -> np.ndarray:
    """A confusion matrix (C,C) as one of K of its classes, in this order, and a last one for all others, if any."""
    size = len(shown) + (len(shown) < len(counts))
    place = np.full(len(counts), size - 1)
    place[shown] = np.arange(len(shown))
    cells = np.bincount((size * place[:, None] + place).ravel(), counts.ravel(), size**2)
    return cells.astype(np.int64).reshape(size, size)
