"""Score against size and latency: what is drawn."""

import measurements
import pytest

from stages.reporting import tradeoff


def test_rows():
    facts = measurements.facts()
    rows = tradeoff.rows(("teacher", "int8"), facts["quality"], facts["size"], facts["speed"])
    assert rows == [{"model": "teacher", "score": 95.0, "size_mb": 6.0, "latency_ms": 8.0},
                    {"model": "int8", "score": 91.9, "size_mb": 1.0, "latency_ms": 2.0}]


@pytest.fixture
def panels(tmp_path, monkeypatch) -> list:
    """The two panels of four models: a costs most, d is beaten by c; a has an interval, b a deviation, c neither."""
    axes = measurements.capture_axes(monkeypatch, tradeoff)
    points = [{"model": model, "score": score, "size_mb": size, "latency_ms": 10 / size} for model, score, size in (
        ("teacher", 95.0, 8.0), ("baseline", 90.0, 1.0), ("student", 92.0, 2.0), ("int8", 91.0, 4.0))]
    quality = {"teacher": {"accuracy": 95.0, "accuracy_low": 93.0, "accuracy_high": 96.0, "accuracy_std": 9.0},
               "baseline": {"accuracy": 90.0, "accuracy_std": 0.5}, "student": {"accuracy": 92.0},
               "int8": {"accuracy": 91.0}, "test": {"primary": "accuracy", "named": "top-1"}}
    tradeoff.draw(points, quality, tmp_path / "tradeoff.png")
    return axes


def test_the_dotted_line_joins_the_front(panels):
    sizes, latencies = (next(line for line in axes.lines if line.get_linestyle() == ":") for axes in panels)
    assert [*zip(*sizes.get_data(), strict=True)] == [(1.0, 90.0), (2.0, 92.0), (8.0, 95.0)]
    assert [*zip(*latencies.get_data(), strict=True)] == [(1.25, 95.0)]


def test_bars_are_intervals_or_else_deviations(panels):
    bars = {container.get_label(): container.lines[2] for container in panels[0].containers}
    ends = {name: [tuple(segment[:, 1]) for segment in lines[0].get_segments()]
            for name, lines in bars.items() if lines}
    assert ends == {"teacher": [(93.0, 96.0)], "baseline": [(89.5, 90.5)]}
    widths = {name: lines[0].get_linewidths()[0] for name, lines in bars.items() if lines}
    assert widths == {"teacher": 1.5, "baseline": 4}, "the student's bar is drawn over the baseline's"


def test_axes_are_logarithmic_with_a_margin(panels):
    sizes, latencies = panels
    assert sizes.get_subplotspec().get_geometry() == (1, 2, 0, 0) and [*sizes.figure.get_size_inches()] == [10, 4]
    assert sizes.get_shared_y_axes().joined(sizes, latencies)
    assert sizes.get_xscale() == "log" == latencies.get_xscale()
    assert sizes.get_xlim() == pytest.approx((1 / 1.6, 8 * 1.6))
    assert latencies.get_xlim() == pytest.approx((1.25 / 1.6, 10 * 1.6))
    assert (sizes.get_xlabel(), latencies.get_xlabel()) == ("size of the file, MB", "latency, ms")
    assert sizes.get_ylabel() == "top-1, %"
    _, labels = sizes.get_legend_handles_labels()
    assert labels == ["teacher", "baseline", "student", "small student"]
