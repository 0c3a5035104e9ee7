"""The plot of a sweep."""

import numpy as np
import pytest
from PIL import Image

from stages.core.errors import UserError
from tools.comparison import pareto_plot
from tools.comparison.metric_values import MetricValue as Value


def test_equal_costs_stay_about_their_place():
    cost, front = np.array([0.0395] * 9 + [0.1, 0.2, 0.2]), np.arange(12) == 4
    aside = pareto_plot.shifts(cost, front)
    assert aside[4] == 0, "the front itself stays where it is"
    assert sorted(aside[:9]) == [-8, -6, -4, -2, 0, 2, 4, 6, 8]
    assert aside[9] == 0 and sorted(aside[10:]) == [-2, 2]


def test_the_picture_is_of_the_same_bytes_every_time(tmp_path):
    known = [Value(90, 1, 88, 91), Value(91, 1, 89, 93), Value(89), Value(91)]
    costs = {"int8.size_mb": [Value(1), Value(2), Value(1), Value(50)], "int8.latency_ms": [None] * 4}
    fronts = {cost: [True, True, False, False] for cost, values in costs.items()}
    for name in ("one.png", "two.png"):
        pareto_plot.draw(["a", "b", "c", "d"], known, "int8.accuracy", costs, fronts, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as drawn:
        assert drawn.size == (605, 495), "a panel for the one cost that is known"
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 20


def test_nothing_to_draw(tmp_path):
    with pytest.raises(UserError, match="nothing to draw"):
        pareto_plot.draw(["a"], [Value(1)], "x", {"int8.size_mb": [None]}, {}, tmp_path / "a.png")


