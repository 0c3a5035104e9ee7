"""What make new says."""

import pytest

from stages.setup import summary

SECONDS = {"fetch": 2.0, "scan": 30.0, "train_teacher": 200.0, "train_baseline": 1500.0, "distill": 1700.0,
           "quantize": 40.0, "report": 3.0}


LOOK = {"teacher_training": 5, "student_training": 4}, 25_200.0


@pytest.mark.parametrize(("seconds", "words"), [
    (3.4, "3 s"), (89, "89 s"), (95, "2 min"), (3000, "50 min"), (5400, "1 h 30 min"), (7100, "2 h"),
    (36500, "10 h 10 min"), (172_000, "47 h 50 min"),
    (300_000, "3.5 days")])
def test_duration(seconds, words):
    assert summary.duration(seconds) == words


def test_time_of_a_short_run():
    assert list(summary.time(SECONDS, 1000.0, LOOK, "cpu", 2, busy=1.1)) == [
        "make will take about 58 min on this machine (2 threads): distill 28 min, train_baseline 25 min, train_teacher "
        "3 min, quantize 40 s, the rest 35 s"]


def test_time_of_a_long_run_on_a_busy_machine():
    _, *more = summary.time({**SECONDS, "distill": 9000.0}, 3500.0, LOOK, "cuda", 1, busy=2.04)
    assert more == ["  2.0 × as long as things are, since other programs are at work",
                    "  with student_training.seeds: [0], and no measure of the spread, about 58 min"]
    first, *more = summary.time({**SECONDS, "distill": 9000.0}, sum(SECONDS.values()) + 7300, LOOK, "cuda", 1,
                                busy=1.0)
    assert "(cuda)" in first and not more  # it has one seed already


def test_days_are_said_to_be_days_and_a_night_is_offered():
    days = {**SECONDS, "distill": 2.5 * 86400 - 1775}
    first, *more = summary.time(days, 100_000.0, LOOK, "cpu", 2, busy=1.0)
    assert first.startswith("make will take about 2.5 days on this machine (2 threads): distill 2.5 days, ")
    assert more == ["  with student_training.seeds: [0], and no measure of the spread, about 27 h 50 min",
                    "  for a first look, with one seed and teacher_training.epochs: 5, student_training.epochs: 4, "
                    "about 7 h"]
    one_seed = list(summary.time(days, 2.5 * 86400.0, LOOK, "cpu", 2, busy=1.0))
    assert one_seed[1:] == more[1:]
    assert len(list(summary.time(days, 28_000.0, LOOK, "cpu", 2, busy=1.0))) == 2  # a night already
    hopeless = ({"teacher_training": 5, "student_training": 4}, 100_000.0)
    assert len(list(summary.time(days, 100_000.0, hopeless, "cpu", 2, busy=1.0))) == 2


@pytest.mark.parametrize(("peak", "processes", "free", "end"), [
    (2.65, 2, 13.0, "2.6 GB of memory in a process, of which 2 train side by side; 13.0 GB are free here"),
    (2.65, 2, 5.0, "5.0 GB are free here; with OMP_NUM_THREADS=1 one trains after the other"),
    (2.65, 1, 2.0, "in a process; 2.0 GB are free here, which is too little: take a smaller teacher, batch_size or "
                   "split.image_size")])
def test_memory(peak, processes, free, end):
    assert summary.memory(peak, processes, free).endswith(end)
