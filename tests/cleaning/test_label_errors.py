"""Wrong labels: planted errors come first, and no label is predicted by a classifier that was trained on it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stages.cleaning import inspected, label_errors

score_labels = partial(label_errors.score_labels, folder=Path())  # so few images leave no files

def clusters(*sizes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of classes that lie apart, a cloud each; their labels; groups of one."""
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = 1.5 * chance.standard_normal((len(sizes), 20))
    return ((centres[labels] + chance.standard_normal((len(labels), 20))).astype(np.float32), labels,
            np.arange(len(labels)))


def test_planted_errors_come_first_and_most_are_suspect():
    inputs, truth, groups = clusters(100, 100, 100)
    wrong = np.random.default_rng(1).choice(300, 15, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % 3
    result = score_labels(inputs, labels, groups, 5, 0)
    assert set(np.argsort(result.score)[:15]) == set(wrong)
    assert set(np.flatnonzero(result.suspect)) <= set(wrong) and result.suspect.sum() >= 10
    assert (result.predicted[wrong] == truth[wrong]).all()
    assert result.score.min() >= 0 and result.score.max() <= 1


def test_correct_labels_are_not_suspect_even_in_a_long_tail():
    result = score_labels(*clusters(300, 60, 12), 5, 0)
    assert not result.suspect.any()


@pytest.mark.slow
def test_suspects_are_the_lowest_scores():
    inputs, labels, groups = clusters(80, 80)
    labels = np.where(np.random.default_rng(2).random(160) < 0.2, 1 - labels, labels)
    result = score_labels(inputs, labels, groups, 4, 0)
    assert result.suspect.any() and result.score[result.suspect].max() < result.score[~result.suspect].min()


def test_images_that_look_like_their_class_are_not_suspect(monkeypatch):
    """Three of class 0 look like class 1, and one, the lowest score, like nothing much, but like class 0 most.

    Confident learning counts three errors; so only the three lowest scores are candidates.
    """
    probabilities = np.repeat([[0.9, 0.1, 0], [0.42, 0.58, 0], [0.41, 0.59, 0], [0.4, 0.6, 0], [0.36, 0.32, 0.32],
                          [0.45, 0.55, 0], [0, 0.1, 0.9]], [20, 1, 1, 1, 1, 10, 10], axis=0)
    monkeypatch.setattr(label_errors, "_out_of_fold", lambda columns, labels, division: probabilities)
    result = score_labels(*clusters(24, 10, 10), 2, 0)
    assert list(np.flatnonzero(result.suspect)) == [21, 22]
    assert result.score.argmin() == 23 and result.predicted[23] == 0


@pytest.mark.slow
def test_labels_are_any_integers_and_results_are_repeatable():
    inputs, labels, groups = clusters(40, 40, 40)
    first, again, renamed = (score_labels(inputs, names[labels], groups, 5, 3)
                             for names in (np.arange(3), np.arange(3), np.array([-4, 7, 100])))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.array([-4, 7, 100])[first.predicted], renamed.predicted)
    np.testing.assert_array_equal(first.score, renamed.score)


