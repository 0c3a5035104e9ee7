"""The estimate of time: its arithmetic, worked out by hand."""

import pytest
import torch

from stages.setup import presets, timing
from stages.setup.timing import Amounts, Rates

AMOUNTS = Amounts(source=1000, labelled=900, train=640, val=100, test=200, unlabelled=60)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
RATES = Rates(start=1.0, read=0.001, inspect=0.01, features=0.02, teacher_step=0.5, baseline_step=0.2,
              student_step=0.25, teacher_image=0.01, student_image=0.002, teacher_export=5.0, student_export=2.0)


@pytest.fixture
def settings() -> dict:
    """Teacher: one seed, 4 epochs, batch 64. Student: two seeds, 10 epochs, batch 32."""
    values = presets.values("scenes")
    values["teacher_training"] |= {"seeds": [0], "epochs": 4, "batch_size": 64}
    values["student_training"] |= {"seeds": [0, 1], "epochs": 10, "batch_size": 32}
    values["quantize"]["calibration_images"] = 100
    values["verify"]["images"] = 50
    values["benchmark"] |= {"rounds": 10, "seconds": 0.1, "sustained_seconds": 7}
    return values


def test_by_hand(settings, monkeypatch):
    monkeypatch.setattr(timing, "WORKERS", 2)
    seconds = timing.by_stage(RATES, AMOUNTS, settings, GPU)
    assert seconds == pytest.approx({
        "source": 2,
        "fetch": 2 + 1.0,
        "scan": 1 + 1.0 + 5.0 + 18.0 + 4,
        "clean": 2,
        "split": 2 + 3.0,
        "train_teacher": 1 + 4 * (10 * 0.5 + 100 * 0.01),
        "teacher_targets": 1 + 2 * 700 * 0.01,  # image and mirror image
        "train_baseline": 1 + 2 * 10 * (20 * 0.2 + 100 * 0.002),
        "distill": 1 + 2 * 10 * (20 * 0.25 + 100 * 0.002),
        "quantize": 1 + 5 + (1 + 4 * 0.06) * 2 + (0.01 + 2 * 0.002) * 4 * 200,
        "verify": 1 + 50 * (2 * 0.01 + 7 * 0.002),  # baseline, student, int8: of two seeds; and once deployed
        "evaluate": 2 + 200 * (2 * 0.01 + 7 * 0.002),
        "benchmark": 2 + 5 * (2 * 10 * 0.1 + 2) + 7,
        "report": 2})


@pytest.mark.parametrize(("cores", "rounds"), [(1, 2), (2, 1), (8, 1)])
def test_seeds_run_side_by_side_where_there_are_cores(settings, monkeypatch, cores, rounds):
    monkeypatch.setattr(timing, "thread_count", lambda: cores)
    seconds = timing.by_stage(RATES, AMOUNTS, settings, CPU)
    assert seconds["train_baseline"] == pytest.approx(1 + rounds * 10 * (20 * 0.2 + 100 * 0.002))
    settings["student_training"]["seeds"] = [0, 1, 2]
    three = timing.by_stage(RATES, AMOUNTS, settings, CPU)
    assert three["train_baseline"] - 1 == pytest.approx((rounds + (cores < 8)) * 10 * (20 * 0.2 + 100 * 0.002))


def test_teacher_answers_by_mode(settings):
    settings["targets"] |= {"mode": "views", "views": 5}
    views = timing.by_stage(RATES, AMOUNTS, settings, GPU)
    assert views["teacher_targets"] == pytest.approx(1 + 5 * 700 * 0.01)
    settings["targets"]["mode"] = "online"
    online = timing.by_stage(RATES, AMOUNTS, settings, GPU)
    assert online["teacher_targets"] == 1
    assert online["distill"] - views["distill"] == pytest.approx(2 * 10 * 640 * 0.01)


def test_a_first_look_has_the_epochs_that_fit(settings):
    def total(teacher: int, student: int) -> float:
        changed = timing.with_one_seed(settings)
        changed["teacher_training"]["epochs"], changed["student_training"]["epochs"] = teacher, student
        return sum(timing.by_stage(RATES, AMOUNTS, changed, GPU).values())

    settings["teacher_training"]["warmup_epochs"], settings["student_training"]["warmup_epochs"] = 0.5, 2.0
    for limit, teacher, student in ((total(4, 10), 4, 10), (total(4, 10) - 1, 2, 5), (total(2, 5) - 1, 1, 3),
                                    (0, 1, 3)):
        assert timing.first_look(RATES, AMOUNTS, settings, GPU, limit) == (
            {"teacher_training": teacher, "student_training": student}, pytest.approx(total(teacher, student)))
    assert settings["student_training"]["seeds"] == [0, 1] and settings["teacher_training"]["epochs"] == 4


def test_an_epoch_has_one_step_at_least(settings):
    few = timing.by_stage(RATES, AMOUNTS._replace(train=5, val=0), settings, GPU)
    assert few["train_teacher"] == pytest.approx(1 + 4 * 0.5)
