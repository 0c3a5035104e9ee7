"""Whether a model is as sure as it is right. In: sums over equally wide bins (lower, upper] of the top probability.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Bin(NamedTuple):
    lower: float
    upper: float
    count: int  # images or pixels, of which there is one at least
    confidence: float  # their mean top probability, in (0, 1]
    accuracy: float  # in [0, 1]


def table(sums: np.ndarray) -> list[Bin]:
    """float (3,bins): how many there are, the sum of their confidence, how many are right. Empty bins are left out."""
    bins = sums.shape[1]
    return [Bin(number / bins, (number + 1) / bins, int(count), confidence / count, right / count)
            for number, (count, confidence, right) in enumerate(zip(*sums.tolist(), strict=True)) if count]


def error(rows: Sequence[Bin]) -> float:
    """Expected calibration error in [0, 1]: |accuracy − confidence| of the bins, weighted by their counts."""
    return sum(row.count * abs(row.accuracy - row.confidence) for row in rows) / sum(row.count for row in rows)
