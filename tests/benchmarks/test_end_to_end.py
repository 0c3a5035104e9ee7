"""What a user waits for, measured from outside, beside the benchmark stage."""

import shutil

import numpy as np
import on_device
import pytest
from conftest import ROOT
from PIL import Image

from benchmarks import end_to_end
from stages.core.errors import UserError


@pytest.fixture
def folder(tmp_path):
    on_device.model(tmp_path / "student.int8.onnx")
    shutil.copy(ROOT / "predict.py", tmp_path)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "photograph.jpg")
    return tmp_path


def test_of_a_small_picture_the_start_is_nearly_all(folder):
    found = end_to_end.outside(folder, 1)
    assert list(found) == ["photograph_ms", "cold_start_ms", "photograph_memory_mb"]
    assert 0 < found["photograph_ms"] < found["cold_start_ms"] / 3 and 40 < found["photograph_memory_mb"] < 120


def test_a_picture_that_is_none_is_one_line(folder):
    (folder / "photograph.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"as_a_user.py failed: predict.py doesn't answer$"):
        end_to_end.outside(folder, 1)


@pytest.mark.parametrize(("own", "other", "is_true"), [
    ((100.0, 90.0, 500.0), (100.0, 92.0, 480.0), True), ((106.0, 95.0, 100.0), (100.0, 90.0, 99.0), False),
    ((94.0, 94.0, 94.0), (100.0, 100.0, 100.0), False)])
def test_ratios_are_taken_within_a_round(own, other, is_true, capsys):
    assert end_to_end.line("photograph_ms", np.array(own), np.array(other)) is is_true
    assert capsys.readouterr().out.startswith(f"| photograph_ms | {np.median(own):.1f} | {np.median(other):.1f} |")
