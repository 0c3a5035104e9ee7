"""Confusion matrices, and the scores that follow from them, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from stages.evaluation import confusion

# Of six of the first class two are taken for the second; of two of the second one is taken for the fourth.
COUNTS = np.array([[4, 2, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])


class Predicted(confusion.Predictions):
    def __init__(self, targets: list[int], predicted: list[int]):
        self.targets, self.predicted = np.array(targets), np.array(predicted)


def test_counts_have_a_row_for_each_actual_class():
    counts = confusion.count(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 0]), 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]
    counts = confusion.count(np.array([99], np.int8), np.array([98], np.uint8), 100)  # cell 9998 overflows int8
    assert counts[99, 98] == counts.sum() == 1 and counts.shape == (100, 100)


def test_scores_of_each_class():
    scores = confusion.per_class(COUNTS)
    assert scores["precision"] == pytest.approx([4 / 4, 1 / 3, 0, 0 / 1])
    assert scores["recall"] == pytest.approx([4 / 6, 1 / 2, 0, 0])
    assert scores["f1"] == pytest.approx([8 / 10, 2 / 5, 0, 0])
    assert scores["iou"] == pytest.approx([4 / 6, 1 / 4, 0, 0])
    both = confusion.per_class(np.stack([COUNTS, COUNTS.T]))
    for name, other in (("precision", "recall"), ("recall", "precision"), ("f1", "f1"), ("iou", "iou")):
        assert both[name] == pytest.approx(np.stack([scores[name], scores[other]]))
    assert confusion.per_class(np.array([[1, 0], [0, 0]]))["iou"].tolist() == [1, 0]  # a single one, and none


def test_averages_leave_out_absent_classes():
    averages = confusion.averages(COUNTS)
    assert list(averages) == ["precision", "recall", "f1", "precision_weighted", "recall_weighted", "f1_weighted"]
    assert list(averages.values()) == pytest.approx([
        (4 / 4 + 1 / 3) / 2, (4 / 6 + 1 / 2) / 2, (8 / 10 + 2 / 5) / 2,
        (6 * 4 / 4 + 2 * 1 / 3) / 8, (6 * 4 / 6 + 2 * 1 / 2) / 8, (6 * 8 / 10 + 2 * 2 / 5) / 8])
    single = confusion.averages(np.array([[1, 0], [1, 1]]))  # a class with one example counts, too
    assert single["precision"] == pytest.approx((1 / 2 + 1) / 2) and single["recall"] == pytest.approx((1 + 1 / 2) / 2)


def test_mean_iou_is_over_the_classes_that_occur():
    assert confusion.mean_iou(COUNTS) == pytest.approx((4 / 6 + 1 / 4) / 2)
    several = confusion.mean_iou(np.stack([COUNTS, COUNTS.T]))  # transposed, classes 0, 1 and 3 occur
    assert several == pytest.approx([(4 / 6 + 1 / 4) / 2, (4 / 6 + 1 / 4 + 0) / 3])


def test_matthews_by_hand_and_of_every_image():
    # 5 of 8 are right; classes occur 6, 2, 0, 0 times and are predicted 4, 3, 0, 1 times.
    assert confusion.matthews(COUNTS) == pytest.approx(
        (8 * 5 - (6 * 4 + 2 * 3)) / np.sqrt((64 - 36 - 4) * (64 - 16 - 9 - 1)))
    random = np.random.default_rng(0)
    targets, predicted = random.integers(0, 4, (2, 50))
    predicted[:20] = targets[:20]
    assert confusion.matthews(confusion.count(targets, predicted, 5)) == pytest.approx(
        metrics.matthews_corrcoef(targets, predicted))


@pytest.mark.parametrize("counts", [[[3, 0], [2, 0]], [[4, 1], [0, 0]], [[5, 0], [0, 0]]])
def test_matthews_is_0_where_one_class_is_all(counts):
    assert confusion.matthews(np.array(counts)) == 0


def test_errors_agreement_and_accuracy_where_another_errs():
    teacher = Predicted([0, 1, 2, 0, 1], [0, 2, 0, 1, 1])  # the second, third and fourth are wrong
    student = Predicted([0, 1, 2, 0, 1], [1, 1, 0, 0, 0])  # of those, the second and fourth are right
    assert teacher.correct.tolist() == [True, False, False, False, True]
    assert (teacher.errors(), student.errors()) == (3, 3)
    assert teacher.agreement(student) == student.agreement(teacher) == 20  # on the third alone
    assert student.accuracy_where_wrong(teacher) == pytest.approx(100 * 2 / 3)
    assert teacher.accuracy_where_wrong(student) == pytest.approx(100 * 2 / 3)
    assert student.accuracy_where_wrong(Predicted([0, 1], [0, 1])) is None
    one = Predicted([0, 1, 2, 0, 1], [0, 1, 2, 0, 0])  # a single error, which the student makes as well
    assert one.errors() == 1 and student.accuracy_where_wrong(one) == 0 and teacher.accuracy_where_wrong(one) == 100


def test_classes_of_a_large_matrix_are_gathered():
    counts = np.diag(np.full(30, 3))
    counts[4, 20] = counts[20, 4] = 2
    counts[29, 0] = 1
    shown = confusion.most_confused(counts)
    assert shown == [4, 20, 29, 0, *(label for label in range(23) if label not in (0, 4, 20))] and len(shown) == 24
    gathered = confusion.gathered(counts, shown)
    assert gathered.shape == (25, 25) and gathered.sum() == counts.sum() == 95
    assert gathered[0, 1] == gathered[1, 0] == 2 and gathered[2, 3] == 1 and gathered[24, 24] == 6 * 3
    few = counts[:25, :25]
    assert confusion.most_confused(few) == [*range(25)]
    np.testing.assert_array_equal(confusion.gathered(few, [*range(25)]), few)
