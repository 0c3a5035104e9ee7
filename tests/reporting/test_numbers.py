"""Numbers, names and settings as text."""

import string

import pytest

from stages.reporting import numbers


@pytest.mark.parametrize(("value", "digits", "text"), [
    (138.4, 2, "138"), (470.1, 2, "470"), (5216.3, 3, "5216"), (0.03951, 3, "0.0395"), (52163.0, 4, "52163"),
    (9.996, 3, "10"), (0.0, 3, "0"), (-0.5, 2, "-0.5"), (100.4, 2, "100"), (115.4, 2, "115"),
    (99.4, 2, "99"), (-138.4, 2, "-138"),
    (0.00001234, 3, "0.0000123"), (65, 4, "65"), (1000.4, 4, "1000"), (999.44, 4, "999.4"),
])
def test_plain_numbers_have_no_exponent_and_no_trailing_zeros(value, digits, text):
    assert numbers.plain(value, digits) == text


@pytest.mark.parametrize(("millions", "text"), [
    (138.4, "138 million"), (138.5, "138 million"), (1.9642, "1.96 million"), (1.0, "1 million"),
    (0.6966, "697 thousand"),
    (0.02, "20 thousand"), (0.001, "1 thousand"), (0.000999, "999"), (0.0001, "100"),
])
def test_parameters_in_words(millions, text):
    assert numbers.parameters(millions) == text


@pytest.mark.parametrize(("value", "digits", "text"), [
    (-0.001, 2, "0.00"), (-0.37, 2, "−0.37"), (1.0, 2, "1.00"), (-0.4, 0, "0"), (-60.2, 0, "−60")])
def test_signed_numbers_have_a_real_minus_and_no_negative_zero(value, digits, text):
    assert numbers.signed(value, digits) == text


@pytest.mark.parametrize(("difference", "text"), [
    (1.0, "1.00 point"), (-1.004, "1.00 point"), (-0.46, "0.46 points"), (0.0, "0.00 points")])
def test_points_are_the_size_of_a_difference(difference, text):
    assert numbers.points(difference) == text


def test_intervals_and_deviations():
    row = {"x": 1.25, "x_low": -0.374, "x_high": 1.3, "x_std": 0.5, "y": 2.0, "y_std": None}
    assert numbers.bounds(row, "x") == (-0.374, 1.3) and numbers.bounds(row, "y") is None
    assert numbers.interval(row, "x") == "95 % interval −0.37 to 1.30" and numbers.interval(row, "y") == ""
    assert numbers.interval(row, "x", 1) == "95 % interval −0.4 to 1.3" and numbers.span(-2, 3, 0) == "−2 to 3"
    assert numbers.spread(row, "x", 2) == "1.25 ± 0.50" and numbers.spread(row, "y", 1) == "2.0"


def test_lists_of_words():
    assert numbers.listed(["a"]) == "a" and numbers.listed(["a", "b"]) == "a and b"
    assert numbers.listed(["a", "b", "c"]) == "a, b and c"
    assert numbers.few(["a|", "b", "c"]) == "a\\|, b and c"
    assert numbers.few(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert numbers.few(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert numbers.counted(1, "image") == "1 image" and numbers.counted(0, "image") == "0 images"
    assert numbers.bracketed("a", "", "b") == " (a; b)" and numbers.bracketed("", "") == ""
    assert [numbers.display_name(name) for name in ("teacher", "int8")] == ["teacher", "small student"]
    assert numbers.escaped(" a\n b ") == "a b"
    assert numbers.escaped("\x1b[31m\u202e") == r"\\x1b\[31m\\u202e"  # for a terminal nothing to act on
    assert numbers.escaped(string.ascii_letters + string.digits) == string.ascii_letters + string.digits


def test_settings_as_rows():
    nested = {"a": {"b": {"c": 1}, "d": [2, 3]}, "e": True}
    assert list(numbers.flattened(nested)) == [("a.b.c", 1), ("a.d", [2, 3]), ("e", True)]
    assert [numbers.cell(value) for value in (True, False, [2, 3], "a|b", 0.5)] == ["yes", "no", "2, 3", "a\\|b", "0.5"]
