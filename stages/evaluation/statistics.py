"""What can be said from a few seeds and one test split. In: numbers, paired answers, tallies. Out: means, tests,
intervals.

An interval answers: what would this be on other test images from the same source, with networks trained anew? How often
the 95 % interval of a gain of one point held it, in simulations of two networks at 90 % whose seeds differ by some
standard deviation (tests/test_statistics.py repeats a part; 2000 trials of 360 images, 800 of 2000, 150 of 10,000):

    images                            360    2000    2000    10,000        what is resampled
    points by which seeds differ      0.5     0.5     1.0       0.5

    of 3 seeds                       92 %    82 %    63 %      51 %        images
                                     99 %    97 %    90 %      88 %        images and seeds (Owen, 2007)
                                     99 %    98 %    97 %      96 %        images, seeds by Student's t: `resample`
    of 5 seeds                       92 %    83 %    61 %      51 %        images
                                     99 %    98 %    95 %      93 %        images and seeds
                                     99 %    98 %    98 %      98 %        images, seeds by Student's t

It errs on the safe side where seeds differ by little beside what each happens to miss. With one seed nothing tells how
others would differ: the interval is for new images alone. Of few photographs' mean IoU it holds less than it says (85 %
of 10, 91 % of 50), since rare classes may be in none of them; of a gain in it 93 to 95 %.

The teacher is one network, the best on val of its seeds, however many it was trained with: how others would fare is
left out of its interval and of the gap's, which are for new images, new baselines and students, and this teacher.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

LEVEL = 95  # % of intervals that should hold the truth
TAILS = (50 - LEVEL / 2, 50 + LEVEL / 2)  # percentiles
CELLS = 2**21  # of a table of counts, units by resamples, that is in memory at a time


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


def resample(models: Mapping[str, Sequence[np.ndarray]], score_of: Callable[[np.ndarray], np.ndarray], resamples: int,
             seed: int) -> dict[str, np.ndarray]:
    """Draws (B,) of each model's mean score over its seeds: an interval of any function of them is in its percentiles.

    models: for each of a model's seeds a tally (U,K), counts of each of U units (images, photographs) that add up.
    score_of: totals (*,K) → scores (*). Units and seeds are the same for all models in a draw, which pairs them.

    Units are resampled (Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979), and
    the draws spread as few units ask for (Hesterberg, "What teachers should know about the bootstrap", American
    Statistician 69, 2015). Seeds could be resampled beside them (Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 1, 2007), but not three: all of these lie on one side of the truth in a quarter of cases. So their
    deviations are weighted by `_seed_weights` instead. With one unit all draws are the same.
    """
    random = np.random.default_rng(seed)
    units, seeds = len(next(iter(models.values()))[0]), max(map(len, models.values()))
    weights = _seed_weights(random, resamples, seeds) if seeds > 1 else None  # (B,S)
    sums = {name: np.zeros(resamples) for name in models}
    for start, counts in _unit_counts(random, units, resamples):  # (b,U)
        for name, tallies in models.items():
            sums[name][start:start + len(counts)] += sum(score_of(counts @ tally) for tally in tallies)
    draws = {}
    for name, tallies in models.items():
        own = np.array([float(score_of(tally.sum(0))) for tally in tallies])
        draws[name] = own.mean() + _stretch(units) * (sums[name] / len(tallies) - own.mean())
        if len(tallies) > 1 and units > 1:
            draws[name] += weights @ (own - own.mean())
    return draws


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The percentiles that hold LEVEL % of the draws (B,)."""
    return tuple(np.percentile(draws, TAILS).tolist())


def ratio_interval(part: np.ndarray, whole: np.ndarray) -> tuple[float, float] | None:
    """Of part / whole in %, draws (B,) each. None where `whole` isn't surely above 0: then the ratio may be anything.

    Draws in which it isn't count against both ends.
    """
    beyond = whole <= 0
    ratio = 100 * part / np.where(beyond, 1, whole)
    ends = tuple(float(np.percentile(np.where(beyond, limit, ratio), tail, method="nearest"))
                 for limit, tail in zip((-np.inf, np.inf), TAILS, strict=True))
    return ends if interval(whole)[0] > 0 and np.isfinite(ends).all() else None


def _unit_counts(random: np.random.Generator, units: int, resamples: int):
    """Chunks of a table (B,U), each with its first row's number: how often each unit is in each resample."""
    rows = max(1, CELLS // units)
    for start in range(0, resamples, rows):
        drawn = random.integers(units, size=(min(rows, resamples - start), units))
        drawn += units * np.arange(len(drawn))[:, None]
        yield start, np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _seed_weights(random: np.random.Generator, resamples: int, seeds: int) -> np.ndarray:
    """(B,S): times the deviations of S scores from their mean, it has Student's distribution with S − 1 degrees of
    freedom and the mean's standard error.

    That is what a normal mean with unknown variance is drawn from (Gelman et al., "Bayesian Data Analysis", 3.2); of
    several models at once, since the weights are those of the seeds.
    """
    return random.normal(size=(resamples, seeds)) / np.sqrt(seeds * random.chisquare(seeds - 1, (resamples, 1)))


def _stretch(units: int) -> float:
    """By how much too short the percentiles of U resampled units are: n − 1 for n, and Student's t for the normal."""
    from scipy.stats import norm, t

    tail = TAILS[1] / 100
    return float(np.sqrt(units / (units - 1)) * t.ppf(tail, units - 1) / norm.ppf(tail)) if units > 1 else 1.0
