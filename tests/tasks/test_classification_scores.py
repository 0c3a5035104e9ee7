"""Metrics, statistics and sentences against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import classification as torch_metrics

from stages import evaluate
from stages.core import files
from stages.evaluation import calibration, figures, plotting, statistics
from stages.tasks.classification import figures as plots
from stages.tasks.classification import scores


def answers(probabilities: list[list[float]], targets: list[int]) -> scores.Predictions:
    return scores.Predictions(np.log(np.array(probabilities, np.float32)), np.array(targets))


CLASSES = ["ape", "bee", "cat, big"]
THREE = answers([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]], [0, 1, 0, 1])  # class 2 is absent


def test_accuracy_and_averages_over_the_classes_present():
    table = scores.measure(THREE, CLASSES, bins=10)
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
    table = scores.measure(THREE, CLASSES, bins=10)
    each = (0.2**2 + 2 * 0.1**2, 0.3**2 + 0.5**2 + 0.2**2, 0.8**2 + 0.7**2 + 0.1**2, 0.1**2 + 0.8**2 + 0.7**2)
    assert table["brier"] == pytest.approx(sum(each) / 4, rel=1e-6)
    # Of four images two are right; classes are shown 2, 2, 0 times and said 1, 2, 1 times.
    assert table["mcc"] == pytest.approx((2 * 4 - (2 * 1 + 2 * 2)) / math.sqrt((16 - 1 - 4 - 1) * (16 - 4 - 4)))
    two = answers([[0.9, 0.1], [0.4, 0.6]], [0, 0])  # 2 · 0.1² and 2 · 0.6²
    assert scores.measure(two, CLASSES[:2], bins=1)["brier"] == pytest.approx((2 * 0.1**2 + 2 * 0.6**2) / 2, rel=1e-6)


def test_where_the_teacher_errs():
    teacher, student = (answers(list(np.eye(3)[said] * 0.8 + 0.1), [0, 1, 2, 0, 1]) for said in (
        [0, 2, 0, 1, 1], [1, 1, 0, 0, 0]))
    assert teacher.errors() == 3  # the second, third and fourth; of those the student has two
    assert student.accuracy_where_wrong(teacher) == pytest.approx(100 * 2 / 3)
    assert student.accuracy_where_wrong(answers(np.eye(3)[[0, 1, 2, 0, 1]] * 0.8 + 0.1, [0, 1, 2, 0, 1])) is None


def test_a_tally_is_of_right_images():
    tally = scores.sufficient_stats(THREE)
    assert tally.tolist() == [[1, 1], [1, 1], [0, 1], [0, 1]]
    assert scores.score_of(tally.sum(0)) == 50
    assert scores.score_of(np.array([[3, 4], [0, 4]])).tolist() == [75, 0]


def test_precision_and_recall_by_hand():
    three = answers([[0.9, 0.1, 1e-9], [0.6, 0.4, 1e-9], [0.3, 0.7, 1e-9]], [0, 1, 1])  # class 2 is absent
    recall, precision = scores.precision_recall(three)
    # Said of either class, the surest first: 0.9 rightly, 0.7 rightly, 0.6 wrongly, 0.4 rightly, 0.3 and 0.1 wrongly.
    assert recall == pytest.approx([1, 1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    assert precision == pytest.approx([3 / 6, 3 / 5, 3 / 4, 2 / 3, 2 / 2, 1 / 1, 1])


def test_a_curve_is_thinned_evenly_and_keeps_its_ends():
    recall = np.linspace(1, 0, 10001)
    kept = figures._evenly_spaced(recall, 1 - recall**4)
    assert len(kept) == figures.ROWS and kept[0] == 0 and kept[-1] == 10000
    steps = np.abs(np.diff(recall[kept])) + np.abs(np.diff((1 - recall**4)[kept]))
    assert steps.max() < 1.1 * steps.min()
    assert figures._evenly_spaced(np.array([1, 0.5, 0.0]), np.array([0.1, 1, 1])).tolist() == [0, 1, 2]


def test_what_is_confused_most_comes_first(tmp_path):
    counts = np.array([[8, 2, 0], [2, 2, 1], [0, 3, 97]])  # three of many come before two of few
    pairs = figures.confused(counts, CLASSES, "images", tmp_path / "confused.csv")
    assert [(pair.actual, pair.predicted) for pair in pairs] == [(2, 1), (1, 0), (0, 1), (1, 2)]
    assert (tmp_path / "confused.csv").read_text() == (
        "actual,predicted,images,percent_of_actual\n\"cat, big\",bee,3,3.0\nbee,ape,2,40.0\nape,bee,2,20.0\n"
        "bee,\"cat, big\",1,20.0\n")
    many = np.ones((5, 5), int)
    assert len(figures.confused(many, list("abcde"), "pixels", tmp_path / "many.csv")) == figures.WORST


def test_mean_average_precision_masks_an_absent_class():
    three = answers([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.7, 0.1]], [0, 1, 0])
    # Class 0 ranks + − +: 1/2 · 1 + 1/2 · 2/3. Class 1 ranks − + −: 1/2. Class 2 has no image.
    assert scores.measure(three, CLASSES, bins=1)["map"] == pytest.approx(100 * (5 / 6 + 1 / 2) / 2)


@pytest.mark.parametrize("bins, expected", [
    (1, abs(3 / 4 - (0.9 + 0.9 + 0.55 + 0.7) / 4)),
    (5, 2 / 4 * abs(1 / 2 - 0.9) + 1 / 4 * abs(1 - 0.7) + 1 / 4 * abs(1 - 0.55)),
])
def test_calibration_error(bins, expected):
    four = answers([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.7, 0.3]], [0, 1, 0, 0])
    assert calibration.error(scores.reliability(four, bins)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_bin_holds_its_upper_end(classes):
    """Of even odds the top probability is 1/2 or 1/4, just between two bins."""
    even = scores.Predictions(np.zeros((2, classes), np.float32), np.array([0, 1]))
    assert scores.reliability(even, classes) == [(0, 1 / classes, 2, 1 / classes, 0.5)]


def test_a_very_sure_model_has_finite_scores():
    sure = scores.Predictions(np.array([[1e4, -1e4], [1e4, -1e4]], np.float32), np.array([0, 1]))
    table = scores.measure(sure, CLASSES[:2], bins=15)
    assert table["log_loss"] == pytest.approx(1e4) and table["ece"] == pytest.approx(50)


def test_answers_do_not_depend_on_batches():
    halves = [(THREE.logits[:3], THREE.targets[:3]), (THREE.logits[3:], THREE.targets[3:])]
    collected = scores.collect(halves, np.zeros((4, 5), np.int32))
    assert scores.measure(collected, CLASSES, 5) == scores.measure(THREE, CLASSES, 5)


def draw(models: dict, folder) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    plots.draw(models, scores, CLASSES, 3, lambda picture: photograph, folder / "test", folder / "confused")


def test_tables_and_pictures(tmp_path):
    for folder in ("once", "again"):
        draw({"teacher": THREE, "int8": THREE}, tmp_path / folder)
    once, again = ({path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
                   for folder in ("once", "again"))
    assert once == again and {path.as_posix() for path in once} == {
        "confused/pairs.png", *(f"test/{name}" for name in (
            "classes.csv", "classes.png", "confused.csv", "confusion.png", "reliability.png", "precision_recall.png",
            *(f"{table}/{model}.csv" for table in ("confusion", "reliability", "precision_recall")
              for model in ("teacher", "int8"))))}
    rows = files.read_csv(tmp_path / "once/test/confusion/int8.csv")
    assert [row["actual"] for row in rows] == ["ape", "bee", "ape", "bee"]
    assert [row["predicted"] for row in rows] == ["ape", "bee", "bee", "cat, big"]
    lines = (tmp_path / "once/test/classes.csv").read_text().splitlines()
    assert lines[0] == "model,class,precision,recall,f1,support" and lines[2] == "teacher,bee,50.0,50.0,50.0,2"
    assert lines[3] == "teacher,\"cat, big\",0.0,0.0,0.0,0"  # never shown, once said
    assert (tmp_path / "once/test/reliability/int8.csv").read_text() == (
        "from,to,images,confidence,accuracy\n33.33,66.67,1,50.0,100.0\n66.67,100.0,3,73.33,33.33\n")
    curve = files.read_csv(tmp_path / "once/test/precision_recall/int8.csv")
    assert list(curve[0]) == ["recall", "precision"] and curve[-1] == {"recall": "0.0", "precision": "100.0"}


def test_what_is_confused_is_told_of_the_last_model(tmp_path, monkeypatch):
    """Three of the first's answers are wrong, and one of the last's."""
    seen = []
    monkeypatch.setattr(plotting, "confusion", lambda counts, cell, classes, title, path: seen.append((counts, title)))
    one = answers([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.1, 0.7], [0.1, 0.7, 0.2]], [0, 1, 0, 1])
    asked = []
    plots.draw({"teacher": answers([[0.1, 0.8, 0.1]] * 4, [0, 0, 0, 1]), "int8": one}, scores, CLASSES, 3,
               lambda picture: asked.append(picture) or np.zeros((4, 4, 3), np.uint8), tmp_path, tmp_path / "shown")
    (counts, title), = seen
    assert counts.tolist() == [[1, 0, 1], [0, 2, 0], [0, 0, 0]] and title == "int8: 75.00 % of 4 test images right"
    assert (tmp_path / "confused.csv").read_text().splitlines()[1:] == ["ape,\"cat, big\",1,50.0"]
    assert asked == [2]


def test_of_what_is_confused_the_surest_are_shown(tmp_path):
    sure = [0.52, 0.9, 0.6, 0.8, 0.55, 0.95, 0.7, 0.65, 0.85, 0.75]  # that the ape is a bee
    asked = []
    plots.draw({"int8": answers([[1 - much, much, 1e-9] for much in sure], [0] * len(sure))}, scores, CLASSES,
               3, lambda picture: asked.append(picture) or np.zeros((4, 4, 3), np.uint8), tmp_path, tmp_path / "shown")
    assert asked == [5, 1, 8, 3, 9, 6, 7, 2]


def test_where_nothing_is_confused_a_note_says_so(tmp_path):
    draw({"int8": answers([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], [0, 1])}, tmp_path)
    assert [path.name for path in (tmp_path / "confused").iterdir()] == ["none.txt"]
    assert (tmp_path / "test/confused.csv").read_text() == "actual,predicted,images,percent_of_actual\n"


@pytest.mark.parametrize("lost, gained, p", [(1, 5, 2 * (1 + 6) / 2**6), (0, 0, 1), (3, 3, 1), (10, 0, 2 / 2**10)])
def test_mcnemar(lost, gained, p):
    first = np.array([True] * lost + [False] * gained + [True] * 20 + [False] * 3)
    second = np.array([False] * lost + [True] * gained + [True] * 20 + [False] * 3)
    assert statistics.mcnemar(first, second) == pytest.approx(p)


def test_gap_recovered():
    assert statistics.gap_recovered(teacher=90, baseline=80, student=86) == pytest.approx(60)
    assert statistics.gap_recovered(teacher=80, baseline=80, student=86) is None


def test_means_and_deviations_over_seeds():
    assert evaluate.summary([{"f1": 90.0}, {"f1": 92.0}, {"f1": 94.0}]) == {"f1": 92.0, "f1_std": 2.0}
    assert evaluate.summary([{"f1": 90.0}]) == {"f1": 90.0}


SETTINGS = evaluate.EvaluateParams(batch_size=1, ece_bins=5, resamples=400, seed=0)


def distilled(accuracies: dict[str, list[int]]) -> dict[str, float]:
    """The table of models that have so many of 400 images right; each seed errs on the last ones."""
    tallies = {name: [np.stack([np.arange(400) < right, np.ones(400)], 1) for right in some]
               for name, some in accuracies.items()}
    draws = statistics.resample(tallies, scores.score_of, 400, 0)
    quality = {name: {"accuracy": np.mean(some) / 4} for name, some in accuracies.items()}
    return evaluate.distillation(quality, draws, "accuracy")


def test_no_gap_is_no_number():
    table = distilled({name: [300, 310, 290] for name in ("teacher", "baseline", "student", "int8")})
    assert table == {"gain": 0.0, "int8_drop": 0.0}  # no gap_recovered, and no intervals: all are the same


def test_gains_and_gaps_have_intervals():
    table = distilled({"teacher": [380], "baseline": [300, 301, 302], "student": [340, 341, 342],
                       "int8": [338, 339, 340]})
    assert (table["gain"], table["int8_drop"], table["gap_recovered"]) == pytest.approx((10, 0.5, 100 * 40 / 79))
    for name in ("gain", "int8_drop", "gap_recovered"):
        assert table[f"{name}_low"] < table[name] < table[f"{name}_high"]
    assert table["gain_low"] > 6 and table["gain_high"] < 14
    unsure = distilled({"teacher": [303], "baseline": [300, 301, 302], "student": [320, 310, 305],
                        "int8": [320, 310, 305]})
    assert unsure["gap_recovered"] > 100 and not {"gap_recovered_low", "gap_recovered_high"} & set(unsure)


def test_intervals_keep_to_what_there_can_be():
    """Of two seeds or images Student's t, at one degree of freedom, reaches 12.7 standard errors to either side."""
    right = {"teacher": [380], "baseline": [300, 200], "student": [200, 300], "int8": [300, 200]}
    table = distilled(right)  # the seeds' gains are −25 and 25 points: 12.7 · 25 beyond 0
    assert [table[f"{name}_{end}"] for name in ("gain", "int8_drop") for end in ("low", "high")] == [-100, 100] * 2
    draws = np.linspace(-10, 120, 131)
    assert evaluate.interval("f1", draws, evaluate.SHARES) == {"f1_low": 0, "f1_high": 100}
    assert evaluate.interval("f1", draws, evaluate.DIFFERENCES) == pytest.approx({"f1_low": -6.75, "f1_high": 100})
    two = [answers([[0.9, 0.1]] * 2, [0, wrong]) for wrong in (1, 0)]
    table = evaluate.paired(*two, scores, SETTINGS)  # 0 and 100 points on two images: 50 ± 50 · 9.2
    assert (table["paired_gain_low"], table["paired_gain_high"]) == (-100, 100)


def test_the_deployed_pair():
    first, second = (answers([[0.9, 0.1]] * right + [[0.1, 0.9]] * (300 - right), [0] * 300) for right in (200, 230))
    table = evaluate.paired(first, second, scores, SETTINGS)
    assert table["paired_gain"] == pytest.approx(10) and table["p_value"] == pytest.approx(2 / 2**30)
    assert (table["paired_gain_low"], table["paired_gain_high"]) == pytest.approx(
        (10 - 1.97 * 100 * (0.09 / 300)**0.5, 10 + 1.97 * 100 * (0.09 / 300)**0.5), abs=0.8)
    assert evaluate.paired(first, first, scores, SETTINGS) == {"p_value": 1.0, "paired_gain": 0.0}


def test_last_bits_and_signs_of_zero_are_rounded_away():
    assert str(evaluate.rounded({"int8": {"ece": 1.23456, "drop": -1e-9}, "seeds": 3})) == (
        "{'int8': {'ece': 1.2346, 'drop': 0.0}, 'seeds': 3}")
