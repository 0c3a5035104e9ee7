"""Scores of a classifier. In: logits (N,C), targets (N,), 0 ≤ target < C. Out: numbers, which figures.py draws."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.evaluation import calibration, confusion, statistics

PRIMARY = "accuracy"  # the metric of gains, gaps and drops
# What the report calls it, the test behind `compare`, and what the predictions are of.
WORDS = {"primary": PRIMARY, "named": "accuracy", "paired_test": "McNemar's exact test", "counted": "test images"}
TOP5_FROM = 10  # classes: with fewer, being among the first five says nothing
CELLS = 2**18  # logits at a time, of which float64 copies are in memory
DECISIONS = 2**21  # behind a precision-recall curve at most: more images × classes, and images are left out evenly


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

    def probabilities(self, rows: slice = slice(None)) -> np.ndarray:
        """float64 (N,C), or of some rows. Not kept: they take twice the room of the logits."""
        logits, largest, log_sums = self.logits[rows], self._largest[rows, None], self._log_sums[rows, None]
        probabilities = np.empty(logits.shape)
        for part in _parts(logits):
            np.exp(logits[part] - largest[part] - log_sums[part], out=probabilities[part])
        return probabilities

    @cached_property
    def confidence(self) -> np.ndarray:
        """float64 (N,): the probability of the predicted class."""
        return np.exp(-self._log_sums)

    @cached_property
    def log_likelihood(self) -> np.ndarray:
        """float64 (N,): the logarithm of the actual class's probability."""
        own = np.take_along_axis(self.logits, np.asarray(self.targets)[:, None], 1)[:, 0]
        return own - self._largest - self._log_sums

    @cached_property
    def _largest(self) -> np.ndarray:
        return self.logits.max(1).astype(np.float64)  # (N,)

    @cached_property
    def _log_sums(self) -> np.ndarray:
        """float64 (N,): log Σ exp(logit − largest), by which a softmax is normalised."""
        return np.concatenate([np.log(np.exp(self.logits[part] - self._largest[part, None]).sum(1))
                               for part in _parts(self.logits)])


def _parts(logits: np.ndarray) -> Iterator[slice]:
    """Of the rows: at most CELLS logits each, so that what is computed of them takes little memory."""
    rows = max(1, CELLS // logits.shape[1])
    yield from (slice(start, start + rows) for start in range(0, len(logits), rows))


def collect(batches: Iterable[tuple[np.ndarray, np.ndarray]], windows: np.ndarray) -> Predictions:
    """The predictions from batches (logits, targets) of a split. windows: not needed, an image is one tile."""
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
    averages = confusion.averages(predictions.confusion)
    shares = {"accuracy": predictions.correct.mean()}
    if len(classes) >= TOP5_FROM:
        shares["top5"] = _among_first(predictions, 5)
    # balanced_accuracy is the macro recall by another name, under which those with imbalanced sets look for it
    shares |= {"balanced_accuracy": averages["recall"]} | averages
    probabilities = predictions.probabilities()
    shares |= {"map": _mean_average_precision(probabilities, predictions.targets),
               "ece": calibration.error(reliability(predictions, bins))}
    squares = np.einsum("nc,nc->n", probabilities, probabilities) + 1 - 2 * np.exp(predictions.log_likelihood)
    return {name: 100 * float(share) for name, share in shares.items()} | {
        "mcc": confusion.matthews(predictions.confusion), "brier": float(squares.mean()),
        "log_loss": float(-predictions.log_likelihood.mean())}


def _among_first(predictions: Predictions, count: int) -> float:
    """The share of images whose actual class is among the first `count`; of equal logits the later class is first."""
    found, labels = 0, np.arange(predictions.logits.shape[1])
    for part in _parts(predictions.logits):
        logits, targets = predictions.logits[part], predictions.targets[part, None]
        own = np.take_along_axis(logits, targets, 1)
        found += (((logits > own) | ((logits == own) & (labels > targets))).sum(1) < count).sum()
    return found / len(predictions.targets)


def _mean_average_precision(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """In [0, 1]: over the classes present, the mean over a class's images of the precision at that image's probability.

    What sklearn.metrics.average_precision_score gives, in a tenth of its time where there are many classes.
    """
    precisions = []
    for label in np.unique(targets):
        ranked, own = np.sort(probabilities[:, label]), np.sort(probabilities[targets == label, label])
        found, taken = (len(some) - np.searchsorted(some, own) for some in (own, ranked))  # at least as probable
        precisions.append((found / taken).mean())
    return float(np.mean(precisions))


def precision_recall(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision in [0, 1], (T,) each, as the threshold rises and recall falls.

    Micro-averaged: the decisions for each class present against the rest, pooled; of at most DECISIONS. What
    sklearn.metrics.precision_recall_curve gives, which takes longer to import than this takes of a thousand classes.
    """
    present, places = np.unique(predictions.targets, return_inverse=True)
    some = slice(None, None, -(-len(predictions.targets) * len(present) // DECISIONS))
    probabilities = predictions.probabilities(some)[:, present]
    own = np.take_along_axis(probabilities, places[some, None], 1)[:, 0]
    thresholds, said = np.unique(probabilities, return_counts=True)
    right = np.bincount(np.searchsorted(thresholds, own), minlength=len(thresholds))
    said, right = (counts[::-1].cumsum()[::-1] for counts in (said, right))  # at least as probable as the threshold
    return np.append(right / len(own), 0), np.append(right / said, 1)


def reliability(predictions: Predictions, bins: int) -> list[calibration.Bin]:
    return calibration.table(calibration.bin_sums(predictions.confidence, predictions.correct, bins))
