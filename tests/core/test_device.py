"""Threads and memory of this process."""

import subprocess
import sys

import numpy as np
import pytest

from stages.core import device


@pytest.mark.parametrize(("limit", "count"), [("", 4), ("2", 2), ("9", 4), ("0", 4), ("2,1", 4)])
def test_threads_are_the_cores_or_fewer(monkeypatch, limit, count):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: {0, 2, 4, 6}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert device.thread_count() == count


@pytest.mark.slow
def test_peak_memory_counts_what_was_freed():
    before = device.peak_memory_mb()
    np.ones(int(before * 1e6) // 8 + 10_000_000)
    assert device.peak_memory_mb() > before + 60


def test_peak_memory_is_not_the_parents():
    large = np.ones(40_000_000)
    code = "from stages.core import device; print(device.peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 100 < large.nbytes / 1e6
