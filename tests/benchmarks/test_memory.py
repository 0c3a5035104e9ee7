"""The stored images are mapped, not loaded: ten times as many take no more memory."""

import pytest

from benchmarks.memory import measure


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images():
    few, many = (measure(count, 64, ("train_baseline",))["train_baseline"] for count in (600, 6000))
    assert many - few < 20  # MB; the 5400 images more are 66 MB
