"""Metrics with their uncertainty: how they are written, which way is better, what their difference shows."""

import json

import pytest
from conftest import ROOT

from stages import evaluate
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


def test_of_every_score_and_cost_it_is_known_which_way_is_better():
    for name in ("quality", "size", "speed"):
        metrics = metric_values.flat(json.loads((ROOT / f"metrics/{name}.json").read_text()))
        assert len(metrics) > 5
        for metric in metrics.keys() - {part for part in metrics if metric_values.base_name(part, metrics) != part}:
            if metric.partition(".")[0] not in ("test", "machine", "ratio"):
                metric_values.lower_is_better(metric)


def test_a_class_may_be_called_like_another_ones_deviation():
    """As evaluate writes it: of `road` there is then no deviation."""
    rows = [{"miou": 60.0, "iou": {"road": 70.0, "road_std": 50.0, "road_low": 40.0}},
            {"miou": 62.0, "iou": {"road": 74.0, "road_std": 54.0, "road_low": 42.0}}]
    table = evaluate.summary(rows)
    assert table["iou"].keys() == {"road", "road_std", "road_low", "road_std_std", "road_low_std"}
    assert table["iou"]["road_std"] == 52.0 and table["miou_std"] == pytest.approx(2**0.5)
    assert numbers.spread(table["iou"], "road", 2, rows[0]["iou"]) == "72.00"
    assert numbers.spread(table["iou"], "road_std", 2, rows[0]["iou"]) == "52.00 ± 2.83"
    metrics = metric_values.flat({"int8": table, "teacher": evaluate.summary(rows[:1]),
                                  "before": {"train": {"cat": 3, "cat_low": 2}}})
    assert metric_values.find(metrics, "int8.iou.road") == Value(72.0)
    assert metric_values.find(metrics, "int8.iou.road_std").std == pytest.approx(8**0.5)
    assert metric_values.find(metrics, "int8.miou") == Value(61.0, pytest.approx(2**0.5))
    names = {name for name in metrics if metric_values.base_name(name, metrics) != name}
    assert names == {"int8.miou_std", "int8.iou.road_std_std", "int8.iou.road_low_std"}


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
