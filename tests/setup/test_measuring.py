"""What is measured on this machine: steps of the networks that settings describe, whatever else the machine does."""

import time

import pytest
import torch

from stages.setup import measuring, presets
from stages.setup.measuring import Stopwatch


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["digits", "digit_scenes"])
def test_steps_are_measured(preset, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "SECONDS", 0)
    monkeypatch.setattr(measuring, "IMAGES", 2)
    monkeypatch.setattr(measuring, "_start", lambda: 1.5)
    values = presets.values(preset)
    for role in ("teacher", "student"):
        values[f"{role}_training"]["batch_size"] = 2
    watch = Stopwatch(torch.device("cpu"))
    rates = measuring.measure(values, 3, read=0.1, inspect=0.2, watch=watch, folder=tmp_path)
    assert (rates.start, rates.read, rates.inspect, rates.features) == (1.5, 0.1, 0.2, 0)
    assert all(value > 0 for value in rates[4:]) and not list(tmp_path.iterdir())
    assert rates.teacher_step > rates.teacher_image


def test_waiting_is_no_work():
    """What other programs take is not counted, and told."""
    watch = Stopwatch(torch.device("cpu"))
    assert watch.once(lambda: time.sleep(0.2)) < 0.1 and watch.busy > 2


def test_the_faster_precision_is_seen(tmp_path, monkeypatch):
    seconds = {"fp32": 0.3, "bf16": 0.2}
    monkeypatch.setattr(measuring, "training_step",
                        lambda role, settings, *_: seconds[settings["student_training"]["precision"]])
    values = presets.values("digits")
    assert measuring.bf16_gain(values, 3, Stopwatch(torch.device("cpu")), tmp_path) == pytest.approx(1.5)
    assert values == presets.values("digits")