def test_copies_do_not_vouch_for_each_other():
    """Noise with labels drawn by lot can be predicted from copies alone."""
    chance = np.random.default_rng(0)
    inputs = np.repeat(chance.standard_normal((100, 30)), 2, axis=0).astype(np.float32)
    labels = np.repeat(chance.integers(0, 2, 100), 2)
    apart, together = (score_labels(inputs, labels, groups, 5, 0).predicted == labels
                       for groups in (np.arange(200), np.arange(200) // 2))
    assert apart.mean() > 0.8 and together.mean() < 0.65


def test_a_group_is_in_one_fold_and_a_class_in_all(monkeypatch):
    divisions = []

    def captured(columns: np.ndarray, labels: np.ndarray, division: list) -> np.ndarray:
        divisions.append(np.empty(len(labels), int))
        for number, (train, test) in enumerate(division):
            divisions[-1][test] = number
            assert sorted([*train, *test]) == list(range(len(labels)))
        return np.tile([0.6, 0.4], (len(labels), 1))

    monkeypatch.setattr(label_errors, "_out_of_fold", captured)
    labels, groups = np.repeat([0, 1], [90, 30]), np.arange(120) // 3
    inputs = np.random.default_rng(0).standard_normal((120, 3)).astype(np.float32)
    score_labels(inputs, labels, groups, 5, 0)
    for fold in divisions:
        assert all(len(set(fold[groups == group])) == 1 for group in groups)
        assert all(set(fold[labels == label]) == set(range(5)) for label in (0, 1))
    assert len(divisions) == 2 and (divisions[0] != divisions[1]).any()


def test_no_label_is_predicted_by_a_classifier_trained_on_it():
    inputs, labels, _ = clusters(30, 30, 30)
    fold = np.arange(90) % 3
    division = [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(3)]
    changed = labels.copy()
    changed[0] = 2
    one, other = (label_errors._out_of_fold(inputs, given, division) for given in (labels, changed))
    same_fold = fold == fold[0]
    np.testing.assert_array_equal(one[same_fold], other[same_fold])
    assert (one[~same_fold] != other[~same_fold]).any(axis=1).all()  # their classifiers were trained on it
    np.testing.assert_allclose(one.sum(1), 1, rtol=1e-6)


def test_hundreds_of_classes_are_learnt():
    """With so many, the first gradients are small, which must not be taken for the last ones."""
    labels = np.arange(1600) % 400
    columns = 0.05 * np.random.default_rng(0).standard_normal((400, 30))[labels]
    halves = [np.arange(800), np.arange(800, 1600)]
    probabilities = label_errors._out_of_fold(columns, labels, [(halves[0], halves[1]), (halves[1], halves[0])])
    assert (probabilities.argmax(1) == labels).mean() > 0.9


@pytest.mark.parametrize(("shade", "is_learnt"), [(0, False), (200, True)])
def test_where_nothing_was_learnt_the_summary_says_so(shade, is_learnt):
    rows = [{"split": "", "target": f"{number % 2}", "pixels": str(number)} for number in range(60)]
    thumbnails = np.full((60, 32, 32, 3), 20, np.uint8)
    thumbnails[1::2] += np.uint8(shade)
    summary = label_errors.find_label_errors(rows, thumbnails, None, 5, 0, Path())[1]
    assert ("nothing was learnt" in summary) != is_learnt


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("few", [1, 2])
def test_images_of_a_tiny_class_are_not_suspect_for_that(few):
    result = score_labels(*clusters(60, 60, few), 5, 0)
    assert np.isfinite(result.score).all()
    if few == 1:  # no classifier was trained on the class
        assert result.score[-1] == 1 and not result.suspect[-1] and result.predicted[-1] == 2


def test_a_backbone_gets_every_labelled_image_once_in_batches():
    """Its features decide: all thumbnails are the same."""
    batches = []

    def backbone(squares: np.ndarray) -> np.ndarray:
        batches.append(len(squares))
        return squares.mean((1, 2)).astype(np.float32)

    deep = inspected.BatchedFeatures(backbone)
    rows = [{"split": "train", "target": "", "pixels": str(number)} for number in range(210)]
    numbers = range(0, 210, 3)
    for number in numbers:
        red = number % 2 ^ (number == 30)
        deep.add(np.full((4, 4, 3), (number % 7 + 200 * red, 0, 0), np.uint8))
        rows[number]["target"] = "red" if number % 2 else "black"
    thumbnails = np.zeros((210, 32, 32, 3), np.uint8)
    columns, summary = label_errors.find_label_errors(rows, thumbnails, deep.take, 5, 0, Path())
    assert batches == [32, 32, 6] and list(columns) == list(numbers)
    assert [number for number in numbers if columns[number]["suspect"]] == [30] and columns[30]["predicted"] == "red"
    assert summary == "98.6 % of 70 labels predicted from other images, 1 suspect"


def test_of_many_images_a_sample_is_learnt_from_and_copies_do_not_vouch_for_each_other(tmp_path, monkeypatch):
    """A sample of 240 of 600 finds what all find; the last 30 are copies of the first of them, labelled alike."""
    inputs, truth, groups = clusters(190, 190, 190)
    wrong = np.random.default_rng(1).choice(570, 30, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % 3
    inputs, labels, groups = (np.concatenate([own, own[wrong]]) for own in (inputs, labels, groups))
    wrong = np.concatenate([wrong, np.arange(570, 600)])
    monkeypatch.setattr(label_errors, "SAMPLE", 240)
    monkeypatch.setattr(label_errors, "ROWS", 100)
    result = score_labels(inputs, labels, groups, 5, 0, folder=tmp_path)
    assert len({*np.argsort(result.score)[:60]} & {*wrong}) >= 56 and (result.predicted[:570] == truth).mean() > 0.97
    suspects = {*np.flatnonzero(result.suspect)}
    assert len(suspects & {*wrong}) >= 40 and len(suspects - {*wrong}) <= 3
    np.testing.assert_allclose(result.score[570:], result.score[wrong[:30]], atol=1e-6)


def test_a_sample_is_of_different_images_and_has_enough_of_rare_classes(monkeypatch):
    monkeypatch.setattr(label_errors, "SAMPLE", 50)
    labels, groups = np.repeat([0, 1, 2], [300, 12, 4]), np.concatenate([np.arange(300) // 2, np.arange(150, 166)])
    sample = label_errors._sample(labels, groups, 3, seed=0)
    assert len(sample) == len(set(groups[sample])) == 50 and (np.diff(sample) > 0).all()
    assert np.bincount(labels[sample])[2] == 4 and np.bincount(labels[sample])[1] >= 6
    assert label_errors._sample(labels[:50], groups[:50], 3, 0).tolist() == list(range(50))
