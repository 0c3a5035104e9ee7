"""Metrics with their uncertainty: how they are written, which way is better, what their difference shows."""

import finished
import pytest

from stages.reporting import numbers
from tools.comparison import metric_values
from tools.comparison.metric_values import Evidence
from tools.comparison.metric_values import MetricValue as Value


@pytest.mark.parametrize(("score", "expected"), [
    (Value(98.7001, 0.4255), "98.70 ± 0.43"), (Value(100, 0), "100.00 ± 0.00"), (Value(0.0395), "0.0395"),
    (Value(6), "6"), (Value(6.0), "6.00"),
    (Value(2191.9), "2192"), (Value(0.5571, None, -1.4367, 2.5082), "0.56 [-1.44, 2.51]"), (Value(0.0), "0.00"),
])
def test_a_score_has_the_decimals_of_its_size(score, expected):
    assert str(score) == expected


@pytest.mark.parametrize(("metric", "lower"), [
    ("int8.iou.road", False), ("int8.f1_weighted", False), ("val.int8", False), ("val.drop", True), ("int8.ece", True)])
def test_which_way_is_better(metric, lower):
    assert metric_values.lower_is_better(metric) is lower


@pytest.mark.parametrize("kind", ["classes", "masks"])
def test_of_every_score_and_cost_it_is_known_which_way_is_better(kind):
    for name in ("quality", "size", "speed"):
        metrics = metric_values.flat(finished.read(kind, f"metrics/{name}.json"))
        assert len(metrics) > 5
        for metric in metrics.keys() - {part for part in metrics if metric_values.base_name(part, metrics) != part}:
            if metric.partition(".")[0] not in ("test", "machine", "ratio"):
                metric_values.lower_is_better(metric)


def test_a_class_may_be_called_like_another_ones_deviation():
    """As evaluate and clean write it: of `house` there is then no deviation."""
    quality = finished.read("masks", "metrics/quality.json")
    metrics, iou = metric_values.flat(quality), quality["int8"]["iou"]
    assert iou.keys() == {"ground", "ground_std", "house", "house_std", "house_std_std"}
    assert metric_values.find(metrics, "int8.iou.house") == Value(iou["house"])
    assert metric_values.find(metrics, "int8.iou.house_std") == Value(iou["house_std"], iou["house_std_std"])
    assert metric_values.base_name("int8.iou.house_std", metrics) == "int8.iou.house_std"
    assert metric_values.base_name("int8.iou.house_std_std", metrics) == "int8.iou.house_std"
    assert metric_values.find(metrics, "int8.miou").std == quality["int8"]["miou_std"]
    classes = list(quality["teacher"]["iou"])
    assert numbers.spread(iou, "house", 2, classes) == f"{iou['house']:.2f}"
    assert numbers.spread(iou, "house_std", 2, classes) == f"{iou['house_std']:.2f} ± {iou['house_std_std']:.2f}"
    counts = metric_values.flat(finished.read("classes", "metrics/data.json"))
    for split, count in (("train", 12), ("test", 6)):
        for name in ("gull", "gull_std"):
            assert metric_values.find(counts, f"after.{split}.{name}") == Value(count)


@pytest.mark.parametrize(("first", "second", "expected"), [
    (Value(9, 1, 8, 10), Value(7, 1, 6, 8), Evidence(False, "interval")),  # they meet at 8
    (Value(9, 1, 8, 10), Value(7, 1, 6, 7.9), Evidence(True, "interval")),
    (Value(7, 1, 6, 7.9), Value(9, 1, 8, 10), Evidence(True, "interval")),
    (Value(9, 1, 8, 10), Value(7, 1), Evidence(False, "seeds")),
    (Value(9, 1), Value(6.9, 1), Evidence(True, "seeds")),
    (Value(9, 1), Value(1), Evidence(False, "")),
])
def test_evidence(first, second, expected):
    assert metric_values.evidence(first, second) == expected
