"""Tests and intervals against independent implementations, and what the intervals promise by simulation."""

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar

from stages.evaluation import statistics
from stages.tasks.classification import scores as class_scores
from stages.tasks.segmentation import scores as mask_scores


@pytest.mark.parametrize("lost, gained, p", [(1, 5, 2 * (1 + 6) / 2**6), (0, 0, 1), (3, 3, 1), (10, 0, 2 / 2**10)])
def test_mcnemar(lost, gained, p):
    first = np.array([True] * lost + [False] * gained + [True] * 20 + [False] * 3)
    second = np.array([False] * lost + [True] * gained + [True] * 20 + [False] * 3)
    assert statistics.mcnemar(first, second) == pytest.approx(p)


def test_gap_recovered():
    assert statistics.gap_recovered(teacher=90, baseline=80, student=86) == pytest.approx(60)
    assert statistics.gap_recovered(teacher=80, baseline=80, student=86) is None


@pytest.mark.parametrize(("differences", "p"), [
    ([1, 2, 3, 4, 5], 2 / 2**5),  # all of one sign: the rarest of 2⁵ ways, on both sides
    ([-1, 2, 3, 4, 5], 2 * 2 / 2**5),  # ranks against sum to 1 or less: none, or the 1
    ([0, 0, 1, 2, 3], 2 / 2**3), ([0, 0, 0], 1), ([1, -1], 1), ([], 1),
])
def test_wilcoxon(differences, p):
    second = np.array(differences, float) / 10 + 0.3
    assert statistics.wilcoxon(np.full(len(second), 0.3), second) == pytest.approx(p)


def test_last_bits_are_no_differences():
    """0.1 + 0.2 is a bit more than 0.3; of five photographs all of which that favours p would be 2 / 2⁵."""
    assert statistics.wilcoxon(np.full(5, 0.3), np.full(5, 0.1 + 0.2)) == 1
    assert statistics.wilcoxon(np.zeros(5), np.full(5, 4e-13)) == 1
    assert statistics.wilcoxon(np.zeros(5), np.full(5, 3e-12)) == pytest.approx(2 / 2**5)


