"""Scores of a classifier. In: logits (N,C), targets (N,), 0 ≤ target < C. Out: numbers; kit/plots draws them.

A class that has no test image is left out of every average over classes: nothing is known about it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.evaluation import calibration, statistics

PRIMARY = "accuracy"  # what gains, gaps and drops are told in
# The words for it: the metric's name, what `compare` tests by, what `agreement` counts.
WORDS = {"primary": PRIMARY, "named": "accuracy", "paired_test": "McNemar's exact test", "counted": "test images"}
FEWEST = 10  # classes, below which being among the first five says nothing


@dataclass(frozen=True)
class Answers:
    """What a model said about a split."""

    logits: np.ndarray  # float32 (N,C)
    targets: np.ndarray  # int64 (N,)

    @cached_property
    def predicted(self) -> np.ndarray:
        return self.logits.argmax(1)  # (N,)

    @cached_property
    def hits(self) -> np.ndarray:
        """bool (N,): was the image's class found?"""
        return self.predicted == self.targets

    @cached_property
    def log_probabilities(self) -> np.ndarray:
        """float64 (N,C), by log-sum-exp, so that a sure model doesn't become −inf."""
        shifted = self.logits.astype(np.float64) - self.logits.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    @cached_property
    def probabilities(self) -> np.ndarray:
        return np.exp(self.log_probabilities)  # float64 (N,C)


def collect(batches: Iterable[tuple[np.ndarray, np.ndarray]], places: np.ndarray) -> Answers:
    """All of a split from its batches (logits, targets). places: of squares in pictures, which are one here."""
    logits, targets = zip(*batches, strict=True)
    return Answers(np.concatenate(logits), np.concatenate(targets))


def sufficient_stats(answers: Answers) -> np.ndarray:
    """int64 (N,2): of each image whether it is right, and 1. What `statistics.resample` adds up."""
    return np.stack([answers.hits, np.ones_like(answers.hits)], 1).astype(np.int64)


def score_of(totals: np.ndarray) -> np.ndarray:
    """Sums (*,2) of a tally's rows → PRIMARY (*), in %."""
    return 100 * totals[..., 0] / totals[..., 1]


def compare(first: Answers, second: Answers) -> float:
    """p-value that two models are right equally often, by McNemar's exact test."""
    return statistics.mcnemar(first.hits, second.hits)


def agreement(first: Answers, second: Answers) -> float:
    """Share of images, in %, about which two models say the same."""
    return 100 * float((first.predicted == second.predicted).mean())


def errors(answers: Answers) -> int:
    """How many images a model gets wrong."""
    return int((~answers.hits).sum())


def where_errs(answers: Answers, other: Answers) -> float | None:
    """Accuracy in % on the images that the other model gets wrong; None where there are none."""
    return 100 * float(answers.hits[~other.hits].mean()) if errors(other) else None


def measure(answers: Answers, classes: list[str], bins: int) -> dict[str, float]:
    """All in %, but log_loss in nats, brier in [0, 2], mcc in [−1, 1].

    precision, recall and f1 are macro averages; *_weighted count a class as often as it has images.
    """
    from sklearn import metrics

    targets, predicted, present = answers.targets, answers.predicted, np.unique(answers.targets)
    shares = {"accuracy": answers.hits.mean()}
    if len(classes) >= FEWEST:
        shares["top5"] = metrics.top_k_accuracy_score(targets, answers.logits, k=5, labels=np.arange(len(classes)))
    each = np.stack(metrics.precision_recall_fscore_support(targets, predicted, labels=present, zero_division=0))
    (precision, recall, f1), support = each[:3], each[3]
    # balanced_accuracy is the macro recall by another name, under which those with imbalanced sets look for it
    shares |= {"balanced_accuracy": recall.mean(), "precision": precision.mean(), "recall": recall.mean(),
               "f1": f1.mean()}
    shares |= {f"{name}_weighted": values @ support / len(targets)
               for name, values in (("precision", precision), ("recall", recall), ("f1", f1))}
    shares |= {"map": mean_average_precision(answers), "ece": calibration.error(reliability(answers, bins))}
    return {name: 100 * float(share) for name, share in shares.items()} | {
        "mcc": float(metrics.matthews_corrcoef(targets, predicted)),
        "brier": brier(answers),
        "log_loss": float(-answers.log_probabilities[np.arange(len(targets)), targets].mean())}


def brier(answers: Answers) -> float:
    """Mean over images of the squared distance between probabilities and the truth, over all classes: in [0, 2].

    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.
    """
    from sklearn.metrics import brier_score_loss

    labels = np.arange(answers.logits.shape[1])
    return float(brier_score_loss(answers.targets, answers.probabilities, labels=labels, scale_by_half=False))


def mean_average_precision(answers: Answers) -> float:
    """Mean over the classes present of the area under the precision-recall steps of one class against the rest."""
    from sklearn.metrics import average_precision_score

    return float(np.mean([average_precision_score(answers.targets == label, answers.probabilities[:, label])
                          for label in np.unique(answers.targets)]))


def precision_recall(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision in [0, 1], each (T,), the recall falling, as ever more confidence is asked for.

    Micro-averaged: each of the classes present against the rest, their decisions thrown together.
    """
    from sklearn.metrics import precision_recall_curve

    present = np.unique(answers.targets)
    precision, recall, _ = precision_recall_curve((answers.targets[:, None] == present).ravel(),
                                                  answers.probabilities[:, present].ravel())
    return recall, precision


def reliability(answers: Answers, bins: int) -> list[calibration.Bin]:
    """What the images' top probabilities are worth."""
    confidence = answers.probabilities.max(1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return calibration.table(np.stack([np.bincount(place, weights, bins) for weights in (
        None, confidence, answers.hits)]))
