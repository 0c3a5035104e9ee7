"""Scores of a classifier against values worked out by hand, scikit-learn's and torchmetrics'."""

import math

import numpy as np
import pytest
import torch
from predicted import ANIMALS, THREE, classified
from sklearn import metrics
from torchmetrics.functional import classification as torch_metrics

from stages.evaluation import calibration
from stages.tasks.classification import scores


def test_accuracy_and_averages_over_the_classes_present():
    table = scores.measure(THREE, ANIMALS, bins=10)
    # Right: 1 of 2 zeros, 1 of 2 ones. Said 0: once, rightly. Said 1: twice, once rightly. Said 2: doesn't count.
    assert table["accuracy"] == table["balanced_accuracy"] == table["recall"] == pytest.approx(50)
    assert table["precision"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert table["f1"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert table["log_loss"] == pytest.approx(-math.log(0.8 * 0.5 * 0.2 * 0.2) / 4, rel=1e-6)


def random_answers(classes: int, seed: int = 0, images: int = 200) -> scores.Predictions:
    """Often right; the last class has no image."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes - 1, images)
    logits = random.normal(size=(images, classes)) + 1.5 * np.eye(classes)[targets]
    return scores.Predictions(logits.astype(np.float32), targets)


@pytest.mark.parametrize("classes", [3, 12])
def test_against_torchmetrics_and_scikit_learn(classes):
    answers = random_answers(classes)
    table = scores.measure(answers, [str(number) for number in range(classes)], bins=15)
    logits, targets = torch.from_numpy(answers.logits), torch.from_numpy(answers.targets)
    expected = {"accuracy": torch_metrics.multiclass_accuracy(logits, targets, classes, average="micro"),
                "recall": torch_metrics.multiclass_recall(logits, targets, classes, average="none")[:-1].mean(),
                "ece": torch_metrics.multiclass_calibration_error(logits, targets, classes, n_bins=15, norm="l1"),
                "map": torch_metrics.multiclass_average_precision(logits, targets, classes, average="none")[:-1].mean()}
    expected |= {f"{name}_weighted": measure(logits, targets, num_classes=classes, average="weighted") for name, measure
                 in (("precision", torch_metrics.multiclass_precision), ("recall", torch_metrics.multiclass_recall),
                     ("f1", torch_metrics.multiclass_f1_score))}
    if classes >= 10:
        expected["top5"] = torch_metrics.multiclass_accuracy(logits, targets, classes, top_k=5, average="micro")
    assert ("top5" in table) == (classes >= 10)
    assert {name: table[name] for name in expected} == pytest.approx(
        {name: 100 * float(value) for name, value in expected.items()}, rel=1e-4)
    each = metrics.precision_recall_fscore_support(answers.targets, answers.predicted, zero_division=0,
                                                   labels=range(classes - 1), average="macro")
    assert [table[name] for name in ("precision", "recall", "f1")] == pytest.approx([100 * value for value in each[:3]])
    assert table["balanced_accuracy"] == table["recall"]
    assert table["mcc"] == pytest.approx(float(torch_metrics.multiclass_matthews_corrcoef(logits, targets, classes)),
                                         rel=1e-5)
    assert table["log_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)), rel=1e-5)
    squares = (logits.double().softmax(1) - torch.nn.functional.one_hot(targets, classes)).square().sum(1).mean()
    assert table["brier"] == pytest.approx(float(squares))


def test_brier_and_matthews_by_hand():
    table = scores.measure(THREE, ANIMALS, bins=10)
    each = (0.2**2 + 2 * 0.1**2, 0.3**2 + 0.5**2 + 0.2**2, 0.8**2 + 0.7**2 + 0.1**2, 0.1**2 + 0.8**2 + 0.7**2)
    assert table["brier"] == pytest.approx(sum(each) / 4, rel=1e-6)
    # Of four images two are right; classes are shown 2, 2, 0 times and said 1, 2, 1 times.
    assert table["mcc"] == pytest.approx((2 * 4 - (2 * 1 + 2 * 2)) / math.sqrt((16 - 1 - 4 - 1) * (16 - 4 - 4)))
    two = classified([[0.9, 0.1], [0.4, 0.6]], [0, 0])  # 2 · 0.1² and 2 · 0.6²
    assert scores.measure(two, ANIMALS[:2], bins=1)["brier"] == pytest.approx((2 * 0.1**2 + 2 * 0.6**2) / 2, rel=1e-6)


def test_where_the_teacher_errs():
    teacher, student = (classified(list(np.eye(3)[said] * 0.8 + 0.1), [0, 1, 2, 0, 1]) for said in (
        [0, 2, 0, 1, 1], [1, 1, 0, 0, 0]))
    assert teacher.errors() == 3  # the second, third and fourth; of those the student has two
    assert student.accuracy_where_wrong(teacher) == pytest.approx(100 * 2 / 3)
    assert student.accuracy_where_wrong(classified(np.eye(3)[[0, 1, 2, 0, 1]] * 0.8 + 0.1, [0, 1, 2, 0, 1])) is None


def test_sufficient_stats_count_right_images():
    stats = scores.sufficient_stats(THREE)
    assert stats.tolist() == [[1, 1], [1, 1], [0, 1], [0, 1]]
    assert scores.score_of(stats.sum(0)) == 50
    assert scores.score_of(np.array([[3, 4], [0, 4]])).tolist() == [75, 0]


def test_precision_and_recall_by_hand():
    three = classified([[0.9, 0.1, 1e-9], [0.6, 0.4, 1e-9], [0.3, 0.7, 1e-9]], [0, 1, 1])  # class 2 is absent
    recall, precision = scores.precision_recall(three)
    # Said of either class, the surest first: 0.9 rightly, 0.7 rightly, 0.6 wrongly, 0.4 rightly, 0.3 and 0.1 wrongly.
    assert recall == pytest.approx([1, 1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    assert precision == pytest.approx([3 / 6, 3 / 5, 3 / 4, 2 / 3, 2 / 2, 1 / 1, 1])


@pytest.mark.parametrize("classes", [3, 12])
def test_precision_and_recall_are_scikit_learns(classes):
    """Ties included: every other image is answered as the one before it."""
    answers = random_answers(classes)
    answers.logits[1::2] = answers.logits[::2]
    present = np.unique(answers.targets)
    precision, recall, _ = metrics.precision_recall_curve(
        (answers.targets[:, None] == present).ravel(), answers.probabilities()[:, present].ravel())
    for ours, theirs in zip(scores.precision_recall(answers), (recall, precision), strict=True):
        assert ours == pytest.approx(theirs)


def test_mean_average_precision_masks_an_absent_class():
    three = classified([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.7, 0.1]], [0, 1, 0])
    # Class 0 ranks + − +: 1/2 · 1 + 1/2 · 2/3. Class 1 ranks − + −: 1/2. Class 2 has no image.
    assert scores.measure(three, ANIMALS, bins=1)["map"] == pytest.approx(100 * (5 / 6 + 1 / 2) / 2)


@pytest.mark.parametrize("bins, expected", [
    (1, abs(3 / 4 - (0.9 + 0.9 + 0.55 + 0.7) / 4)),
    (5, 2 / 4 * abs(1 / 2 - 0.9) + 1 / 4 * abs(1 - 0.7) + 1 / 4 * abs(1 - 0.55)),
])
def test_calibration_error(bins, expected):
    four = classified([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.7, 0.3]], [0, 1, 0, 0])
    assert calibration.error(scores.reliability(four, bins)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_bin_holds_its_upper_end(classes):
    """Of even odds the top probability is 1/2 or 1/4, just between two bins."""
    even = scores.Predictions(np.zeros((2, classes), np.float32), np.array([0, 1]))
    assert scores.reliability(even, classes) == [(0, 1 / classes, 2, 1 / classes, 0.5)]


def test_a_very_sure_model_has_finite_scores():
    sure = scores.Predictions(np.array([[1e4, -1e4], [1e4, -1e4]], np.float32), np.array([0, 1]))
    table = scores.measure(sure, ANIMALS[:2], bins=15)
    assert table["log_loss"] == pytest.approx(1e4) and table["ece"] == pytest.approx(50)


def test_equal_logits_rank_as_in_scikit_learn():
    """Files in 8 bits give many equal ones."""
    random = np.random.default_rng(0)
    answers = scores.Predictions(random.integers(0, 4, (300, 12)).astype(np.float32), random.integers(0, 12, 300))
    table = scores.measure(answers, [*map(str, range(12))], 15)
    assert table["top5"] == pytest.approx(100 * metrics.top_k_accuracy_score(
        answers.targets, answers.logits, k=5, labels=range(12)))
    present = answers.targets[:, None] == np.arange(12)
    assert table["map"] == pytest.approx(100 * metrics.average_precision_score(present, answers.probabilities()))


def test_scores_do_not_depend_on_how_much_is_in_memory(monkeypatch):
    answers = random_answers(12)
    once = scores.measure(answers, [*map(str, range(12))], 15)
    monkeypatch.setattr(scores, "CELLS", 100)
    assert scores.measure(random_answers(12), [*map(str, range(12))], 15) == once


def test_the_curve_of_many_decisions_is_that_of_some_of_the_images(monkeypatch):
    answers = random_answers(12)  # 200 images × 11 classes present
    monkeypatch.setattr(scores, "DECISIONS", 1100)
    every_second = scores.Predictions(answers.logits[::2], answers.targets[::2])
    for some, expected in zip(scores.precision_recall(answers), scores.precision_recall(every_second), strict=True):
        np.testing.assert_array_equal(some, expected)


def test_answers_do_not_depend_on_batches():
    halves = [(THREE.logits[:3], THREE.targets[:3]), (THREE.logits[3:], THREE.targets[3:])]
    collected = scores.collect(halves, np.zeros((4, 5), np.int32))
    assert scores.measure(collected, ANIMALS, 5) == scores.measure(THREE, ANIMALS, 5)


def test_models_are_compared_by_the_images_that_one_has_right_alone():
    first, second = (classified([[0.9, 0.1]] * right + [[0.1, 0.9]] * (10 - right), [0] * 10) for right in (2, 7))
    assert scores.compare(first, second) == scores.compare(second, first) == pytest.approx(2 / 2**5)


@pytest.mark.parametrize("classes", [9, 10])
def test_top5_is_measured_from_ten_classes_on(classes):
    logits = np.arange(classes, 0, -1, dtype=np.float32)[None].repeat(4, 0)  # class 0 first, then 1, 2 …
    table = scores.measure(scores.Predictions(logits, np.array([0, 4, 5, 8])), [*map(str, range(classes))], 5)
    assert table.get("top5") == (None if classes < 10 else 50)
