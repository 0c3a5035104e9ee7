"""The table of devices: what is called right, wrong and refused; processors that qemu emulates."""
# ruff: noqa: F401, F811 (fixtures are imported)

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, to_int8
from exported_networks import CARD, deployed, exported, float_model, pictures

from benchmarks import devices
from stages.core.errors import UserError
from stages.deployment import onnx_model

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-x86_64 is missing: Debian's qemu-user")


@pytest.fixture
def images(tmp_path):
    np.save(tmp_path / "images.npy", pictures(24))
    return tmp_path / "images.npy"


def answer(*classes: int, refusal: str = "") -> devices.Answer:
    return devices.Answer("runtime 1.0", "x86_64", np.array(classes), 0.25, refusal)


OWN, LABELS = answer(*[0] * 998, 1, 1), np.array([0] * 1000)  # 99.8 %


@pytest.mark.parametrize(("given", "expected"), [
    (OWN, "right | 99.80 | 0 | 0.250"),
    (answer(*[0] * 1000), "right | 100.00 | 2 | 0.250"),  # 0.2 points better
    (answer(*[0] * 996, 1, 1, 1, 1), "right | 99.60 | 2 | 0.250"),
    (answer(*[0] * 995, 1, 1, 1, 1, 1), "**wrong** | 99.50 | 3 | 0.250"),
    (answer(refusal="no such | operator"), "refuses: no such / operator | | |")])
def test_right_wrong_and_refused(tmp_path, given, expected):
    assert devices.line(tmp_path, "here", given, OWN, LABELS) == f"| {tmp_path} | here | runtime 1.0 | {expected} |"


def test_an_emulators_times_are_left_out(tmp_path):
    assert devices.line(tmp_path, "Haswell, emulated", OWN, OWN, LABELS).endswith("| right | 99.80 | 0 |  |")


def test_unlabelled_positions_count_in_no_accuracy(tmp_path):
    assert "| 50.00 | 0 |" in devices.line(tmp_path, "here", answer(1, 0, 1), answer(1, 0, 1), np.array([-1, 0, 0]))


def test_every_runtime_of_a_python_answers_or_refuses(exported, images):
    """This one has onnxruntime, and lacks tract."""
    (given,) = devices.answers([sys.executable], exported / "int8.onnx", images, ["onnxruntime", "tract"])
    expected = onnx_model.open_model(exported / "int8.onnx", 1)(pictures(24)).argmax(1)
    assert given.runtime.startswith("onnxruntime 1.") and np.array_equal(given.classes, expected) and given.ms > 0
    (given,) = devices.answers([sys.executable], images, images, ["onnxruntime"])
    assert given.refusal and not given.classes.size


def test_a_python_that_is_none_is_one_line(images):
    with pytest.raises(UserError, match=r"no/python can't be run \(No such file or directory\); name a Python"):
        devices.answers(["no/python"], images, images, ["onnxruntime"])


def test_a_missing_emulator_is_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="install Debian's package qemu-user"):
        devices.emulator()


@pytest.mark.slow
@needs_qemu
@pytest.mark.parametrize("processor", ["Haswell", "EPYC", "Nehalem"])
def test_processors_without_vnni_answer_the_same(exported, images, processor):
    command = [devices.emulator(), "-cpu", processor, sys.executable]
    for path in (exported / "float.onnx", exported / "int8.onnx"):
        (given,) = devices.answers(command, path, images, ["onnxruntime"])
        assert np.array_equal(given.classes, onnx_model.open_model(path, 1)(pictures(24)).argmax(1))


@pytest.mark.slow
@needs_qemu
def test_a_whole_table(deployed):
    arguments = ["models/student.int8.onnx", "--processors", "Haswell", "--pythons", sys.executable]
    done = subprocess.run([sys.executable, "-m", "benchmarks.devices", *arguments], cwd=deployed.folder,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert not done.returncode, done.stderr
    head, _, here, haswell, again = done.stdout.splitlines()
    assert head == "| file | processor | runtime | | accuracy, % | other predictions | ms |"
    assert "Haswell, emulated" in haswell and all("| right |" in line for line in (here, haswell, again))
