"""Scores of a segmenter against values worked out by hand and against scikit-learn's and torchmetrics'."""

import numpy as np
import pytest
import torch
from predicted import PLACES, onehot, random_masks, segmented
from sklearn import metrics
from torchmetrics.functional import classification as torch_metrics

from stages import evaluate
from stages.data import tiling
from stages.data.prepared import IGNORED, UNLABELLED
from stages.data.tiling import Sizing
from stages.evaluation import calibration, confusion
from stages.tasks.classification import scores as class_scores
from stages.tasks.segmentation import scores as mask_scores


def measure(answers: mask_scores.Predictions, bins: int = 10) -> dict:
    return mask_scores.measure(answers, PLACES, bins)


def paired(first: mask_scores.Predictions, second: mask_scores.Predictions) -> dict[str, float]:
    settings = evaluate.EvaluateParams(batch_size=1, ece_bins=10, resamples=100, seed=0)
    return evaluate.paired(first, second, mask_scores, settings)


def test_by_hand():
    # Six sea pixels, of which four are found and two are called land; two of land, one of them called a gull.
    targets = np.array([[[0, 0, 0, 0], [0, 0, 1, 1], [IGNORED] * 4, [UNLABELLED] * 4]])
    said = np.array([[[0, 0, 0, 0], [1, 1, 1, 3], [2] * 4, [3] * 4]])
    table = measure(segmented(onehot(said), targets))
    assert table["iou"] == pytest.approx({"sea": 100 * 4 / 6, "land": 100 * 1 / 4})  # TP / (TP + FP + FN)
    assert table["miou"] == pytest.approx(100 * (4 / 6 + 1 / 4) / 2)
    assert table["pixel_accuracy"] == pytest.approx(100 * 5 / 8)
    assert table["precision"] == pytest.approx(100 * (4 / 4 + 1 / 3) / 2)
    assert table["recall"] == pytest.approx(100 * (4 / 6 + 1 / 2) / 2)
    assert table["f1"] == pytest.approx(100 * (8 / 10 + 2 / 5) / 2)
    sure = np.exp(4) / (np.exp(4) + 3)
    assert table["ece"] == pytest.approx(100 * (sure - 5 / 8))
    assert table["log_loss"] == pytest.approx(-(5 * np.log(sure) + 3 * np.log((1 - sure) / 3)) / 8)
    other = (1 - sure) / 3
    assert table["brier"] == pytest.approx(
        (5 * ((1 - sure)**2 + 3 * other**2) + 3 * (sure**2 + (1 - other)**2 + 2 * other**2)) / 8)
    assert table["precision_weighted"] == pytest.approx(100 * (6 * 4 / 4 + 2 * 1 / 3) / 8)
    assert table["recall_weighted"] == table["pixel_accuracy"]
    assert table["f1_weighted"] == pytest.approx(100 * (6 * 8 / 10 + 2 * 2 / 5) / 8)
    # Shown 6, 2, 0, 0 times, said 4, 3, 0, 1 times.
    assert table["mcc"] == pytest.approx((8 * 5 - (6 * 4 + 2 * 3)) / np.sqrt((64 - 36 - 4) * (64 - 16 - 9 - 1)))


def test_iou_is_of_the_sums_over_all_pictures_and_not_their_mean():
    targets = np.array([[[0, 0], [0, 0]], [[0, 1], [1, 1]]])
    said = np.array([[[0, 0], [0, 1]], [[0, 0], [1, 1]]])
    assert measure(segmented(onehot(said), targets))["iou"] == pytest.approx({"sea": 100 * 4 / 6, "land": 100 * 2 / 4})


