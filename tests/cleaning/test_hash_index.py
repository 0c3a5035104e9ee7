"""The index of hashes finds what comparing all of them finds, however it has grown."""

import numpy as np
import pytest

from stages.cleaning import hash_index


@pytest.mark.parametrize(("recent", "tile"), [(4096, 4096), (100, 7), (0, 4096)], ids=["one by one", "mixed", "tables"])
def test_near_hashes_are_those_of_a_full_comparison(monkeypatch, recent, tile):
    chance = np.random.default_rng(0)
    monkeypatch.setattr(hash_index, "RECENT", recent)
    monkeypatch.setattr(hash_index, "TILE", tile)
    base = chance.integers(0, 2**63, 200).astype(np.uint64)
    flips = np.array([sum(1 << int(bit) for bit in chance.choice(64, count, replace=False))
                      for count in range(14) for _ in range(20)], np.uint64)
    stored, queries = np.concatenate([base, base[:1]]), base[chance.integers(0, 200, 280)] ^ flips
    index = hash_index.HashIndex()
    assert index.near(queries).shape == (2, 0)
    for part in np.array_split(stored, 5):
        index.add(part)
    assert recent == 4096 or index.tabled > 50
    distance = np.bitwise_count(queries[:, None] ^ stored)
    assert {8, 9} <= set(distance.flat)
    np.testing.assert_array_equal(index.near(queries), np.nonzero(distance <= 8))
    np.testing.assert_array_equal(hash_index.close(queries, stored), np.nonzero(distance <= 8))


def test_no_queries_find_nothing():
    index = hash_index.HashIndex()
    index.add(np.arange(5, dtype=np.uint64))
    assert index.near(np.empty(0, np.uint64)).shape == (2, 0)
    assert hash_index.close(np.arange(3, dtype=np.uint64), np.empty(0, np.uint64)).shape == (2, 0)
