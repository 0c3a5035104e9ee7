"""The small file under sustained load: answers without a pause, and whether they become slower."""

import itertools

import numpy as np
import pytest

from stages.deployment import sustained


def test_numbers_by_hand():
    """Ten answers: the first fifth takes 1 and 3 s, the last 4 and 8 s."""
    found = sustained.summary(np.array([1, 3, 2, 2, 2, 2, 2, 2, 4, 8], np.float32))
    assert found == pytest.approx({
        "sustained_images_per_s": 0.4, "sustained_p50_ms": 2000, "sustained_p95_ms": 6200, "sustained_p99_ms": 7640,
        "sustained_slowdown": 3})
    assert sustained.summary(np.array([2], np.float32)) == {
        "sustained_images_per_s": 0.5, "sustained_p50_ms": 2000.0, "sustained_p95_ms": 2000.0,
        "sustained_p99_ms": 2000.0, "sustained_slowdown": 1.0}


def test_every_second_belongs_to_an_answer(monkeypatch):
    """The clock is read once an answer, so that nothing between two answers is left out; the warm-up is not timed."""
    clock, asked = itertools.accumulate([100, 1, 1, 1, 1, 2, 2, 2]), []
    monkeypatch.setattr(sustained.time, "perf_counter", clock.__next__)
    found = sustained.measure(asked.append, "an image", 3, 10)
    assert asked == ["an image"] * (3 + 7) and found["sustained_images_per_s"] == round(7 / 10, 1)
    assert found["sustained_slowdown"] == 2.0
