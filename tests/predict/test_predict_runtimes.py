"""What predict.py does about old runtimes, and about processors on which a file's int8 sums would saturate."""

import types

import on_device
import onnx
import onnxruntime
import pytest
from on_device import in_one_line, model, shipped

command, device, photos = on_device.command, on_device.device, on_device.photos  # fixtures

HASWELL = "flags : fpu sse4_2 avx avx2 bmi2"


@pytest.mark.parametrize(("text", "expected"), [
    (HASWELL, True), (HASWELL + " avx512f avx512bw", True), (HASWELL + " avx512_vnni", False),
    (HASWELL + " avx_vnni", False), ("flags : fpu sse4_2", False), ("Features : fp asimd asimddp", False)])
def test_the_processors_that_add_in_16_bits(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(shipped, "CPUINFO", tmp_path / "cpuinfo")
    assert shipped.adds_in_16_bits()  # it can't be told
    (tmp_path / "cpuinfo").write_text(text)
    assert shipped.adds_in_16_bits() == expected


@pytest.mark.parametrize(("card", "text", "exact"), [
    ({"saturates": "true"}, HASWELL, True), ({"saturates": "true"}, HASWELL + " avx_vnni", False),
    ({"saturates": "false"}, HASWELL, False), ({}, HASWELL, False)])  # made before there was the key
def test_a_file_that_saturates_is_computed_exactly_there(tmp_path, monkeypatch, card, text, exact):
    monkeypatch.setattr(shipped, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text)
    asked, original = [], onnxruntime.SessionOptions.add_session_config_entry
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_session_config_entry",
                        lambda self, key, value: asked.append((key, value)) or original(self, key, value))
    shipped.Model(model(tmp_path / "a.onnx", **card), 1)
    assert (("session.x64quantprecision", "1") in asked) == exact


def test_a_runtime_that_is_too_old_is_named(command, device, photos):
    """An operator set of the future, as an old runtime sees today's."""
    path = model(device / "student.int8.onnx", oldest_onnxruntime="99.10")
    future = onnx.load(path)
    future.opset_import[0].version = 999
    onnx.save(future, path)
    in_one_line(command(photos), "no readable ONNX model", "needs onnxruntime 99.10 or newer",
                f"this is {onnxruntime.__version__}", "pip install --upgrade onnxruntime")


@pytest.mark.parametrize(("installed", "advice"), [
    ("1.9.0", "it needs onnxruntime 1.10 or newer, and this is 1.9.0: pip install --upgrade onnxruntime"),
    ("1.10.0", "copy it again"), ("1.31.1+cpu", "copy it again")])
def test_versions_are_compared_as_numbers(tmp_path, monkeypatch, installed, advice):
    monkeypatch.setitem(shipped.sys.modules, "onnxruntime", types.SimpleNamespace(__version__=installed))
    assert shipped._advice(model(tmp_path / "a.onnx", oldest_onnxruntime="1.10")) == advice
    assert shipped._advice(model(tmp_path / "b.onnx")) == "copy it again"
