"""What make new says."""

import pytest

from stages.setup import summary

SECONDS = {"fetch": 2.0, "scan": 30.0, "train_teacher": 200.0, "train_baseline": 1500.0, "distill": 1700.0,
           "quantize": 40.0, "report": 3.0}


@pytest.mark.parametrize(("seconds", "words"), [
    (3.4, "3 s"), (89, "89 s"), (95, "2 min"), (3000, "50 min"), (5400, "1 h 30 min"), (7100, "2 h"),
    (36500, "10 h 10 min")])
def test_duration(seconds, words):
    assert summary.duration(seconds) == words


def test_time_of_a_short_run():
    assert list(summary.time(SECONDS, 1000.0, "cpu", 2, busy=1.1)) == [
        "make will take about 58 min on this machine (2 threads): distill 28 min, train_baseline 25 min, train_teacher "
        "3 min, quantize 40 s, the rest 35 s"]


def test_time_of_a_long_run_on_a_busy_machine():
    _, *more = summary.time({**SECONDS, "distill": 9000.0}, 3500.0, "cuda", 1, busy=2.04)
    assert more == ["  2.0 × as long as things are, since other programs are at work",
                    "  with student_training.seeds: [0], and no measure of the spread, about 58 min"]
    first, *more = summary.time({**SECONDS, "distill": 9000.0}, sum(SECONDS.values()) + 7300, "cuda", 1, busy=1.0)
    assert "(cuda)" in first and not more  # it has one seed already
