"""Metrics, statistics and sentences against values worked out by hand."""

import copy
import math

import numpy as np
import pytest

from stages import evaluate
from stages.kit import statistics, tables, wording
from stages.kit.scores import classification


def answers(probabilities: list[list[float]], targets: list[int]) -> classification.Answers:
    return classification.Answers(np.log(np.array(probabilities, np.float32)), np.array(targets))


CLASSES = ["ape", "bee", "cat, big"]
THREE = answers([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]], [0, 1, 0, 1])  # class 2 is absent


def test_accuracy_and_averages_over_the_classes_present():
    table = classification.measure(THREE, CLASSES, bins=10)
    # Right: 1 of 2 zeros, 1 of 2 ones. Said 0: once, rightly. Said 1: twice, once rightly. Said 2: doesn't count.
    assert table["accuracy"] == table["balanced_accuracy"] == table["recall"] == pytest.approx(50)
    assert table["precision"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert table["f1"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert table["log_loss"] == pytest.approx(-math.log(0.8 * 0.5 * 0.2 * 0.2) / 4, rel=1e-6)


def test_mean_average_precision_masks_an_absent_class():
    three = answers([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.7, 0.1]], [0, 1, 0])
    # Class 0 ranks + − +: 1/2 · 1 + 1/2 · 2/3. Class 1 ranks − + −: 1/2. Class 2 has no image.
    assert classification.mean_average_precision(three) == pytest.approx((5 / 6 + 1 / 2) / 2)


@pytest.mark.parametrize("bins, expected", [
    (1, abs(3 / 4 - (0.9 + 0.9 + 0.55 + 0.7) / 4)),
    (5, 2 / 4 * abs(1 / 2 - 0.9) + 1 / 4 * abs(1 - 0.7) + 1 / 4 * abs(1 - 0.55)),
])
def test_calibration_error(bins, expected):
    four = answers([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.7, 0.3]], [0, 1, 0, 0])
    assert classification.calibration_error(four, bins) == pytest.approx(expected, abs=1e-6)


def test_a_very_sure_model_has_finite_scores():
    sure = classification.Answers(np.array([[1e4, -1e4], [1e4, -1e4]], np.float32), np.array([0, 1]))
    table = classification.measure(sure, CLASSES, bins=15)
    assert table["log_loss"] == pytest.approx(1e4) and table["ece"] == pytest.approx(50)


def test_answers_do_not_depend_on_batches():
    halves = [(THREE.logits[:3], THREE.targets[:3]), (THREE.logits[3:], THREE.targets[3:])]
    collected = classification.collect(halves, np.zeros((4, 5), np.int32))
    assert classification.measure(collected, CLASSES, 5) == classification.measure(THREE, CLASSES, 5)


def test_tables_and_pictures(tmp_path):
    for folder in ("once", "again"):
        classification.draw({"teacher": THREE, "int8": THREE}, CLASSES, 5, lambda picture: None, tmp_path / folder)
    once, again = ({path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
                   for folder in ("once", "again"))
    assert once == again and len(once) == 6
    rows = tables.read_csv(tmp_path / "once/confusion/int8.csv")
    assert [row["actual"] for row in rows] == ["ape", "bee", "ape", "bee"]
    assert [row["predicted"] for row in rows] == ["ape", "bee", "bee", "cat, big"]
    lines = (tmp_path / "once/classes.csv").read_text().splitlines()
    assert lines[0] == "model,class,precision,recall,f1,support" and lines[2] == "teacher,bee,50.0,50.0,50.0,2"
    assert lines[3] == "teacher,\"cat, big\",0.0,0.0,0.0,0"  # never shown, once said
    assert sum(int(row["images"]) for row in tables.read_csv(tmp_path / "once/reliability.csv")) == 2 * 4


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


def test_no_gap_is_no_number():
    same = dict.fromkeys(("teacher", "baseline", "student", "int8"), THREE)
    quality = {name: classification.measure(THREE, CLASSES, 5) for name in same}
    assert evaluate.distillation(quality, same, classification) == {
        "gain": 0.0, "p_value": 1.0, "paired_gain": 0.0, "teacher_agreement": 100.0,
        "int8_drop": 0.0}  # and no gap_recovered


def test_last_bits_and_signs_of_zero_are_rounded_away():
    assert str(evaluate.rounded({"int8": {"ece": 1.23456, "drop": -1e-9}, "seeds": 3})) == (
        "{'int8': {'ece': 1.2346, 'drop': 0.0}, 'seeds': 3}")


QUALITY = {
    "teacher": {"accuracy": 95.0},
    "baseline": {"accuracy": 90.0, "accuracy_std": 0.4, "deployed": 90.5},
    "student": {"accuracy": 93.0, "accuracy_std": 0.2, "deployed": 93.5},
    "int8": {"accuracy": 92.9, "accuracy_std": 0.2, "deployed": 93.5},
    "distillation": {"gain": 3.0, "gap_recovered": 60.0, "p_value": 0.01, "paired_gain": 3.0, "teacher_agreement": 94.0,
                     "int8_drop": 0.1},
    "test": {"images": 360, "seeds": 3, **classification.WORDS},
}


@pytest.mark.parametrize("key, value, sentence", [
    ("gain", 3.0, "3.00 points above"), ("gain", -1.0, "1.00 point below"), ("gain", -0.001, "level with"),
    ("p_value", 0.01, "a difference that chance hardly explains"), ("p_value", 0.00001, "p < 0.0001"),
    ("paired_gain", -2.0, "but image by image the student is 2.00 points behind on average"),
    ("p_value", 0.3, "no difference can be shown with 360 test images"),
    ("gap_recovered", 60.0, "recovers 60 % of the gap"), ("gap_recovered", -5.0, "nothing is recovered"),
    ("gap_recovered", 140.0, "past its teacher"), ("gap_recovered", None, "no gap to recover"),
])
def test_sentences_follow_the_numbers(key, value, sentence):
    quality = copy.deepcopy(QUALITY)
    quality["distillation"] |= {key: value}
    assert sentence in " ".join(wording.distillation(quality))


@pytest.mark.parametrize("drop, changes, said", [
    (0.1, {}, "In int8 the student loses 0.10 points."), (-0.2, {}, "In int8 the student gains 0.20 points."),
    (0.0, {}, "In int8 the student is as good as in float."),
    (1.0, {"form": "int8 weights"}, "With int8 weights the student loses 1.00 point."),
    (1.0, {"form": "fp16 weights"}, "With half-float weights the student loses 1.00 point."),
    (0.1, {"float_layers": ["a"]}, "1 of its layers stays in float"),
    (0.1, {"float_layers": ["a", "b"]}, "2 of its layers stay in float"),
    (0.1, {"val": {"drop": 0.8, "max_drop": 0.5}}, "**On val it is 0.80 points behind, more than quantize.max_drop"),
])
def test_what_is_said_of_the_small_form(drop, changes, said):
    quality = {"distillation": QUALITY["distillation"] | {"int8_drop": drop}}
    usual = {"form": "int8", "float_layers": [], "val": {"drop": 0.1, "max_drop": 0.5}}
    sentences = wording.small(quality, usual | changes)
    assert any(said in sentence for sentence in sentences)
    assert len(sentences) == 1 + bool({"float_layers", "val"} & set(changes))


def test_a_single_seed_has_no_spread():
    quality = copy.deepcopy(QUALITY) | {"test": QUALITY["test"] | {"seeds": 1}}
    for row in quality.values():
        row.pop("accuracy_std", None)
    assert "With one seed" in wording.distillation(quality)[0] and "±" not in wording.distillation(quality)[0]
