"""Scores of a classifier. In: logits (N,C), targets (N,), 0 ≤ target < C. Out: numbers, which figures.py draws."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.evaluation import calibration, confusion, statistics

PRIMARY = "accuracy"  # the metric of gains, gaps and drops
# What the report calls it, the test behind `compare`, and what the predictions are of.
WORDS = {"primary": PRIMARY, "named": "accuracy", "paired_test": "McNemar's exact test", "counted": "test images"}
TOP5_FROM = 10  # classes: with fewer, being among the first five says nothing


@dataclass(frozen=True)
class Predictions(confusion.Predictions):
    """A model's predictions for a split."""

    logits: np.ndarray  # float32 (N,C)
    targets: np.ndarray  # int64 (N,)

    @cached_property
    def predicted(self) -> np.ndarray:
        return self.logits.argmax(1)  # (N,)

    @property
    def confusion(self) -> np.ndarray:
        return confusion.count(self.targets, self.predicted, self.logits.shape[1])

    @cached_property
    def log_probabilities(self) -> np.ndarray:
        from scipy.special import log_softmax

        return log_softmax(self.logits.astype(np.float64), 1)  # (N,C)

    @cached_property
    def probabilities(self) -> np.ndarray:
        return np.exp(self.log_probabilities)


def collect(batches: Iterable[tuple[np.ndarray, np.ndarray]], windows: np.ndarray) -> Predictions:
    """The predictions from batches (logits, targets) of a split. windows: not needed, an image is one square."""
    logits, targets = zip(*batches, strict=True)
    return Predictions(np.concatenate(logits), np.concatenate(targets))


def sufficient_stats(predictions: Predictions) -> np.ndarray:
    """int64 (N,2): for each image 1 if it is classified correctly, and 1; `statistics.resample` adds these up."""
    return np.stack([predictions.correct, np.ones_like(predictions.correct)], 1).astype(np.int64)


def score_of(totals: np.ndarray) -> np.ndarray:
    """Sums (*,2) of rows of `sufficient_stats` → PRIMARY (*), in %."""
    return 100 * totals[..., 0] / totals[..., 1]


def compare(first: Predictions, second: Predictions) -> float:
    """p-value that two models are equally accurate, by McNemar's exact test."""
    return statistics.mcnemar(first.correct, second.correct)


def measure(predictions: Predictions, classes: list[str], bins: int) -> dict[str, float]:
    """All in %, but log_loss in nats, brier in [0, 2] and mcc in [−1, 1]; averages as `confusion.averages` has them.

    map: the mean average precision of each class present against the rest. brier: the squared distance between
    probabilities and truth, over all classes (Brier, "Verification of forecasts expressed in terms of probability",
    Monthly Weather Review 78, 1950).
    """
    from sklearn import metrics

    targets, probabilities, labels = predictions.targets, predictions.probabilities, range(len(classes))
    averages, present = confusion.averages(predictions.confusion), np.unique(targets)
    shares = {"accuracy": predictions.correct.mean()}
    if len(classes) >= TOP5_FROM:
        shares["top5"] = metrics.top_k_accuracy_score(targets, predictions.logits, k=5, labels=labels)
    # balanced_accuracy is the macro recall by another name, under which those with imbalanced sets look for it
    shares |= {"balanced_accuracy": averages["recall"]} | averages | {
        "map": metrics.average_precision_score(targets[:, None] == present, probabilities[:, present]),
        "ece": calibration.error(reliability(predictions, bins))}
    return {name: 100 * float(share) for name, share in shares.items()} | {
        "mcc": confusion.matthews(predictions.confusion),
        "brier": float(metrics.brier_score_loss(targets, probabilities, labels=labels, scale_by_half=False)),
        "log_loss": float(-predictions.log_probabilities[np.arange(len(targets)), targets].mean())}


def precision_recall(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision in [0, 1], (T,) each, as the threshold rises and recall falls.

    Micro-averaged: the decisions for each class present against the rest, pooled.
    """
    from sklearn.metrics import precision_recall_curve

    present = np.unique(predictions.targets)
    precision, recall, _ = precision_recall_curve((predictions.targets[:, None] == present).ravel(),
                                                  predictions.probabilities[:, present].ravel())
    return recall, precision


def reliability(predictions: Predictions, bins: int) -> list[calibration.Bin]:
    return calibration.table(calibration.bin_sums(predictions.probabilities.max(1), predictions.correct, bins))
