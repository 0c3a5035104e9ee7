"""Scores of a segmenter. In: logits (N,C,H,W) of squares, targets (N,H,W), < 0: ignored. Out: numbers; kit/plots draws
them.

All is counted on whole pictures. A class that no test pixel has is left out of every average over classes: nothing is
known about it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.data import tiling
from stages.evaluation import calibration, statistics

PRIMARY = "miou"  # what gains, gaps and drops are told in
# The words for it: the metric's name, what `compare` tests by, what `agreement` counts.
WORDS = {"primary": PRIMARY, "named": "mean IoU", "paired_test": "Wilcoxon's signed-rank test over the photographs",
         "counted": "test images' pixels"}
# Confidences are summed in so many cells, since not every pixel's can be kept: a multiple of every number of bins up to
# 12, and of 14, 15, 16, 18, 20, 24. For these calibration is exact; else a cell at a border belongs to the lower bin.
CELLS = 55440
# What precision and recall are drawn from: the probabilities of every STEP-th pixel, a prime, so that all columns of a
# picture are met; in so many cells.
STEP, STEPS = 31, 1000


@dataclass(frozen=True)
class Answers:
    """What a model said about a split of P pictures: all that the scores need, and no logits."""

    confusion: np.ndarray  # int64 (P,C,C): pixels of each picture, actual by predicted
    calibration: np.ndarray  # float64 (3,CELLS): pixels, the sum of their confidence, how many are right
    log_loss: float  # nats, summed over the pixels
    brier: float  # squared distances of probabilities from the truth, summed over classes and pixels
    certainty: np.ndarray  # float64 (2,C,STEPS): sampled pixels given that probability of a class; how many are of it
    predicted: list[np.ndarray]  # P times (H,W), uint8 or uint16
    targets: list[np.ndarray]  # P times (H,W), int8 or int16; below 0 where nothing counts


def collect(batches: Iterable[tuple[np.ndarray, np.ndarray]], places: np.ndarray) -> Answers:
    """All of a split from its batches (logits, targets) of squares; places: int32 (N,5), the rows of windows.npy."""
    confusion, cells, log_loss, brier, certainty, predicted, targets = [], np.zeros((3, CELLS)), 0.0, 0.0, 0.0, [], []
    for logits, truth in tiling.assemble_pictures(places, batches):  # (C,H,W), (H,W)
        classes, valid = len(logits), truth >= 0
        found = logits.argmax(0)
        actual, said = truth[valid].astype(np.int64), found[valid]
        confusion.append(np.bincount(classes * actual + said, minlength=classes**2).reshape(classes, classes))
        top = logits.max(0)
        total, squares = np.zeros((2, *truth.shape))  # (H,W): 1 / confidence; sum of squares
        for logit in logits:
            odds = np.exp((logit - top).astype(np.float64))  # against the class it says
            total += odds
            squares += odds**2
        total, squares = total[valid], squares[valid]
        cells += _cells(1 / total, actual == said, CELLS)
        some = (logits - top)[:, valid][:, ::STEP].astype(np.float64)
        certainty += np.stack([_cells(np.exp(odds) / total[::STEP], actual[::STEP] == label, STEPS)[[0, 2]]
                               for label, odds in enumerate(some)], 1)
        own = np.take_along_axis(logits, np.where(valid, truth, 0)[None].astype(np.int64), 0)[0]
        behind = (own - top)[valid]  # ≤ 0: log odds of the truth
        log_loss += float((np.log(total) - behind).sum())
        brier += float((squares / total**2 - 2 * np.exp(behind) / total + 1).sum())
        predicted.append(found.astype(np.min_scalar_type(classes - 1)))
        targets.append(truth.astype(np.min_scalar_type(-classes)))
    return Answers(np.stack(confusion), cells, log_loss, brier, certainty, predicted, targets)


def _cells(confidence: np.ndarray, right: np.ndarray, number: int) -> np.ndarray:
    """(M,), bool (M,) → float64 (3,number): pixels, the sum of their confidence, how many are right; (lower, upper]."""
    cell = np.clip(np.ceil(confidence * number).astype(int) - 1, 0, number - 1)
    return np.stack([np.bincount(cell, weights, number) for weights in (None, confidence, right)])


def sufficient_stats(answers: Answers) -> np.ndarray:
    """int64 (P,C·C): the confusion of each photograph that has a pixel that counts. What `statistics.resample` adds up.
    """
    return answers.confusion[answers.confusion.any((1, 2))].reshape(-1, answers.confusion[0].size)


def score_of(totals: np.ndarray) -> np.ndarray:
    """Sums (*,C·C) of a tally's rows → PRIMARY (*), in %."""
    classes = round(totals.shape[-1]**0.5)
    return 100 * mean_iou(totals.reshape(*totals.shape[:-1], classes, classes))


