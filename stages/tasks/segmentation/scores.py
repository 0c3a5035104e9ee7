"""Scores of a segmenter. In: logits (N,C,H,W) of tiles, targets (N,H,W), < 0: ignored. Out: numbers, which figures.py
draws. Squares are joined into test images first.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.data import tiling
from stages.evaluation import calibration, confusion, statistics

PRIMARY = "miou"  # the metric of gains, gaps and drops
# What the report calls it, the test behind `compare`, and what the predictions are of.
WORDS = {"primary": PRIMARY, "named": "mean IoU", "paired_test": "Wilcoxon's signed-rank test over the photographs",
         "counted": "test images' pixels"}
# There are too many pixels to keep the confidence of each, so that they are summed in fine bins. Their number is a
# multiple of every `ece_bins` up to 12, and of 14, 15, 16, 18, 20, 24, for which the calibration error is exact.
FINE_BINS = 55440
# Precision and recall come from the probabilities of every STEP-th pixel (a prime, to meet all columns of an image),
# counted in so many bins.
STEP, CURVE_BINS = 31, 1000


@dataclass(frozen=True)
class Predictions(confusion.Predictions):
    """A model's predictions for a split of P test images: all that the scores need, and no logits."""

    confusions: np.ndarray  # int64 (P,C,C): pixels of each test image, actual by predicted
    calibration: np.ndarray  # float64 (3,FINE_BINS), as `calibration.bin_sums` has them
    log_loss: float  # nats, summed over the pixels
    brier: float  # squared distances of probabilities from the truth, summed over classes and pixels
    curve: np.ndarray  # float64 (2,C,CURVE_BINS): sampled pixels by their probability of a class; how many are of it
    maps: list[np.ndarray]  # P times (H,W), uint8 or uint16: predicted classes
    masks: list[np.ndarray]  # P times (H,W), int8 or int16: actual classes, below 0 where ignored

    @property
    def targets(self) -> np.ndarray:
        return np.concatenate([mask[mask >= 0] for mask in self.masks])

    @property
    def predicted(self) -> np.ndarray:
        return np.concatenate([drawn[mask >= 0] for drawn, mask in zip(self.maps, self.masks, strict=True)])

    @property
    def confusion(self) -> np.ndarray:
        return self.confusions.sum(0)


def collect(batches: Iterable[tuple[np.ndarray, np.ndarray]], windows: np.ndarray) -> Predictions:
    """The predictions from batches (logits, targets) of a split's tiles; windows: int32 (N,5), their places."""
    confusions, fine, log_loss, brier, curve, maps, masks = [], np.zeros((3, FINE_BINS)), 0.0, 0.0, 0.0, [], []
    for logits, mask in tiling.assemble_pictures(windows, batches):  # (C,H,W), (H,W)
        classes, valid = len(logits), mask >= 0
        labels, predicted, top = mask[valid].astype(np.int64), logits.argmax(0), logits.max(0)
        confusions.append(confusion.count(labels, predicted[valid], classes))
        total, squares = np.zeros((2, *mask.shape))  # (H,W): 1 / confidence; sum of squared odds
        for logit in logits:
            odds = np.exp((logit - top).astype(np.float64))  # against the predicted class
            total += odds
            squares += odds**2
        total, squares = total[valid], squares[valid]
        fine += calibration.bin_sums(1 / total, labels == predicted[valid], FINE_BINS)
        sample = np.exp((logits - top)[:, valid][:, ::STEP].astype(np.float64)) / total[::STEP]  # probabilities (C,M)
        curve += np.stack([calibration.bin_sums(probability, labels[::STEP] == label, CURVE_BINS)[[0, 2]]
                           for label, probability in enumerate(sample)], 1)
        own = np.take_along_axis(logits, np.where(valid, mask, 0)[None].astype(np.int64), 0)[0]
        log_odds = (own - top)[valid]  # ≤ 0: of the actual class against the predicted one
        log_loss += float((np.log(total) - log_odds).sum())
        brier += float((squares / total**2 - 2 * np.exp(log_odds) / total + 1).sum())
        maps.append(predicted.astype(np.min_scalar_type(classes - 1)))
        masks.append(mask.astype(np.min_scalar_type(-classes)))
    return Predictions(np.stack(confusions), fine, log_loss, brier, curve, maps, masks)


def sufficient_stats(predictions: Predictions) -> np.ndarray:
    """int64 (P,C·C): the confusion of each test image with a labelled pixel; `statistics.resample` adds these up."""
    return predictions.confusions[predictions.confusions.any((1, 2))].reshape(-1, predictions.confusions[0].size)


def score_of(totals: np.ndarray) -> np.ndarray:
    """Sums (*,C·C) of rows of `sufficient_stats` → PRIMARY (*), in %."""
    classes = round(totals.shape[-1]**0.5)
    return 100 * confusion.mean_iou(totals.reshape(*totals.shape[:-1], classes, classes))


def compare(first: Predictions, second: Predictions) -> float:
    """p-value that two models have equal mean IoU on a test image, by Wilcoxon's signed-rank test.

    Not over pixels, since those of one image aren't independent. Csurka et al., "What is a good evaluation measure
    for semantic segmentation?", BMVC 2013, compare models by each image's own IoU. Test images without a labelled pixel
    are left out; 1 where all are equal.
    """
    return statistics.wilcoxon(score_of(sufficient_stats(first)), score_of(sufficient_stats(second)))


def measure(predictions: Predictions, classes: list[str], bins: int) -> dict[str, float | dict[str, float]]:
    """All in %, but log_loss in nats, brier in [0, 2] and mcc in [−1, 1]; averages as `confusion.averages` has them.

    iou: {class: %} of the classes present.
    """
    total = predictions.confusion
    iou, pixels = confusion.per_class(total)["iou"], int(total.sum())
    shares = {"miou": confusion.mean_iou(total), "pixel_accuracy": np.trace(total) / pixels,
              **confusion.averages(total), "ece": calibration.error(reliability(predictions, bins))}
    return {name: 100 * float(share) for name, share in shares.items()} | {
        "mcc": confusion.matthews(total),
        "brier": predictions.brier / pixels,
        "log_loss": predictions.log_loss / pixels,
        "iou": {classes[label]: 100 * float(iou[label]) for label in np.flatnonzero(total.any(1))}}


def precision_recall(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision in [0, 1], (T,) each, as the threshold rises and recall falls.

    Micro-averaged: the decisions for each class present against the rest, pooled; of sampled pixels.
    """
    present = predictions.curve[:, predictions.confusion.any(1)]
    positives, correct = present.sum(1)[:, ::-1].cumsum(1)  # (CURVE_BINS,): at least this sure
    some = positives > 0
    return (correct[some] / max(correct[-1], 1))[::-1], (correct[some] / positives[some])[::-1]


def reliability(predictions: Predictions, bins: int) -> list[calibration.Bin]:
    places = np.arange(FINE_BINS) * bins // FINE_BINS
    return calibration.table(np.stack([np.bincount(places, values, bins) for values in predictions.calibration]))
