"""Draws, orders and weighted samples depend on their seeds alone, and are as random as they must be."""

import numpy as np

from stages.data import rng


def test_draws_are_uniform_and_uncorrelated():
    drawn = rng.uniform(7, np.arange(20000), 3, 4)
    assert drawn.min() >= 0 and drawn.max() < 1
    assert abs(drawn.mean(0) - 0.5).max() < 0.01 and abs(drawn.var(0) - 1 / 12).max() < 0.005
    assert abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.03
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.03


def test_the_order_is_a_permutation_of_its_own_for_each_seed_and_epoch():
    orders = [rng.permutation(seed, epoch, 10) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert (rng.permutation(1, 1, 10) == orders[3]).all()


def test_weighted_samples_are_shuffled_anew_each_epoch_and_repeatable():
    weights = np.repeat([1.0, 9.0], [90, 10])
    orders = [rng.weighted_sample(weights, seed, epoch, 100).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, orders))) == 4 and orders[3] == rng.weighted_sample(weights, 1, 1, 100).tolist()
    assert sorted(rng.weighted_sample(np.ones(100), 0, 0, 100)) == list(range(100))
    # What comes up often does not come up in a row: of 100 draws one in two is of the last ten.
    rare = np.array(orders[0]) >= 90
    assert 35 < (rare[1:] != rare[:-1]).sum() < 65


def mixed(x: int) -> int:
    """SplitMix64's finaliser, with Python's integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def test_draws_are_splitmix64s_of_seed_view_and_sample():
    """A stored view must be drawn alike by every later version."""
    golden, seed, view, samples = 0x9E3779B97F4A7C15, 11, 3, np.array([0, 5, 2**40])
    for row, sample in zip(rng.uniform(seed, samples, view, 3), samples.tolist(), strict=True):
        state = mixed(mixed((seed + golden) % 2**64) ^ view)
        state = mixed(state ^ mixed((sample + golden) % 2**64))
        expected = [(mixed((state + golden * number) % 2**64) >> 11) / 2**53 for number in (1, 2, 3)]
        assert row.tolist() == expected


def test_a_weighted_sample_of_few_draws_is_spread_over_the_weights():
    """Of weights 2, 2, 16 ten draws are one, one and eight, in whatever order."""
    for seed in range(20):
        assert np.bincount(rng.weighted_sample(np.array([2.0, 2.0, 16.0]), seed, 0, 10)).tolist() == [1, 1, 8]
