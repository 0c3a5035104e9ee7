"""Finds 64-bit hashes that differ from a query in few bits, without comparing it with all of them.

Where two hashes differ in DISTANCE bits or fewer, one at least of their four parts differs in two or fewer. So each
part has a table, in which a query looks up its own part and all those within two bits of it. Norouzi, Punjani and
Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012.
"""

from itertools import combinations

import numpy as np

DISTANCE = 8  # of 64 bits: hashes up to this far apart are found
PARTS, BITS = 4, 16
FLIPS = np.array([sum(1 << bit for bit in bits) for count in range(DISTANCE // PARTS + 1)
                  for bits in combinations(range(BITS), count)], np.uint16)  # (137,): what two parts may differ by
RECENT = 4096  # hashes added last are compared one by one, until they are more than this
TILE = 4096  # of them compared with the queries at a time


class HashIndex:
    """Grows by `add`; items are numbered from 0 in the order of their arrival."""

    def __init__(self) -> None:
        self.hashes = np.empty(0, np.uint64)
        self._rebuild()

    def add(self, hashes: np.ndarray) -> None:
        """hashes: uint64 (n,)."""
        self.hashes = np.concatenate([self.hashes, hashes])
        if len(self.hashes) - self.tabled > RECENT:
            self._rebuild()

    def near(self, queries: np.ndarray) -> np.ndarray:
        """Pairs of a query and an item at most DISTANCE bits apart, each once, in order: their numbers, int64 (2,n).

        queries: uint64 (Q,). Memory grows with Q and with the number of items that share a part with a query.
        """
        found = [close(queries, self.hashes[start:start + TILE]) + np.array([[0], [start]])
                 for start in range(self.tabled, len(self.hashes), TILE)]
        for keys, order, starts in zip(_parts(queries), self.order, self.starts, strict=True):
            wanted = (keys[:, None] ^ FLIPS).ravel().astype(int)  # (Q·137,)
            counts = starts[wanted + 1] - starts[wanted]
            query = np.repeat(np.arange(len(wanted)) // len(FLIPS), counts)
            item = order[np.arange(len(query)) + np.repeat(starts[wanted] - np.cumsum(counts) + counts, counts)]
            is_close = np.bitwise_count(queries[query] ^ self.hashes[item]) <= DISTANCE
            found.append(np.stack([query[is_close], item[is_close]]))
        pairs, items = np.concatenate(found, axis=1), max(1, len(self.hashes))
        return np.stack(np.divmod(np.unique(pairs[0] * items + pairs[1]), items))

    def _rebuild(self) -> None:
        """For each part the items sorted by it, and where each of its values begins."""
        self.tabled, parts = len(self.hashes), _parts(self.hashes)
        self.order = [np.argsort(part, kind="stable") for part in parts]
        self.starts = [np.concatenate([[0], np.bincount(part, minlength=2**BITS).cumsum()]) for part in parts]


def close(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs at most DISTANCE bits apart of uint64 (A,) and (B,), all compared: their numbers, int64 (2,n)."""
    is_close = np.bitwise_count(one[:, None] ^ other) <= DISTANCE  # (A,B)
    # Flattened: numpy searches one axis thirty times faster than two.
    return np.stack(np.divmod(np.flatnonzero(is_close), max(1, len(other))))


def _parts(hashes: np.ndarray) -> list[np.ndarray]:
    """The four parts of each hash: uint16 (n,) each."""
    return [(hashes >> np.uint64(BITS * part)).astype(np.uint16) for part in range(PARTS)]
