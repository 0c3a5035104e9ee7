"""What can be said from a few seeds and one test split. In: numbers and paired answers. Out: means, tests, shares."""

from collections.abc import Sequence

import numpy as np


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the sample standard deviation (n − 1), None for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact p-value that two models are right equally often. In: bool (N,), right or not on each image.

    Only images count on which one is right and the other isn't; under the hypothesis each is a toss of a fair coin.
    McNemar, Psychometrika 12, 1947; the exact form as in Dietterich, Neural Computation 10, 1998.
    """
    from scipy.stats import binomtest

    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p-value that two models do equally well on a picture. In: float (P,), a score of each picture.

    Pictures on which they are level are dropped; 1 where all are. Exact for up to 50 differences (13 where some are of
    one size), beyond that by scipy's normal approximation.
    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
    """
    from scipy.stats import wilcoxon

    differences = np.round(second - first, 12)  # a last bit would rank what is equal
    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0


def gap_recovered(teacher: float, baseline: float, student: float) -> float | None:
    """How much of the way from baseline to teacher the student went, in %; None where the teacher isn't ahead."""
    return 100 * (student - baseline) / (teacher - baseline) if teacher > baseline else None