def compare(first: Answers, second: Answers) -> float:
    """p-value that neither of two models does better on a photograph, by Wilcoxon's signed-rank test over their own
    mean IoUs.

    The pixels of one photograph stand or fall together, so that a test over pixels would be far too sure. IoU, for it
    leads; a photograph's own is what Csurka et al., "What is a good evaluation measure for semantic segmentation?",
    BMVC 2013, compare models by. Photographs without a pixel that counts are left out; 1 where all are equal.
    """
    return statistics.wilcoxon(*(score_of(sufficient_stats(answers)) for answers in (first, second)))


def agreement(first: Answers, second: Answers) -> float:
    """Share of the pixels that count, in %, about which two models say the same."""
    same = sum(int(((one == other) & (truth >= 0)).sum())
               for one, other, truth in zip(first.predicted, second.predicted, first.targets, strict=True))
    return 100 * same / int(first.confusion.sum())


def errors(answers: Answers) -> int:
    """How many pixels a model gets wrong."""
    total = answers.confusion.sum(0)
    return int(total.sum() - np.trace(total))


def where_errs(answers: Answers, other: Answers) -> float | None:
    """Accuracy in % on the pixels that the other model gets wrong; None where there are none."""
    right = sum(int(((said == truth) & (told != truth) & (truth >= 0)).sum()) for said, told, truth
                in zip(answers.predicted, other.predicted, answers.targets, strict=True))
    return 100 * right / errors(other) if errors(other) else None


def measure(answers: Answers, classes: list[str], bins: int) -> dict[str, float | dict[str, float]]:
    """All in %, but log_loss in nats, brier in [0, 2], mcc in [−1, 1]; iou: {class: %} of those present.

    precision, recall and f1 are macro averages; *_weighted count a class as often as it has pixels.
    """
    total = answers.confusion.sum(0)
    shares, pixels, present = each_class(total), int(total.sum()), total.any(1)
    means = {"miou": float(mean_iou(total)), "pixel_accuracy": np.trace(total) / pixels}
    means |= {name: shares[name][present].mean() for name in ("precision", "recall", "f1")}
    means |= {f"{name}_weighted": shares[name] @ total.sum(1) / pixels for name in ("precision", "recall", "f1")}
    means["ece"] = calibration.error(reliability(answers, bins))
    return {name: 100 * float(share) for name, share in means.items()} | {
        "mcc": matthews(total), "brier": answers.brier / pixels, "log_loss": answers.log_loss / pixels,
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


def matthews(confusion: np.ndarray) -> float:
    """Matthews' correlation of counts (C,C), in [−1, 1]; 0 where either side knows one class alone.

    Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", Computational Biology and
    Chemistry 28, 2004, which scikit-learn computes too; from counts, since not every pixel can be kept.
    """
    share = confusion / confusion.sum()
    actual, predicted = share.sum(1), share.sum(0)
    spread = (1 - actual @ actual) * (1 - predicted @ predicted)
    return float((np.trace(share) - actual @ predicted) / np.sqrt(spread)) if spread > 1e-15 else 0.0


def reliability(answers: Answers, bins: int) -> list[calibration.Bin]:
    """What the pixels' top probabilities are worth."""
    place = np.arange(CELLS) * bins // CELLS
    return calibration.table(np.stack([np.bincount(place, values, bins) for values in answers.calibration]))


def precision_recall(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision in [0, 1], each (T,), the recall falling, as ever more confidence is asked for.

    Micro-averaged: each of the classes present against the rest, their decisions thrown together; of sampled pixels.
    """
    said, right = answers.certainty[:, answers.confusion.any((0, 2))].sum(1)[:, ::-1].cumsum(1)  # (STEPS,): this sure
    some = said > 0
    return (right[some] / max(right[-1], 1))[::-1], (right[some] / said[some])[::-1]
