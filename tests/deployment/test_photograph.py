"""What a user meets: predict.py from a photograph to its answer."""

import itertools
import subprocess
import types

import numpy as np
import on_device
import pytest
from PIL import Image

from stages.core.device import peak_memory_mb
from stages.core.errors import UserError
from stages.deployment import photograph


def test_the_photograph_has_twelve_megapixels_and_the_same_bytes_each_time(tmp_path):
    for name in ("one.jpg", "two.jpg"):
        photograph.write(tmp_path / name)
    content = (tmp_path / "one.jpg").read_bytes()
    assert content == (tmp_path / "two.jpg").read_bytes() and 2e6 < len(content) < 6e6  # as telephones' are
    image = Image.open(tmp_path / "one.jpg")
    assert image.size == (4000, 3000) and image.format == "JPEG" and np.asarray(image.reduce(50)).std() > 20


@pytest.fixture
def small(tmp_path) -> photograph.Path:
    path = tmp_path / "small.jpg"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_it_is_measured_as_a_user_runs_it(tmp_path, small, monkeypatch, task):
    """Of a small picture Python's start is nearly all; the memory is that of a process with numpy and onnxruntime."""
    monkeypatch.setattr(photograph, "STARTS", 2)
    found = photograph.measure(on_device.model(tmp_path / "student.onnx", task), 1, small)
    assert list(found) == ["photograph_ms", "cold_start_ms", "photograph_memory_mb"]
    assert 0 < found["photograph_ms"] < found["cold_start_ms"] / 3
    assert 40 < found["photograph_memory_mb"] < peak_memory_mb()
    assert task == "classification" or list((tmp_path / "masks").glob("small*.png"))


def test_numbers_are_medians_of_the_clock(monkeypatch, small):
    """Answers take 1, 2, 3, … s: of each process the first counts as its start."""
    clock = itertools.accumulate(itertools.chain.from_iterable((0, step) for step in itertools.count(1)))
    monkeypatch.setattr(photograph.time, "perf_counter", clock.__next__)
    monkeypatch.setattr(photograph, "_ask", lambda *_: None)
    memory = iter([7.0, 9.0, 8.0])
    monkeypatch.setattr(photograph, "_peak_memory_mb", lambda _: next(memory))
    monkeypatch.setattr(subprocess, "Popen", FakeProcess)
    assert photograph.measure(small, 1, small) == {
        "photograph_ms": 8500.0, "cold_start_ms": 6000.0, "photograph_memory_mb": 8.0}


class FakeProcess:
    def __init__(self, *_, **__):
        self.kill = lambda: None

    def __enter__(self):
        return types.SimpleNamespace(kill=self.kill)

    def __exit__(self, *_):
        pass


def test_a_model_or_a_picture_that_fails_is_one_line(tmp_path, small):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"^predict.py doesn't answer .*: predict: .*broken.onnx is no readable ONNX"):
        photograph.measure(tmp_path / "broken.onnx", 1, small)
    small.write_bytes(b"no picture")
    with pytest.raises(UserError, match="no image in a format"):
        photograph.measure(on_device.model(tmp_path / "student.onnx"), 1, small)


def test_a_slow_answer_is_asked_for_once_of_each_kind(monkeypatch, small):
    asked = []
    monkeypatch.setattr(subprocess, "Popen", FakeProcess)
    monkeypatch.setattr(photograph, "_ask", lambda process, path: asked.append(path))
    monkeypatch.setattr(photograph, "_peak_memory_mb", lambda process: 1.0)
    monkeypatch.setattr(photograph, "PATIENCE", -1)
    photograph.measure(small, 1, small)
    assert len(asked) == 2
