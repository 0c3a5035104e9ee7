"""The calibration error, and the bins that it is summed over, by hand."""

import numpy as np
import pytest

from stages.evaluation import calibration


def test_bins_include_their_upper_end():
    confidence = np.array([0, 0.1, 0.25, 0.26, 0.5, 0.75, 0.9, 1])
    correct = np.array([True, False, True, False, True, True, False, True])
    counts, total, right = calibration.bin_sums(confidence, correct, 4)
    assert counts.tolist() == [3, 2, 1, 2]
    assert total == pytest.approx([0.35, 0.76, 0.75, 1.9])
    assert right.tolist() == [2, 1, 1, 1]
    beyond = calibration.bin_sums(np.nextafter([1.0], 2), np.array([True]), 4)  # by a last bit
    assert beyond[0].tolist() == [0, 0, 0, 1]


def test_the_table_leaves_out_empty_bins():
    rows = calibration.table(np.array([[0, 4, 1, 0], [0, 1.6, 0.7, 0], [0, 3, 0, 0]]))
    assert rows == [(0.25, 0.5, 4, pytest.approx(0.4), 0.75), (0.5, 0.75, 1, pytest.approx(0.7), 0)]


def test_the_error_is_weighted_by_counts():
    rows = [calibration.Bin(0, 0.5, 3, 0.4, 0.6), calibration.Bin(0.5, 1, 1, 0.9, 0.5)]
    assert calibration.error(rows) == pytest.approx((3 * 0.2 + 1 * 0.4) / 4)
