"""The weakest classes and the confused ones, word for word."""

import pytest

from stages.reporting import class_results


def rows(**scores: float) -> list[dict]:
    """Of plots/test/classes.csv: a class without support, and one of another model, are worst."""
    own = [{"model": "int8", "class": name, "f1": str(score), "support": "7"} for name, score in scores.items()]
    return [*own, {"model": "int8", "class": "absent", "f1": "0", "support": "0"},
            {"model": "student", "class": "cat", "f1": "1", "support": "7"}]


@pytest.mark.parametrize(("scores", "sentence"), [
    ({"cat": 95.0, "dog": 80.04}, "The small student does worst on dog: F1 80.0 % on 7 test images."),
    ({"cat": 80.0, "dog": 80.04, "owl": 81.0}, "The small student does worst on cat and dog: F1 80.0 % each."),
    ({"cat": 80.0, "dog": 80.04}, ""), ({}, "")])
def test_weakest_class(scores, sentence):
    assert class_results.weakest_class(rows(**scores), "f1", "F1", "image") == sentence


def test_the_weakest_of_many_classes_have_a_table():
    many = rows(**{f"c{number:02}": 99.0 - number for number in range(26)})
    weakest = [row["class"] for row in class_results.weakest_classes(many, "f1")]
    assert weakest == [f"c{number}" for number in range(25, 15, -1)]
    assert class_results.weakest_classes(many[1:], "f1") == []
    equals = [row | {"f1": "0.0", "support": str(number)} for number, row in enumerate(many[:26], 1)]
    supports = [row["support"] for row in class_results.weakest_classes(equals, "f1")]
    assert supports == [str(number) for number in range(26, 16, -1)]


def pairs(*counts: int) -> list[dict]:
    return [{"actual": f"a{number}", "predicted": "b_", "pixels": str(count), "percent_of_actual": "12.34"}
            for number, count in enumerate(counts)]


@pytest.mark.parametrize(("counts", "sentence"), [
    ((), "The small student confuses no two classes on the test images."),
    ((3, 9, 1), "Most often it takes a1 for b\\_: 9 test pixels, 12.3 % of the class."),
    ((1,), "Most often it takes a0 for b\\_: 1 test pixel, 12.3 % of the class."),
    ((9, 9, 1), "Most often it takes a0 for b\\_ and a1 for b\\_: 9 test pixels each."),
    ((9, 9, 9), "Most often it takes a0 for b\\_, a1 for b\\_ and a2 for b\\_: 9 test pixels each."),
    ((9, 9, 9, 9), "Most often it takes a0 for b\\_, a1 for b\\_, a2 for b\\_ and others: 9 test pixels each."),
])
def test_most_confused(counts, sentence):
    assert class_results.most_confused(pairs(*counts), "pixel") == sentence
