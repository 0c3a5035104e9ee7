"""Whether a model's confidence, its top probability, agrees with its accuracy.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Bin(NamedTuple):
    """A range (lower, upper] of confidence; bins are equally wide."""

    lower: float
    upper: float
    count: int  # images or pixels, at least one
    confidence: float  # mean, in (0, 1]
    accuracy: float  # in [0, 1]


def bin_sums(confidence: np.ndarray, correct: np.ndarray, bins: int) -> np.ndarray:
    """(M,) in [0, 1], bool (M,) → float64 (3,bins): how many fall into a bin, their total confidence, how many are
    correct."""
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return np.stack([np.bincount(places, weights, bins) for weights in (None, confidence, correct)])


def table(sums: np.ndarray) -> list[Bin]:
    """`bin_sums` (3,bins) → the bins that aren't empty."""
    bins = sums.shape[1]
    return [Bin(number / bins, (number + 1) / bins, int(count), confidence / count, correct / count)
            for number, (count, confidence, correct) in enumerate(sums.T.tolist()) if count]


def error(rows: Sequence[Bin]) -> float:
    """Expected calibration error in [0, 1]: |accuracy − confidence| of the bins, weighted by their counts."""
    return sum(row.count * abs(row.accuracy - row.confidence) for row in rows) / sum(row.count for row in rows)
