"""The Pareto front of scores and costs, and error bars, against cases worked out by hand."""

import pytest

from stages.evaluation import pareto


@pytest.mark.parametrize(("pairs", "expected"), [
    ([], []),
    ([(1, 5), (2, 6), (3, 6), (2, 5.5)], [True, True, False, False]),
    ([(1, 5), (1, 5)], [True, True]),
    ([(1, 5), (1, 6)], [False, True]),
    ([(9, 95), (1, 90), (1, 92), (2, 91)], [True, False, True, False]),
    ([(0, 0), (1, -1)], [True, False]),
    ([(None, 9), (1, 5)], [False, True]),
    ([(0.5, None), (1, 5)], [False, True]),
    ([(None, None)], [False]),
])
def test_front(pairs, expected):
    assert pareto.front(pairs) == expected


def test_front_of_errors_where_lower_is_better():
    assert pareto.front([(1, 5), (2, 6), (2, 4)], lower=True) == [True, False, True]


@pytest.mark.parametrize(("pairs", "expected"), [
    ([(1.0, 5), (1.007, 6)], [False, True]),  # 0.7 % more counts as the same cost
    ([(1.0, 6), (1.007, 6)], [True, True]),
    ([(1.0, 5), (1.06, 6)], [True, True]),
    ([(1.0, 6), (1.06, 6)], [True, False]),
])
def test_costs_within_the_tolerance_are_equal(pairs, expected):
    assert pareto.front(pairs, equal=0.05) == expected


@pytest.mark.parametrize(("parts", "expected"), [
    ({"low": 88.0, "high": 91.0}, (2.0, 1.0)),
    ({"std": 0.5, "low": 88.0, "high": 91.0}, (2.0, 1.0)),
    ({"low": 91.0, "high": 92.0}, (0.0, 2.0)),  # an interval that lies above its value
    ({"low": 88.0, "high": 89.0}, (2.0, 0.0)),
    ({"std": 0.5}, (0.5, 0.5)),
    ({"std": 0.0}, (0.0, 0.0)),
    ({}, None),
])
def test_error_bar_is_the_interval_or_else_the_standard_deviation(parts, expected):
    assert pareto.error_bar(90.0, **parts) == expected