@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(seed):
    logits, targets = random_masks(seed)
    answers, valid = segmented(logits, targets), targets >= 0
    actual, predicted = targets[valid], logits.argmax(1)[valid]
    assert (answers.confusion == metrics.confusion_matrix(actual, predicted, labels=range(4))).all()
    table, present = measure(answers), [0, 1, 2]
    iou = metrics.jaccard_score(actual, predicted, labels=present, average=None)
    assert list(table["iou"].values()) == pytest.approx(list(100 * iou)) and "gull, far" not in table["iou"]
    *columns, _ = metrics.precision_recall_fscore_support(actual, predicted, labels=present, average="macro")
    assert [table[name] / 100 for name in ("precision", "recall", "f1")] == pytest.approx(columns)
    assert table["miou"] == pytest.approx(100 * iou.mean())
    assert table["pixel_accuracy"] == pytest.approx(100 * metrics.accuracy_score(actual, predicted))
    *columns, _ = metrics.precision_recall_fscore_support(actual, predicted, labels=present, average="weighted")
    assert [table[f"{name}_weighted"] / 100 for name in ("precision", "recall", "f1")] == pytest.approx(columns)
    assert table["mcc"] == pytest.approx(metrics.matthews_corrcoef(actual, predicted))
    assert answers.errors() == (actual != predicted).sum()
    pixels = torch.from_numpy(np.moveaxis(logits, 1, -1)[valid]), torch.from_numpy(actual.astype(np.int64))
    assert table["miou"] == pytest.approx(
        100 * float(torch_metrics.multiclass_jaccard_index(*pixels, 4, average="none")[:3].mean()), rel=1e-5)
    ece = torch_metrics.multiclass_calibration_error(*pixels, 4, n_bins=10, norm="l1")
    assert table["ece"] == pytest.approx(100 * float(ece), rel=1e-4)


def test_where_the_teacher_errs():
    targets = np.array([[[0, 0], [1, IGNORED]], [[2, 2], [2, 2]]])
    teacher, student = (segmented(onehot(np.array(said)), targets) for said in (
        [[[1, 0], [0, 0]], [[2, 1], [1, 2]]], [[[0, 1], [0, 1]], [[1, 2], [0, 2]]]))
    assert teacher.errors() == 4
    assert student.accuracy_where_wrong(teacher) == 50
    assert student.accuracy_where_wrong(segmented(onehot(targets), targets)) is None


def test_sufficient_stats_are_confusions_of_photographs_with_labels():
    logits, targets = random_masks(0)
    targets[2] = IGNORED
    answers = segmented(logits, targets)
    stats = mask_scores.sufficient_stats(answers)
    assert stats.shape == (4, 16)
    assert mask_scores.score_of(stats.sum(0)) == pytest.approx(measure(answers)["miou"])
    assert mask_scores.score_of(stats)[1] == pytest.approx(100 * confusion.mean_iou(answers.confusions[1]))


def test_precision_and_recall_are_those_of_a_sample_of_pixels():
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, (6, 110, 110)).astype(np.int16)
    logits = random.normal(size=(6, 4, 110, 110)).astype(np.float32) + onehot(targets, 1.5)
    pixels = class_scores.Predictions(np.moveaxis(logits, 1, -1).reshape(-1, 4), targets.ravel().astype(int))
    expected, found = (-float(np.sum(np.diff(recall) * precision[:-1])) for recall, precision in (
        class_scores.precision_recall(pixels), mask_scores.precision_recall(segmented(logits, targets))))
    assert found == pytest.approx(expected, abs=0.02)  # area under the curve, of every 31st of 72,600 pixels


