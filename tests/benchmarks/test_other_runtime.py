"""Two runtimes in turns."""

import numpy as np

from benchmarks import other_runtime


def test_two_runtimes_go_first_in_turn():
    order, seconds = [], {"one": [], "two": []}
    runs = {name: lambda image, name=name: order.append(name) or np.array([name]) for name in seconds}
    for backwards in (False, True):
        assert np.concatenate(other_runtime.turn(runs, np.zeros(1), seconds, backwards)).tolist() == ["one", "two"]
    assert order == ["one", "two", "two", "one"]
    assert [len(spent) for spent in seconds.values()] == [2, 2]
