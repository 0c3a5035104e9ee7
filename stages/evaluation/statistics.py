"""Paired tests, the gap recovered, and intervals from a few seeds and one test split.

An interval answers: what would this be on other test images from the same source, with networks trained anew? In
simulations of two networks at 90 %, 3 seeds each, with a true gain of one point, the 95 % interval contained the true
gain in this share of trials (tests repeat a part; 2000 trials of 360 images, 800 of 2000, 150 of 10,000):

    images                                     360    2000    2000    10,000
    standard deviation over seeds, points      0.5     0.5     1.0       0.5
    images resampled                          92 %    82 %    63 %      51 %
    images and seeds resampled (Owen, 2007)   99 %    97 %    90 %      88 %
    images, seeds by Student's t: `resample`  99 %    98 %    97 %      96 %

With 5 seeds the last row is 98 to 99 %. With one seed an interval is for new images alone. For the mean IoU of few
images, coverage is below nominal (85 % with 10, 91 % with 50), since rare classes may be in none of them; for a gain in
mean IoU it is 93 to 95 %. The teacher is one network, the best of its seeds on val: the intervals don't cover how other
teachers would fare.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

LEVEL = 95  # % of intervals that should contain the true value
TAILS = (50 - LEVEL / 2, 50 + LEVEL / 2)  # percentiles
CELLS = 2**21  # resamples × units that are in memory at a time


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact p-value that two models are equally accurate. In: bool (N,), correct or not on each image.

    Only images count on which one is right and the other isn't; under the hypothesis each is a toss of a fair coin.
    McNemar, Psychometrika 12, 1947; the exact form as in Dietterich, Neural Computation 10, 1998.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p-value that two models do equally well on a test image. In: float (N,), each image's score.

    Images with equal scores are dropped; 1 where all are equal. Exact for up to 50 differences (13 where some are of
    equal size), beyond that by scipy's normal approximation.
    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
    """
    from scipy.stats import wilcoxon

    differences = np.round(second - first, 12)  # equal scores may differ in the last bit
    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0


def gap_recovered(teacher: float, baseline: float, student: float) -> float | None:
    """% of the way from baseline to teacher that the student went; None where the teacher isn't ahead."""
    return 100 * (student - baseline) / (teacher - baseline) if teacher > baseline else None


def resample(models: Mapping[str, Sequence[np.ndarray]], score_of: Callable[[np.ndarray], np.ndarray], resamples: int,
             seed: int) -> dict[str, np.ndarray]:
    """Draws (B,) of each model's mean score over its seeds; percentiles of any function of them are its interval.

    models: for each seed of a model sufficient statistics (U,K) of U units (test images), which add up.
    score_of: totals (*,K) → scores (*). A draw takes the same units and seeds for all models, which pairs them.

    Units are resampled (Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979), and
    the draws widened for few units (Hesterberg, "What teachers should know about the bootstrap", American Statistician
    69, 2015). Three seeds are too few to resample beside them (Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 1, 2007): all lie on one side of the truth in a quarter of cases. Their deviations are weighted by
    `_seed_weights` instead. With one unit all draws are the same.
    """
    random = np.random.default_rng(seed)
    units, seeds = len(next(iter(models.values()))[0]), max(map(len, models.values()))
    weights = _seed_weights(random, resamples, seeds) if seeds > 1 else None  # (B,S)
    sums = {name: np.zeros(resamples) for name in models}
    for start, counts in _unit_counts(random, units, resamples):  # (b,U)
        for name, stats in models.items():
            sums[name][start:start + len(counts)] += sum(score_of(counts @ own) for own in stats)
    draws = {}
    for name, stats in models.items():
        scores = np.array([float(score_of(own.sum(0))) for own in stats])  # (S,)
        draws[name] = scores.mean() + _widening(units) * (sums[name] / len(stats) - scores.mean())
        if len(stats) > 1 and units > 1:
            draws[name] += weights @ (scores - scores.mean())
    return draws


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The percentiles between which LEVEL % of the draws (B,) lie."""
    return tuple(np.percentile(draws, TAILS).tolist())


def ratio_interval(part: np.ndarray, total: np.ndarray) -> tuple[float, float] | None:
    """The interval of part / total in %, from draws (B,) each; None where `total` isn't surely above 0.

    Draws in which it isn't above 0 count against both ends.
    """
    invalid = total <= 0
    ratio = 100 * part / np.where(invalid, 1, total)
    ends = tuple(float(np.percentile(np.where(invalid, limit, ratio), tail, method="nearest"))
                 for limit, tail in zip((-np.inf, np.inf), TAILS, strict=True))
    return ends if interval(total)[0] > 0 and np.isfinite(ends).all() else None


def _unit_counts(random: np.random.Generator, units: int, resamples: int) -> Iterator[tuple[int, np.ndarray]]:
    """How often each unit is in each resample, (B,U) in chunks (b,U), each with the number of its first resample."""
    rows = max(1, CELLS // units)
    for start in range(0, resamples, rows):
        drawn = random.integers(units, size=(min(rows, resamples - start), units))
        drawn += units * np.arange(len(drawn))[:, None]
        yield start, np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _seed_weights(random: np.random.Generator, resamples: int, seeds: int) -> np.ndarray:
    """(B,S): weights whose product with the deviations of S scores from their mean is Student's t with S − 1 degrees of
    freedom times the mean's standard error.

    It is the posterior of a normal mean with unknown variance (Gelman et al., "Bayesian Data Analysis", 3.2), jointly
    for several models, since the weights are those of the seeds.
    """
    return random.normal(size=(resamples, seeds)) / np.sqrt(seeds * random.chisquare(seeds - 1, (resamples, 1)))


def _widening(units: int) -> float:
    """How much too narrow percentiles of U resampled units are: √(U / (U − 1)), times Student's t over the normal."""
    from scipy.special import ndtri, stdtrit  # as in `mcnemar`

    tail = TAILS[1] / 100
    return float(np.sqrt(units / (units - 1)) * stdtrit(units - 1, tail) / ndtri(tail)) if units > 1 else 1.0