@pytest.mark.parametrize("bins", [1, 10, 15, 24])
def test_calibration_and_log_loss_are_those_of_a_classifier_of_pixels(bins):
    logits, targets = random_masks(0)
    pixels = class_scores.Predictions(np.moveaxis(logits, 1, -1)[targets >= 0], targets[targets >= 0].astype(int))
    expected = class_scores.measure(pixels, PLACES, bins)
    found = measure(segmented(logits, targets), bins)
    names = ("ece", "log_loss", "brier", "mcc")
    assert [found[name] for name in names] == pytest.approx([expected[name] for name in names], rel=1e-5)
    rows = mask_scores.reliability(segmented(logits, targets), bins)
    assert [row.count for row in rows] == [row.count for row in class_scores.reliability(pixels, bins)]
    assert calibration.error(rows) == pytest.approx(expected["ece"] / 100, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_bin_holds_its_upper_end(classes):
    """Of even odds the top probability is 1/2 or 1/4, just between two bins."""
    even = segmented(np.zeros((1, classes, 2, 2), np.float32), np.array([[[0, 0], [0, 1]]]))
    assert mask_scores.reliability(even, classes) == [(0, 1 / classes, 4, 1 / classes, 0.75)]


def test_ignored_pixels_change_nothing():
    logits, targets = random_masks(0)
    others = np.where((targets < 0)[:, None], np.random.default_rng(9).normal(0, 9, logits.shape), logits)
    answers, changed = segmented(logits, targets), segmented(others.astype(np.float32), targets)
    assert measure(answers) == measure(changed) and answers.agreement(changed) == 100
    assert paired(answers, changed) == {"p_value": 1, "paired_gain": 0}
    assert any((one != other).any() for one, other in zip(answers.maps, changed.maps, strict=True))


def test_a_very_sure_model_has_finite_scores():
    table = measure(segmented(onehot(np.array([[[0, 1]] * 2]), 1e4), np.array([[[0, 0]] * 2])))
    assert table["log_loss"] == pytest.approx(5e3) and table["ece"] == pytest.approx(50)


def test_agreement_is_of_pixels():
    targets = np.array([[[0, 0], [1, IGNORED]]])
    first, second = (segmented(onehot(np.array([said])), targets) for said in ([[0, 1], [2, 0]], [[0, 2], [2, 1]]))
    assert first.agreement(second) == pytest.approx(100 * 2 / 3)


def test_the_test_is_over_photographs():
    """Better on all of five, however many pixels they have; one that is ignored altogether doesn't count."""
    targets = np.zeros((6, 8, 8), int)
    targets[5] = IGNORED
    worse = np.zeros_like(targets)
    for number in range(5):
        worse[number, :number + 1] = 1
    first, second = segmented(onehot(worse), targets), segmented(onehot(targets), targets)
    assert paired(first, second)["p_value"] == pytest.approx(2 / 2**5)
    assert paired(first, first) == {"p_value": 1, "paired_gain": 0}
    # Of 8 rows the first n + 1 are wrong: of the one class that is there, IoU 1 − (n + 1) / 8; in the mean 5 / 8.
    assert paired(first, second)["paired_gain"] == pytest.approx(100 * 3 / 8)


def scored(maps: list[np.ndarray], truths: list[np.ndarray], sizing: Sizing) -> mask_scores.Predictions:
    """Of a model that says `maps`, cut into tiles, in batches that end in the middle of a picture."""
    places = [place for number, drawn in enumerate(maps) for place in tiling.places(*drawn.shape, number, sizing)]
    said, targets = (np.concatenate([tiling.cut_mask(drawn, sizing) for drawn in drawings])
                     for drawings in (maps, truths))
    return mask_scores.collect(((onehot(said[start:start + 3]), targets[start:start + 3])
                                 for start in range(0, len(said), 3)), np.array(places))


def test_squares_become_pictures_before_they_are_scored():
    random, sizing = np.random.default_rng(3), Sizing(8, 8, "tiles", 1.0, 3)
    maps = [random.integers(0, 4, size) for size in ((8, 8), (13, 21), (5, 9), (20, 11))]
    truths = [np.where(random.random(drawn.shape) < 0.3, random.integers(-1, 3, drawn.shape), drawn) for drawn in maps]
    found, whole = (scored(maps, truths, sizing) for sizing in (sizing, Sizing(32, 32, "tiles", 1.0, 0)))
    assert (found.confusions == whole.confusions).all()
    assert found.confusion.sum() == sum(int((truth >= 0).sum()) for truth in truths)
    assert all((one == other).all() for one, other in zip(found.maps, maps, strict=True))
    assert all((one == other).all() for one, other in zip(found.masks, truths, strict=True))
    one, other = measure(found), measure(whole)
    assert one.pop("iou") == other.pop("iou") and one == pytest.approx(other)


def test_answers_do_not_depend_on_batches():
    logits, targets = random_masks(1)
    assert measure(segmented(logits, targets, 1)) == measure(segmented(logits, targets, 5))


def picture(probabilities: list[list[float]], targets: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """(1,C,W,W) and (1,W,W) from (W,C) and (W,): the first row of a picture, all others of which are ignored."""
    width = len(targets)
    logits, masks = np.zeros((1, len(probabilities[0]), width, width), np.float32), np.full((1, width, width), IGNORED)
    logits[0, :, 0], masks[0, 0] = np.log(np.array(probabilities)).T, targets
    return logits, masks


def test_precision_and_recall_by_hand(monkeypatch):
    monkeypatch.setattr(mask_scores, "STEP", 1)
    # Class 2 is absent.
    three = segmented(*picture([[0.8995, 0.1, 1e-9], [0.6, 0.4, 1e-9], [0.3, 0.7, 1e-9]], [0, 1, 1]))
    recall, precision = mask_scores.precision_recall(three)
    # Of either class, the surest first: 0.9 rightly, 0.7 rightly, 0.6 wrongly, 0.4 rightly, 0.3 and 0.1 wrongly.
    expected = [(1 / 3, 1), (2 / 3, 2 / 3), (2 / 3, 1), (1, 3 / 6), (1, 3 / 5), (1, 3 / 4)]
    assert sorted({(round(x, 6), round(y, 6)) for x, y in zip(recall, precision, strict=True)}) == [
        (pytest.approx(x, abs=1e-6), pytest.approx(y, abs=1e-6)) for x, y in expected]
    assert (np.diff(recall) <= 0).all() and len(recall) == 900  # every thousandth from 0.9 down


def test_every_31st_pixel_is_sampled():
    probabilities = np.tile([[0.9, 0.1]], (63, 1))
    probabilities[[0, 31, 62]] = [[0.1995, 0.8005], [0.2995, 0.7005], [0.5995, 0.4005]]
    sampled, correct = segmented(*picture(probabilities.tolist(), [0] * 63)).curve
    assert np.flatnonzero(sampled[0]).tolist() == np.flatnonzero(correct[0]).tolist() == [199, 299, 599]
    assert correct[1].sum() == 0 and np.flatnonzero(sampled[1]).tolist() == [400, 700, 800]


def test_without_a_sampled_pixel_that_is_right_recall_is_0():
    curve = np.zeros((2, 2, mask_scores.CURVE_BINS))
    curve[0, 0, 5] = 3
    nothing = mask_scores.Predictions(np.array([[[1, 0], [0, 0]]]), None, 0.0, 0.0, curve, [], [])
    recall, precision = mask_scores.precision_recall(nothing)
    assert recall.tolist() == precision.tolist() == [0] * 6
    curve[1, 0, 5] = 1  # a single one
    assert mask_scores.precision_recall(nothing)[0].tolist() == [1] * 6


@pytest.mark.parametrize(("classes", "of_maps", "of_masks"), [
    (128, np.uint8, np.int8), (129, np.uint8, np.int16), (256, np.uint8, np.int16), (257, np.uint16, np.int16)])
def test_maps_take_as_few_bytes_as_hold_the_classes(classes, of_maps, of_masks):
    targets = np.array([[[0, classes - 1], [-1, -100]]], np.int16)
    predictions = segmented(onehot(np.array([[[classes - 1, 0], [1, 2]]]), classes=classes), targets)
    assert predictions.maps[0].tolist() == [[classes - 1, 0], [1, 2]] and predictions.maps[0].dtype == of_maps
    assert (predictions.masks[0] == targets[0]).all() and predictions.masks[0].dtype == of_masks
    assert predictions.confusion[classes - 1, 0] == predictions.confusion[0, classes - 1] == 1


def test_means_are_of_all_pixels_of_all_pictures():
    """Three pixels at 0.8, 0.6, 0.9 for the predicted class: right, wrong, right."""
    logits, targets = picture([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]], [0, 1, 1])
    predictions = segmented(np.concatenate([logits, logits]), np.concatenate([targets, np.full_like(targets, -1)]))
    table = mask_scores.measure(predictions, PLACES[:2], 2)
    assert table["log_loss"] == pytest.approx(-np.log([0.8, 0.4, 0.9]).mean(), rel=1e-6)
    assert table["brier"] == pytest.approx(2 * (0.2**2 + 0.6**2 + 0.1**2) / 3, rel=1e-6)
    assert table["ece"] == pytest.approx(100 * (2.3 - 2) / 3, rel=1e-6)
    assert predictions.targets.tolist() == [0, 1, 1] and predictions.predicted.tolist() == [0, 0, 1]
    assert mask_scores.sufficient_stats(predictions).tolist() == [[1, 0, 1, 1]]


def test_fine_bins_divide_into_the_usual_numbers_of_bins():
    assert not [bins for bins in (*range(1, 13), 14, 15, 16, 18, 20, 24) if mask_scores.FINE_BINS % bins]
