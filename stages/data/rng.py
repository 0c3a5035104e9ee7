"""Random numbers from a counter: (seed, sample, view) gives the same draw whatever the batch, order or worker.

The mixing function is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
"""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seed: int, samples: np.ndarray, view: int, draws: int) -> np.ndarray:
    """float64 (N, draws) in [0, 1): row i depends on seed, samples[i] and view alone. samples: int (N,)."""
    with np.errstate(over="ignore"):
        state = _mix(_mix(np.uint64(seed) + GOLDEN) ^ np.uint64(view))
        state = _mix(state ^ _mix(np.asarray(samples).astype(np.uint64) + GOLDEN))
        numbers = _mix(state[:, None] + GOLDEN * np.arange(1, draws + 1, dtype=np.uint64))
    return (numbers >> np.uint64(11)) * 2.0**-53


def permutation(seed: int, epoch: int, samples: int) -> np.ndarray:
    """A permutation of 0 … samples − 1 for this seed and epoch. int64 (samples,)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(samples)


def weighted_sample(weights: np.ndarray, seed: int, epoch: int, count: int) -> np.ndarray:
    """int64 (count,), shuffled: sample i comes ⌊count · w⌋ or ⌈count · w⌉ times, w its share of all weights (N,).

    Systematic sampling of a shuffled list: Madow, "On the theory of systematic sampling, II", 1949. Equal weights and a
    count of N give each sample once; independent draws would leave out a third of them.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    shuffled = generator.permutation(len(weights))
    ends = np.cumsum(weights[shuffled])  # of each sample's interval on a line, on which evenly spaced points are put
    places = (generator.random() + np.arange(count)) * (ends[-1] / count)
    return generator.permutation(shuffled[np.searchsorted(ends[:-1], places, side="right")])


def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