def paired_answers(seed: int, images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """bool (N,) twice: right or not, often both."""
    random = np.random.default_rng(seed)
    hard = random.random(images)
    return hard + 0.3 * random.random(images) < 0.95, hard + 0.3 * random.random(images) < 0.98


def stats(right: np.ndarray) -> np.ndarray:
    return np.stack([right, np.ones_like(right)], 1).astype(np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_that_of_statsmodels(seed):
    first, second = paired_answers(seed)
    table = [[int(((first == one) & (second == other)).sum()) for other in (True, False)] for one in (True, False)]
    assert statistics.mcnemar(first, second) == pytest.approx(mcnemar(table, exact=True).pvalue)


@pytest.mark.parametrize("of", ["difference", "score"])
def test_images_alone_as_scipy_resamples_them(of):
    first, second = paired_answers(0)
    draws = statistics.resample({"first": [stats(first)], "second": [stats(second)]}, class_scores.score_of, 20000, 0)
    ours = statistics.interval(draws["second"] - draws["first"] if of == "difference" else draws["second"])
    data = (second, first) if of == "difference" else (second, np.zeros(len(second)))
    expected = scipy.stats.bootstrap(
        data, lambda one, other, axis: 100 * (np.mean(one, axis=axis) - np.mean(other, axis=axis)), paired=True,
        method="percentile", n_resamples=20000, vectorized=True, rng=np.random.default_rng(1)).confidence_interval
    # An image more or less is a third of a point: percentiles sit on such steps, and are stretched by a 200th.
    assert ours == pytest.approx((expected.low, expected.high), abs=0.34)
    assert ours[1] - ours[0] == pytest.approx(expected.high - expected.low, abs=0.35)


def test_the_draws_deviate_as_much_as_the_mean_of_n_images():
    right = paired_answers(0)[0]
    draws = statistics.resample({"one": [stats(right)]}, class_scores.score_of, 20000, 0)["one"]
    student = scipy.stats.t.ppf(0.975, 299) / scipy.stats.norm.ppf(0.975)
    assert draws.std() == pytest.approx(100 * right.std(ddof=1) / np.sqrt(300) * student, rel=0.02)
    assert draws.mean() == pytest.approx(100 * right.mean(), abs=0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_alone_give_students_interval(seeds):
    """With images that all fare alike nothing is left but the seeds."""
    accuracies = np.array([70, 71, 73, 69, 72][:seeds])
    draws = statistics.resample({"one": [np.full((50, 2), (score, 100)) for score in accuracies]},
                                class_scores.score_of, 200000, 0)["one"]
    expected = scipy.stats.t.interval(0.95, seeds - 1, accuracies.mean(), scipy.stats.sem(accuracies))
    assert statistics.interval(draws) == pytest.approx(expected, rel=0.02)


def test_seeds_are_paired():
    """Each seed's second network is one point ahead: how seeds differ plays no part in the difference."""
    models_stats = {name: [np.full((50, 2), (score + ahead, 100)) for score in (70, 75, 71)]
               for name, ahead in (("first", 0), ("second", 1))}
    draws = statistics.resample(models_stats, class_scores.score_of, 500, 0)
    assert np.ptp(draws["first"]) > 5
    assert draws["second"] - draws["first"] == pytest.approx(np.ones(500))
    scores = np.array([70, 75, 71])  # a seed's weight goes with its own deviation
    weights = statistics._seed_weights(np.random.default_rng(0), 500, 3)
    assert draws["first"] == pytest.approx(72 + weights @ (scores - 72))


def test_what_another_teacher_would_bring_is_left_out():
    """Images all fare alike, and the teacher is one network: beside students of several seeds nothing moves it."""
    models_stats = {name: [np.full((50, 2), (score, 100)) for score in some]
               for name, some in (("teacher", [80]), ("student", [70, 75, 71]))}
    draws = statistics.resample(models_stats, class_scores.score_of, 500, 0)
    assert np.ptp(draws["teacher"]) == 0 and np.ptp(draws["student"]) > 5


def test_a_mean_iou_is_of_the_sums_of_resampled_photographs():
    counts = np.array([[[8, 2], [0, 0]], [[1, 1], [2, 4]]]).reshape(2, 4)
    draws = statistics.resample({"one": [counts]}, mask_scores.score_of, 4000, 0)["one"]
    both, means = (9 / 14 + 4 / 9) / 2, [8 / 10, (1 / 4 + 4 / 7) / 2]  # of both photographs; of one twice
    stretch = 2**0.5 * 12.706205 / 1.959964  # n / (n − 1), and the 97.5th percentiles of Student's t and the normal
    found, times = np.unique(((draws / 100 - both) / stretch + both).round(6), return_counts=True)
    assert found == pytest.approx(sorted([both, *means]), abs=1e-5)
    assert times[np.argmin(abs(found - both))] == pytest.approx(2000, abs=150)


def test_draws_are_the_same_twice_and_in_parts(monkeypatch):
    models = {"one": [stats(right) for right in paired_answers(0)]}
    draws = [statistics.resample(models, class_scores.score_of, 300, seed)["one"] for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all() and not (draws[0] == draws[2]).any()
    monkeypatch.setattr(statistics, "CELLS", 5000)  # 16 resamples of 300 images at a time
    assert (statistics.resample(models, class_scores.score_of, 300, 0)["one"] == draws[0]).all()
    monkeypatch.setattr(statistics, "CELLS", 100)  # not enough for one: one at a time
    assert (statistics.resample(models, class_scores.score_of, 300, 0)["one"] == draws[0]).all()


def test_one_image_tells_nothing_of_others():
    draws = statistics.resample({"one": [np.array([[1, 1]]), np.array([[0, 1]])]}, class_scores.score_of, 100, 0)
    assert np.ptp(draws["one"]) == 0


def test_a_ratio_has_an_interval_where_there_surely_is_a_gap():
    random = np.random.default_rng(0)
    part, whole = random.normal(6, 0.5, 20000), random.normal(10, 1, 20000)
    expected = np.percentile(100 * part / whole, [2.5, 97.5])
    assert statistics.ratio_interval(part, whole) == pytest.approx(tuple(expected), rel=1e-3)
    # Draws without a gap count against both ends: with 1 % of them the limits are what 1.5 % of the rest are beyond.
    whole[:200] = -1
    expected = np.percentile(100 * part[200:] / whole[200:], [100 * 1.5 / 99, 100 * 97.5 / 99])
    assert statistics.ratio_interval(part, whole) == pytest.approx(tuple(expected), rel=1e-2)
    whole[:600] = -1  # 3 %
    assert statistics.ratio_interval(part, whole) is None
    # One of 31 draws lies beyond the ends, which are the second from either side; but the gap's own interval, from
    # between the first and the second, holds 0.
    few = np.array([-100, *range(1, 31)], float)
    assert statistics.interval(few)[0] == pytest.approx(-100 / 4 + 3 / 4)
    assert statistics.ratio_interval(few, few) is None
    assert statistics.ratio_interval(few[1:], few[1:]) == (100, 100)
    assert statistics.ratio_interval(np.arange(31.0), np.ones(31)) == (100, 2900)  # a draw's own, not between two
    few[0] = -3  # the interval's end is −3 / 4 + 3 / 4
    assert statistics.interval(few)[0] == 0 and statistics.ratio_interval(few, few) is None
    nothing = np.array([0, *range(1, 101)], float)  # a draw without a gap, not with a negative one
    assert statistics.ratio_interval(nothing, nothing) == (100, 100)


def networks(random: np.random.Generator, images: int, seeds: int, spread: float) -> tuple[np.ndarray, float]:
    """Two networks of 90 and 91 %, trained with several seeds: right or not (2,S,N), and the gain that is to be found.

    spread: the standard deviation of scores over seeds in points, were there images without end. Four fifths of
    what makes an image hard is common to all networks.
    """
    normal = scipy.stats.norm
    needed, step = normal.ppf([0.90, 0.91]), spread / 100 / normal.pdf(normal.ppf(0.90))
    ease = (0.8**0.5 * random.normal(size=images) + 0.2**0.5 * random.normal(size=(2, seeds, images))
            + step * random.normal(size=(2, seeds, 1)))
    true = normal.cdf(needed / np.hypot(1, step))
    return ease > -needed[:, None, None], 100 * float(true[1] - true[0])


def coverage(images: int, seeds: int, spread: float, trials: int, resamples: int = 200) -> dict[str, float]:
    """In % of trials: how often an interval held the gain, resampling images alone, images and seeds, and as we do."""
    random, held = np.random.default_rng(0), np.zeros(3)
    for trial in range(trials):
        right, true = networks(random, images, seeds, spread)
        ours = statistics.resample({name: [stats(own) for own in some] for name, some in zip("ab", right, strict=True)},
                                   class_scores.score_of, resamples, trial)
        ahead = 100 * (right[1].astype(float) - right[0])  # (S,N)
        counts = random.multinomial(images, np.full(images, 1 / images), resamples) / images
        weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
        means = counts @ ahead.T  # (B,S)
        for number, draws in enumerate((means.mean(1), (weights * means).sum(1), ours["b"] - ours["a"])):
            low, high = statistics.interval(draws)
            held[number] += low <= true <= high
    return dict(zip(("images", "images and seeds", "ours"), 100 * held / trials, strict=True))


@pytest.mark.parametrize(("images", "seeds", "spread"), [
    (360, 3, 0.5), *(pytest.param(600, seeds, 2.0, marks=pytest.mark.slow) for seeds in (3, 5))])
def test_the_interval_of_a_gain_holds_it(images, seeds, spread):
    """Within what 200 trials can tell. Where seeds differ by much, resampling promises too much, of three above all."""
    found = coverage(images, seeds, spread, 200)
    assert found["ours"] >= 93, found
    if spread == 2:
        assert found["images"] < 75 and found["images and seeds"] < (92 if seeds == 3 else found["ours"]), found


def test_an_interval_holds_95_percent_of_the_draws():
    assert statistics.LEVEL == 95
    assert statistics.interval(np.arange(1001)[::-1]) == pytest.approx((25, 975))
